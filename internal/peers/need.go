package peers

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// sbin is where servers live that are not on every account's PATH.
var sbin = []string{"/usr/sbin/", "/usr/local/sbin/", "/sbin/", "/usr/lib/openldap/"}

// Need ends the test unless every program is there. "root" is not a program but asks for uid 0. With PEERS=none it ends
// every test that calls it.
func Need(tb testing.TB, names ...string) {
	tb.Helper()
	if os.Getenv("PEERS") == "none" {
		tb.Skip("needs " + strings.Join(names, ", ") + ", and PEERS=none; not proven here")
	}
	var missing []string
	for _, name := range names {
		if name == "root" {
			if os.Geteuid() != 0 {
				missing = append(missing, "uid 0")
			}
		} else if _, err := Path(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return
	}
	reason := "needs " + strings.Join(missing, ", ") + ", which this machine lacks; not proven here"
	if Required() {
		tb.Fatal(reason + ", and PEERS=required")
	} else {
		tb.Skip(reason)
	}
}

// Required reports whether a missing peer is a failure.
func Required() bool { return os.Getenv("PEERS") == "required" }

// Path finds a program on PATH or where servers are kept.
func Path(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range sbin {
		if info, err := os.Stat(dir + name); err == nil && info.Mode()&0o111 != 0 {
			return dir + name, nil
		}
	}
	return "", fmt.Errorf("peers: no program %s", name)
}
