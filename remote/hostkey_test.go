package remote

import (
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/peers"
	"github.com/01b61c5c/failover/remote/remotetest"
)

// certify puts a host key into a certificate for the loopback address or for another name.
func certify(t *testing.T, key, ca ssh.Signer, principal string) ssh.Signer {
	t.Helper()
	cert := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{principal},
		ValidBefore: ssh.CertTimeInfinity}
	require.NoError(t, cert.SignCert(rand.Reader, ca))
	signer, err := ssh.NewCertSigner(cert, key)
	require.NoError(t, err)
	return signer
}

// TestHostKeyMatrix crosses what a machine shows with what is known of it. Where the known_hosts file alone decides,
// the ssh program is asked too.
func TestHostKeyMatrix(t *testing.T) {
	ed, ec, rs := hostKeys(t)
	ca, _, _ := hostKeys(t)
	foreign, _, _ := hostKeys(t)
	for kind, key := range map[string]ssh.Signer{"ed25519": ed, "ecdsa": ec, "rsa": rs} {
		other := map[string]ssh.Signer{"ed25519": foreign, "ecdsa": rs, "rsa": ec}[kind]
		for form, shown := range map[string]ssh.Signer{
			"plain": key, "certificate": certify(t, key, ca, "127.0.0.1"),
			"certificate of another name":        certify(t, key, ca, "elsewhere"),
			"certificate of a strange authority": certify(t, key, foreign, "127.0.0.1"),
		} {
			t.Run(kind+" "+form, func(t *testing.T) {
				server := serve(t, nil, remotetest.WithHostKeys(shown))
				server.Inject(remotetest.FaultRefuseLogin, remotetest.Always)
				address := server.Address()
				host, port, err := net.SplitHostPort(address)
				require.NoError(t, err)
				line := func(name string, key ssh.Signer) string {
					return name + " " + string(ssh.MarshalAuthorizedKey(key.PublicKey()))
				}
				withPort := knownhosts.Normalize(address)
				byAuthority := map[bool]error{true: nil, false: ErrHostKeyChanged}[form == "certificate"]
				for _, tc := range []struct {
					name  string
					known string // content of the file
					set   func(*failover.SSH)
					want  error
				}{
					{"pinned", "", func(c *failover.SSH) { c.HostKeys = []string{print256(key)} }, nil},
					{"another is pinned", "", func(c *failover.SSH) { c.HostKeys = []string{print256(other)} }, ErrHostKeyChanged},
					{"pinned and revoked", "@revoked * " + line("", key),
						func(c *failover.SSH) { c.HostKeys = []string{print256(key)} }, ErrHostKeyChanged},
					{"peer", "", func(c *failover.SSH) {
						c.HostKeys, c.PeerKeys = []string{print256(other)}, []string{print256(key)}
					}, ErrPeerHostKey},
					{"peer with nothing pinned", "", func(c *failover.SSH) {
						c.InsecureAnyHostKey, c.PeerKeys = true, []string{print256(key)}
					}, ErrPeerHostKey},
					{"peer, and the authority vouches", "@cert-authority " + line(withPort, ca),
						func(c *failover.SSH) { c.PeerKeys = []string{print256(key)} }, ErrPeerHostKey},
					{"peer by known_hosts", line(withPort, other) + line("partner", key),
						func(c *failover.SSH) { c.PeerAddresses = []string{"partner:22"} }, ErrPeerHostKey},
					{"peer by known_hosts, and the authority vouches",
						"@cert-authority " + line(withPort, ca) + line("[partner]:2222", key),
						func(c *failover.SSH) { c.PeerAddresses = []string{"Partner:2222"} }, ErrPeerHostKey},
					{"peer by known_hosts beside pins", line("partner", key), func(c *failover.SSH) {
						c.HostKeys, c.PeerAddresses = []string{print256(other)}, []string{"partner:22"}
					}, ErrPeerHostKey},
					{"known", line(withPort, key), nil, nil},
					{"known without port", line(host, key), nil, nil},
					{"known by a pattern", line("127.0.*,!127.0.0.2", key), nil, nil},
					{"known hashed", line(knownhosts.HashHostname(withPort), key), nil, nil},
					{"known hashed without port", line(knownhosts.HashHostname(host), key), nil, nil},
					{"negated", line(withPort+",!"+withPort, key), nil, ErrUnknownHostKey},
					{"another port is known", line("[127.0.0.1]:1", key), nil, ErrUnknownHostKey},
					{"another is known", line(withPort, other), nil, ErrHostKeyChanged},
					{"another kind with the port, this one without",
						line(withPort, map[bool]ssh.Signer{true: rs, false: ed}[kind != "rsa"]) + line(host, key), nil,
						ErrHostKeyChanged},
					{"authority", "@cert-authority " + line(withPort, ca), nil, byAuthority},
					{"authority without port", "@cert-authority " + line(host, ca), nil, byAuthority},
					{"authority for all", "@cert-authority " + line("*", ca), nil, byAuthority},
					{"authority, and the plain key", "@cert-authority " + line(withPort, ca) + line(withPort, key), nil, nil},
					{"known and revoked", line(withPort, key) + "@revoked " + line(withPort, key), nil, ErrHostKeyChanged},
					{"authority, and the key revoked", "@cert-authority " + line(withPort, ca) + "@revoked " + line("*", key), nil,
						ErrHostKeyChanged},
					{"authority that is revoked",
						"@cert-authority " + line(withPort, ca) + "@revoked " + line(withPort, ca) + line(withPort, key), nil,
						map[bool]error{true: ErrHostKeyChanged}[form == "certificate" || form == "certificate of another name"]},
					{"lines that cannot be used",
						"\xef\xbb\xbf# comment\r\n\r\n@strange " + line("*", key) +
							"127.0.0.1 ssh-dss AAAAB3NzaC1kc3MAAACBAO==\n127.0.0.1\n" + line(withPort, key), nil, nil},
				} {
					t.Run(tc.name, func(t *testing.T) {
						file := filepath.Join(t.TempDir(), "known_hosts")
						require.NoError(t, os.WriteFile(file, []byte(tc.known), 0o600))
						cfg := server.SSH()
						cfg.HostKeys, cfg.KnownHosts = nil, file
						if tc.set != nil {
							tc.set(&cfg)
						}
						before := server.Counts().LoginTries
						err := open(t, cfg).Connect(soon(t))
						want := tc.want
						if want == nil {
							want = ErrLogin // the key was accepted
						} else {
							require.Equal(t, before, server.Counts().LoginTries, "nothing of a login is tried on a wrong key")
						}
						require.ErrorIs(t, err, want)
						for _, sentinel := range []error{ErrUnknownHostKey, ErrHostKeyChanged, ErrPeerHostKey, ErrLogin} {
							require.Equal(t, sentinel == want, errors.Is(err, sentinel), "%v", err)
						}
						require.Equal(t, AnswerSome, AnswerOf(err))
						if tc.set == nil && (form == "plain" || !strings.HasPrefix(tc.name, "another kind")) {
							require.Equal(t, tc.want == nil, sshAccepts(t, host, port, file), "the ssh program decides so too")
						}
					})
				}
			})
		}
	}
}

// sshAccepts reports whether the ssh program gets as far as the login.
func sshAccepts(t *testing.T, host, port, file string) bool {
	t.Helper()
	peers.Need(t, "ssh")
	cmd := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-p", port, "-o", "BatchMode=yes", "-o",
		"StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+file,
		"-o", "GlobalKnownHostsFile=none", "-o", "PreferredAuthentications=none", "-l", "nobody", host, "true")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	switch text := string(out); {
	case strings.Contains(text, "Permission denied"):
		return true
	case strings.Contains(text, "Host key verification failed"), strings.Contains(text, "no matching host key type"):
		return false
	default:
		t.Fatalf("ssh says: %s", text)
		return false
	}
}

func TestNewRefusesAPartnerItCannotTell(t *testing.T) {
	server := serve(t, exit(0))
	key, err := remotetest.NewKey()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "known_hosts")
	text := "* " + string(ssh.MarshalAuthorizedKey(key.PublicKey()))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	for name, set := range map[string]func(*failover.SSH){
		"one line for both": func(c *failover.SSH) { c.HostKeys, c.PeerAddresses = nil, []string{"partner:22"} },
		"partner's key pinned": func(c *failover.SSH) {
			c.HostKeys, c.PeerAddresses = []string{print256(key)},
				[]string{"partner:22"}
		},
		"partner not known": func(c *failover.SSH) {
			require.NoError(t, os.WriteFile(file, []byte("x"+text), 0o600))
			c.PeerAddresses = []string{"partner:22"}
		},
		"known_hosts is a folder": func(c *failover.SSH) { c.KnownHosts = t.TempDir() },
		"revoked key unreadable": func(c *failover.SSH) {
			require.NoError(t, os.WriteFile(file, []byte("@revoked * ssh-ed25519 AAAA\n"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			cfg := server.SSH()
			cfg.KnownHosts = file
			set(&cfg)
			_, err := New(Config{SSH: cfg})
			require.ErrorIs(t, err, failover.ErrInvalid)
			require.NotEmpty(t, failover.NextOf(err))
		})
	}
	require.NoError(t, os.WriteFile(file, []byte("@cert-authority "+text), 0o600))
	cfg := server.SSH()
	cfg.KnownHosts, cfg.PeerAddresses = file, []string{"partner:22"}
	require.NoError(t, open(t, cfg).Connect(soon(t)), "the keys behind certificates cannot be known")
}
