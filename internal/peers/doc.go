// Package peers starts real programs that a test talks to: OpenSSH servers with keys of their own, shells.
//
// A test that needs one says so with [Need]: it is skipped with the reason where a program is missing, and fails
// there when the environment has PEERS=required. Everything listens on 127.0.0.1, lives in the test's own folder and
// is ended by its process id.
package peers
