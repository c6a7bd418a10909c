package remote

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the format's own choice; it hides names, it protects no key
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/localfile"
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

	mu      sync.Mutex
	seen    ssh.PublicKey
	verdict error
}

func (c *hostKeyCheck) callback(_ string, _ net.Addr, key ssh.PublicKey) error {
	err := c.judge(key)
	if err == nil {
		err = c.instead
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen, c.verdict = key, err
	return err
}

func (c *hostKeyCheck) state() (seen ssh.PublicKey, verdict error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen, c.verdict
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
	}
	return "find out on the machine's own console whether its key was renewed (ssh-keygen -lf) before pinning another; " +
		"no login was tried"
}

// knownHosts is a known_hosts file, read as OpenSSH does (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): a line that cannot
// be used, for example one with a DSA key, is passed over and the others count.
type knownHosts struct {
	path    string
	entries []knownEntry
}

type knownEntry struct {
	line   int
	marker string // "", authority or revoked
	hosts  string // patterns, or one hashed name
	kind   string // of the key, as the line says
	key    ssh.PublicKey
}

const (
	authority = "@cert-authority"
	revoked   = "@revoked"
)

func readKnownHosts(file string) (*knownHosts, error) {
	text, err := localfile.Read(file, 16<<20)
	if err != nil {
		return nil, err
	}
	k := &knownHosts{path: file}
	for i, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		entry := knownEntry{line: i + 1}
		if len(words) > 0 && (words[0] == authority || words[0] == revoked) {
			entry.marker, words = words[0], words[1:]
		}
		if len(words) < 3 && entry.marker != revoked || len(words) > 0 && strings.ContainsAny(words[0][:1], "#@") {
			continue
		}
		words = append(words, "", "", "") // a line may be cut off
		entry.hosts, entry.kind = words[0], words[1]
		if blob, err := base64.StdEncoding.DecodeString(words[2]); err == nil {
			if key, err := ssh.ParsePublicKey(blob); err == nil && key.Type() == entry.kind {
				entry.key = key
			}
		}
		known := entry.kind == "" || slices.Contains(ssh.SupportedAlgorithms().HostKeys, entry.kind)
		if entry.key == nil && entry.marker == revoked && known {
			return nil, fmt.Errorf("%s:%d: the revoked key cannot be read, so it could not be recognised", file, entry.line)
		}
		k.entries = append(k.entries, entry)
	}
	return k, nil
}

// knownNames are the forms under which a file can know an address: with its port, and, as ssh looks a second time,
// without.
func knownNames(address string) []string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	host = strings.ToLower(host)
	if port == "22" {
		return []string{host}
	}
	return []string{"[" + host + "]:" + port, host}
}

func (k *knownHosts) known(names ...string) []knownEntry {
	return slices.DeleteFunc(slices.Clone(k.entries),
		func(e knownEntry) bool { return e.marker == revoked || !slices.ContainsFunc(names, e.matches) })
}

// keys are the plain keys the file has for an address, in whatever form.
func (k *knownHosts) keys(address string) []ssh.PublicKey {
	var keys []ssh.PublicKey
	for _, e := range k.known(knownNames(address)...) {
		if e.marker == "" && e.key != nil {
			keys = append(keys, e.key)
		}
	}
	return keys
}

// certified reports whether the file has an authority for an address.
func (k *knownHosts) certified(address string) bool {
	return slices.ContainsFunc(k.known(knownNames(address)...), func(e knownEntry) bool { return e.marker == authority })
}

// revokes returns the line that revokes the key, the key in the certificate, or the authority that signed it. For which
// host it stands there makes no difference: a revoked key is in wrong hands.
func (k *knownHosts) revokes(key ssh.PublicKey) (line int) {
	cert, certified := key.(*ssh.Certificate)
	for _, e := range k.entries {
		if e.marker != revoked || e.key == nil {
			continue
		}
		bad := plainKey(e.key)
		if same(bad, plainKey(key)) || certified && same(bad, cert.SignatureKey) {
			return e.line
		}
	}
	return 0
}

func same(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

func (e knownEntry) matches(name string) bool {
	if strings.HasPrefix(e.hosts, "|1|") {
		salt, hash, _ := strings.Cut(e.hosts[len("|1|"):], "|")
		key, err1 := base64.StdEncoding.DecodeString(salt)
		want, err2 := base64.StdEncoding.DecodeString(hash)
		mac := hmac.New(sha1.New, key)
		mac.Write([]byte(name))
		return err1 == nil && err2 == nil && hmac.Equal(mac.Sum(nil), want)
	}
	found := false
	for pattern := range strings.SplitSeq(strings.ToLower(e.hosts), ",") {
		pattern, not := strings.CutPrefix(pattern, "!")
		// A pattern holds only * and ? (ssh_config(5), PATTERNS); the brackets are those of "[host]:port".
		if ok, _ := path.Match(strings.NewReplacer("[", `\[`, `\`, `\\`).Replace(pattern), name); !ok {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}
