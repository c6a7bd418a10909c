package remote

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the format's own choice; it hides names, it protects no key
	"encoding/base64"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover/internal/localfile"
)

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

// known are the entries for any of the names.
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
