package remote

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
)

// trust is what is known of the keys of one machine and of its partner.
type trust struct {
	address string
	pinned  []string // fingerprints
	peer    []string // fingerprints
	known   *knownHosts
	any     bool
}

// newTrust reads the known_hosts file and refuses a partner that cannot be told from the machine.
func newTrust(cfg failover.SSH, field string) (trust, error) {
	t := trust{address: cfg.Address, pinned: cfg.HostKeys, peer: slices.Clone(cfg.PeerKeys), any: cfg.InsecureAnyHostKey}
	own := cfg.HostKeys
	if cfg.KnownHosts != "" {
		var err error
		if t.known, err = readKnownHosts(cfg.KnownHosts); err != nil {
			return t, failover.Invalid(field+".KnownHosts", err.Error(), "give a readable file in known_hosts format")
		}
		if len(own) == 0 {
			own = fingerprints(t.known.keys(cfg.Address))
		}
	}
	for _, address := range cfg.PeerAddresses {
		keys := fingerprints(t.known.keys(address))
		if len(keys) == 0 && !t.known.certified(address) { // the keys behind certificates cannot be known
			return t, failover.Invalid(field+".PeerAddresses", address+" has no key in "+cfg.KnownHosts,
				"add the partner's key to the file, or pin it with PeerKeys")
		}
		t.peer = append(t.peer, keys...)
	}
	for _, fp := range own {
		if slices.Contains(t.peer, fp) {
			return t, failover.Invalid(field+".PeerKeys", fp+" is also known as this machine's own key",
				"give each machine its own host key, also cloned ones, and its own lines in known_hosts")
		}
	}
	return t, nil
}

func fingerprints(keys []ssh.PublicKey) []string {
	var list []string
	for _, key := range keys {
		list = append(list, ssh.FingerprintSHA256(key))
	}
	return list
}

// plainKey is the key itself, also when it came in a certificate.
func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

// errRevoked comes with ErrHostKeyChanged and is final: the machine's other keys are not asked for.
var errRevoked = errors.New("revoked")

// judge says whether the machine may show the key. The server has proven that it holds the plain key, so a certificate
// is judged by that too: by the fingerprints, by the revoked keys, and, as ssh does, by the plain entries when no
// authority vouches for it.
func (t trust) judge(key ssh.PublicKey) error {
	plain := plainKey(key)
	fp := ssh.FingerprintSHA256(plain)
	if slices.Contains(t.peer, fp) {
		return fmt.Errorf("%w: %s shows %s, which is the key of its partner; are the addresses swapped?", ErrPeerHostKey,
			t.address, fp)
	}
	if t.known != nil {
		if line := t.known.revokes(key); line > 0 {
			return fmt.Errorf("%w: %s shows %s, which is %w in %s:%d", ErrHostKeyChanged, t.address, fp, errRevoked,
				t.known.path, line)
		}
	}
	switch {
	case len(t.pinned) > 0:
		if slices.Contains(t.pinned, fp) {
			return nil
		}
		return fmt.Errorf("%w: %s shows %s key %s, which is not among the pinned ones", ErrHostKeyChanged, t.address,
			plain.Type(), fp)
	case t.known != nil:
		return t.judgeKnown(key, plain, fp)
	case t.any:
		return nil
	}
	return fmt.Errorf("%w: nothing is pinned for %s", ErrUnknownHostKey, t.address)
}

// judgeKnown goes by the known_hosts file as ssh does (check_host_key in OpenSSH's sshconnect.c): a certificate first
// by the authorities, then by the plain key in it; each with the port, and without it when the port has no key. In one
// case it is stricter: a key of the port counts for a certificate too.
func (t trust) judgeKnown(key, plain ssh.PublicKey, fp string) error {
	names := knownNames(t.address)
	var badCert error
	if cert, ok := key.(*ssh.Certificate); ok && slices.ContainsFunc(t.known.known(names...), func(e knownEntry) bool {
		return e.marker == authority && e.key != nil && same(e.key, cert.SignatureKey)
	}) {
		checker := ssh.CertChecker{IsHostAuthority: func(ssh.PublicKey, string) bool { return true }}
		if badCert = checker.CheckHostKey(strings.ToLower(t.address), &net.TCPAddr{}, cert); badCert == nil {
			return nil
		}
	}
	var lines, unusable []string
	for _, name := range names {
		other := false
		for _, e := range t.known.known(name) {
			switch {
			case e.key == nil:
				unusable = append(unusable, fmt.Sprintf("line %d has a %q key, which is not supported", e.line, e.kind))
				continue
			case e.marker == "" && same(e.key, plain):
				return nil
			case e.marker == "":
				other = true
			}
			lines = append(lines, fmt.Sprint(e.line))
		}
		if other {
			break
		}
	}
	shows := fmt.Sprintf("%s shows %s key %s", t.address, plain.Type(), fp)
	switch {
	case badCert != nil:
		return fmt.Errorf("%w: %s in a certificate that does not hold: %w", ErrHostKeyChanged, shows, badCert)
	case len(lines) > 0:
		return fmt.Errorf("%w: %s, and %s has another (line %s)", ErrHostKeyChanged, shows, t.known.path,
			strings.Join(lines, ", "))
	case len(unusable) > 0:
		return fmt.Errorf("%w: %s, and %s has no other: %s", ErrUnknownHostKey, shows, t.known.path,
			strings.Join(unusable, ", "))
	}
	return fmt.Errorf("%w: %s, and %s has no entry for this address", ErrUnknownHostKey, shows, t.known.path)
}

// hostKeyCheck judges the keys of one connection attempt. It is called again when the connection renews its keys.
type hostKeyCheck struct {
	trust
	instead error // what is said of a key that would be accepted: another one was refused already

	mu       sync.Mutex
	seen     ssh.PublicKey
	accepted bool
	verdict  error
}

func (c *hostKeyCheck) callback(_ string, _ net.Addr, key ssh.PublicKey) error {
	err := c.judge(key)
	if err == nil {
		err = c.instead
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen, c.accepted, c.verdict = key, err == nil, err
	return err
}

func (c *hostKeyCheck) state() (seen ssh.PublicKey, accepted bool, verdict error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen, c.accepted, c.verdict
}

// hostKeyNext is the next action for a verdict.
func hostKeyNext(err error) string {
	switch {
	case errors.Is(err, ErrPeerHostKey):
		return "compare both machines' addresses with the configuration; nothing was sent, no login was tried"
	case errors.Is(err, ErrUnknownHostKey):
		return "read the key with ssh-keygen -lf on the machine's own console and pin it; no login was tried"
	case errors.Is(err, errRevoked):
		return "do not use this machine until its administrator has renewed its key; no login was tried"
	default:
		return "find out on the machine's own console whether its key was renewed (ssh-keygen -lf) before pinning another; " +
			"no login was tried"
	}
}
