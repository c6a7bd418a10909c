package failover

import (
	"net"
	"strings"
	"time"
)

// SSH says how to reach one physical machine. It is plain data; the packages that work over SSH dial with it.
//
// Give the machine's own fixed administration address, never an alias that moves with the service. A host key is
// pinned per machine: after a swap the partner's key may answer at a known address, and PeerKeys makes that a
// distinct error.
type SSH struct {
	Address string // host:port
	User    string // account to log in with

	HostKeys   []string // accepted host keys as fingerprints, "SHA256:…" as ssh-keygen -l prints them
	KnownHosts string   // path of a known_hosts file, used when HostKeys is empty
	PeerKeys   []string // fingerprints of the partner machine; meeting one means the addresses are swapped

	Key        SecretFunc // private key, PEM or OpenSSH format
	Passphrase SecretFunc // of Key, when it is encrypted
	Agent      string     // path of an agent's socket
	Password   SecretFunc // also answers keyboard-interactive prompts that do not echo

	ConnectTimeout   time.Duration // TCP connect, handshake and login together; 0 means 20 s
	KeepaliveEvery   time.Duration // pause between keepalives; 0 means 15 s
	KeepaliveMisses  int           // unanswered keepalives after which the line counts as dead; 0 means 3
	LegacyAlgorithms bool          // adds the algorithms that only old AIX and Windows servers still need

	// InsecureAnyHostKey accepts whatever key the machine shows. For a lab only: it gives up the check that keeps
	// the macro from being fired on the wrong machine.
	InsecureAnyHostKey bool
}

// Validate refuses settings that could not work or that trust nobody in particular.
func (s SSH) Validate(field string) error {
	if _, port, err := net.SplitHostPort(s.Address); err != nil || port == "" {
		return Invalid(field+".Address", quote(s.Address)+" is not host:port", "give the machine's own address, for example symaix1-admin:22")
	}
	switch {
	case s.User == "":
		return Invalid(field+".User", "is empty", "name the account to log in with")
	case len(s.HostKeys) == 0 && s.KnownHosts == "" && !s.InsecureAnyHostKey:
		return Invalid(field+".HostKeys", "is empty and KnownHosts is not set", "pin the key that ssh-keygen -lf prints on the machine")
	case s.Key == nil && s.Agent == "" && s.Password == nil:
		return Invalid(field+".Key", "is empty, and so are Agent and Password", "give one way to log in")
	case s.ConnectTimeout < 0 || s.KeepaliveEvery < 0 || s.KeepaliveMisses < 0:
		return Invalid(field, "has a negative time or count", "use zero for the default")
	}
	for _, list := range [][]string{s.HostKeys, s.PeerKeys} {
		for _, fp := range list {
			if !strings.HasPrefix(fp, "SHA256:") || len(fp) != len("SHA256:")+43 {
				return Invalid(field+".HostKeys", quote(fp)+" is not a fingerprint", "use the form SHA256:… that ssh-keygen -l prints")
			}
		}
	}
	return nil
}
