package failover

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// SSH says how to reach one physical machine. It is plain data; package remote connects with it, and so do the packages
// that work over SSH. The zero value of a field is the default its comment names. ~/.ssh/config is not read.
//
// Give the machine's own fixed administration address, never an alias that moves with the service. A host key is
// pinned per machine: after a swap the partner's key may answer at a known address, and PeerKeys makes that a
// distinct error.
type SSH struct {
	Address string // host:port; give the port, also when it is 22
	User    string // account to log in with

	// HostKeys are the keys the machine may show, as fingerprints in the form SHA256:… that ssh-keygen -l prints. A key
	// inside a host certificate counts as the key itself.
	HostKeys []string

	// KnownHosts is the path of a file in OpenSSH's known_hosts format. It decides when HostKeys is empty. Its @revoked
	// keys are refused and PeerAddresses are looked up in it also when HostKeys is given. As in OpenSSH, an entry
	// without a port counts for every port of the host that has no key of its own.
	KnownHosts string

	PeerKeys []string // fingerprints of the partner machine; meeting one means the addresses are swapped
	// PeerAddresses: host:port of the partner machine; its keys in KnownHosts are taken as PeerKeys; it must be known
	// there
	PeerAddresses []string

	Key        SecretFunc // private key, PEM or OpenSSH format
	Passphrase SecretFunc // of Key, when it is encrypted
	// Certificate: path of the user certificate for Key or for a key of the agent (OpenSSH's -cert.pub); read at each
	// login
	Certificate string
	Agent       string     // path of an SSH agent's socket; on Windows also a named pipe, as \\.\pipe\openssh-ssh-agent
	Password    SecretFunc // also answers keyboard-interactive prompts that do not echo

	// Jump are the machines to go through, first hop first, as ProxyJump does it. Each has its own login and its own
	// host-key trust, and no Jump of its own. The hops carry bytes only: keys and passwords for this machine never
	// reach them.
	Jump []SSH

	ConnectTimeout   time.Duration // TCP connect, handshake and login together, jump hosts included; 0 means 20 s
	KeepaliveEvery   time.Duration // pause between keepalives; 0 means 15 s
	KeepaliveMisses  int           // unanswered keepalives after which the line counts as dead; 0 means 3
	LegacyAlgorithms bool          // adds the algorithms that only old AIX and Windows servers still need; never DSA

	// InsecureAnyHostKey accepts whatever key the machine shows. For a lab only: it gives up the check that keeps
	// the macro from being fired on the wrong machine.
	InsecureAnyHostKey bool
}

// Validate refuses settings that could not work or that trust nobody in particular. The error wraps ErrInvalid and
// names the field behind the name given. Files are not looked at.
func (s SSH) Validate(field string) error {
	addresses := []struct{ field, value string }{{".Address", s.Address}}
	for i, address := range s.PeerAddresses {
		addresses = append(addresses, struct{ field, value string }{fmt.Sprintf(".PeerAddresses[%d]", i), address})
	}
	for _, a := range addresses {
		if host, port, err := net.SplitHostPort(a.value); err != nil || host == "" || port == "" {
			return Invalid(field+a.field, quote(a.value)+" is not host:port",
				"give the machine's own address, for example symaix1-admin:22")
		}
	}
	switch {
	case s.User == "":
		return Invalid(field+".User", "is empty", "name the account to log in with")
	case len(s.HostKeys) == 0 && s.KnownHosts == "" && !s.InsecureAnyHostKey:
		return Invalid(field+".HostKeys", "is empty and KnownHosts is not set",
			"pin the key that ssh-keygen -lf prints on the machine")
	case len(s.PeerAddresses) > 0 && s.KnownHosts == "":
		return Invalid(field+".PeerAddresses", "is given without KnownHosts",
			"name the known_hosts file, or pin the partner's keys with PeerKeys")
	case slices.ContainsFunc(s.PeerAddresses, func(a string) bool { return strings.EqualFold(a, s.Address) }):
		return Invalid(field+".PeerAddresses", "holds the machine's own address", "give the address of the partner machine")
	case s.Key == nil && s.Agent == "" && s.Password == nil:
		return Invalid(field+".Key", "is empty, and so are Agent and Password", "give one way to log in")
	case s.Certificate != "" && s.Key == nil && s.Agent == "":
		return Invalid(field+".Certificate", "is given without Key or Agent",
			"give the private key the certificate was made for")
	case s.ConnectTimeout < 0 || s.KeepaliveEvery < 0 || s.KeepaliveMisses < 0:
		return Invalid(field, "has a negative time or count", "use zero for the default")
	}
	for _, key := range s.HostKeys {
		if slices.Contains(s.PeerKeys, key) {
			return Invalid(field+".PeerKeys", "holds a key of HostKeys: the two machines cannot be told apart",
				"make a host key of its own on the machine that was cloned from the other")
		}
	}
	for name, list := range map[string][]string{".HostKeys": s.HostKeys, ".PeerKeys": s.PeerKeys} {
		for _, fp := range list {
			if !strings.HasPrefix(fp, "SHA256:") || len(fp) != len("SHA256:")+43 {
				return Invalid(field+name, quote(fp)+" is not a fingerprint", "use the form SHA256:… that ssh-keygen -l prints")
			}
		}
	}
	for i, hop := range s.Jump {
		name := fmt.Sprintf("%s.Jump[%d]", field, i)
		if len(hop.Jump) > 0 {
			return Invalid(name+".Jump", "is not empty", "list all hops in the Jump of the machine itself, first hop first")
		}
		if err := hop.Validate(name); err != nil {
			return err
		}
	}
	return nil
}

// WithPeer returns s with the keys of its partner machine as peer keys: those that are pinned, and else those that the
// known_hosts file has for the partner's address. A partner with another known_hosts file than s is not looked up.
func (s SSH) WithPeer(peer SSH) SSH {
	s.PeerKeys = append(slices.Clone(s.PeerKeys), peer.HostKeys...)
	if len(peer.HostKeys) > 0 || peer.KnownHosts == "" || s.KnownHosts != "" && s.KnownHosts != peer.KnownHosts {
		return s
	}
	s.KnownHosts = peer.KnownHosts
	s.PeerAddresses = append(slices.Clone(s.PeerAddresses), peer.Address)
	return s
}
