package remote

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// hostKeyCheck judges the keys of one connection attempt. It is called again when the connection renews its keys.
type hostKeyCheck struct {
	pinned, peer []string
	known        ssh.HostKeyCallback // nil when fingerprints are pinned
	any          bool

	mu       sync.Mutex
	seen     ssh.PublicKey
	accepted bool
	verdict  error
}

func (h *Host) hostKeyCheck() *hostKeyCheck {
	c := &hostKeyCheck{pinned: h.cfg.HostKeys, peer: h.cfg.PeerKeys, any: h.cfg.InsecureAnyHostKey}
	if h.known != nil {
		c.known = h.known.HostKeyCallback()
	}
	return c
}

// plainKey is the key itself, also when it came in a certificate.
func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

func (c *hostKeyCheck) callback(addr string, remote net.Addr, key ssh.PublicKey) error {
	err := c.judge(addr, remote, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen, c.accepted, c.verdict = key, err == nil, err
	return err
}

func (c *hostKeyCheck) judge(addr string, remote net.Addr, key ssh.PublicKey) error {
	fp := ssh.FingerprintSHA256(key)
	if slices.Contains(c.peer, fp) {
		return fmt.Errorf("%w: %s shows %s, which is pinned for its partner; are the addresses swapped?", ErrPeerHostKey, addr, fp)
	}
	switch {
	case len(c.pinned) > 0:
		if slices.Contains(c.pinned, fp) {
			return nil
		}
		return fmt.Errorf("%w: %s shows %s key %s, which is not among the pinned ones", ErrHostKeyChanged, addr, key.Type(), fp)
	case c.known != nil:
		return c.judgeKnown(addr, remote, key, fp)
	case c.any:
		return nil
	}
	return fmt.Errorf("%w: nothing is pinned for %s", ErrUnknownHostKey, addr)
}

func (c *hostKeyCheck) judgeKnown(addr string, remote net.Addr, key ssh.PublicKey, fp string) error {
	err := c.known(addr, remote, key)
	if err == nil {
		return nil
	}
	if revoked, ok := errors.AsType[*xknownhosts.RevokedError](err); ok {
		return fmt.Errorf("%w: %s shows %s, which the known_hosts file marks as revoked (%s)", ErrHostKeyChanged, addr, fp, revoked.Revoked.Filename)
	}
	if knownhosts.IsHostKeyChanged(err) {
		return fmt.Errorf("%w: %s shows %s key %s, the known_hosts file has another", ErrHostKeyChanged, addr, key.Type(), fp)
	}
	if knownhosts.IsHostUnknown(err) {
		return fmt.Errorf("%w: %s shows %s key %s, the known_hosts file has no entry for this address", ErrUnknownHostKey, addr, key.Type(), fp)
	}
	return fmt.Errorf("%w: %s: %w", ErrHostKeyChanged, addr, err)
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
	default:
		return "find out on the machine's own console whether its key was renewed (ssh-keygen -lf) before pinning another; no login was tried"
	}
}

// withoutFamily removes every algorithm under which the server could show the given key again.
func withoutFamily(algos []string, key ssh.PublicKey) []string {
	return slices.DeleteFunc(slices.Clone(algos), func(algo string) bool {
		if key.Type() == ssh.KeyAlgoRSA {
			return algo == ssh.KeyAlgoRSA || strings.HasPrefix(algo, "rsa-sha2-")
		}
		return algo == key.Type()
	})
}
