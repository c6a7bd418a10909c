//go:build !unix

package loopback

// Hold does nothing here.
func Hold(string) (release func()) { return func() {} }
