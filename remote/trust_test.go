package remote

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote/remotetest"
)

// hostKeys makes one key of each kind a server can have: ed25519, ecdsa, rsa.
func hostKeys(t *testing.T) (ed, ec, rs ssh.Signer) {
	t.Helper()
	ed, err := remotetest.NewKey()
	require.NoError(t, err)
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ec, err = ssh.NewSignerFromSigner(ecdsaKey)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	rs, err = ssh.NewSignerFromSigner(rsaKey)
	require.NoError(t, err)
	return ed, ec, rs
}

func print256(s ssh.Signer) string { return ssh.FingerprintSHA256(s.PublicKey()) }

func TestPinnedKeyOfAnyKindIsFound(t *testing.T) {
	ed, ec, rs := hostKeys(t)
	server := serve(t, exit(0), remotetest.WithHostKeys(ed, ec, rs))
	for name, key := range map[string]ssh.Signer{"ed25519": ed, "ecdsa": ec, "rsa": rs} {
		t.Run(name, func(t *testing.T) {
			before := server.Counts().LoginTries
			cfg := server.SSH()
			cfg.HostKeys = []string{print256(key)}
			host := open(t, cfg)
			require.NoError(t, host.Connect(soon(t)))
			require.Equal(t, before+1, server.Counts().LoginTries, "only the machine with the right key sees a login")

			connections := server.Counts().Connections
			server.DropLines()
			_, err := host.Run(soon(t), Command{Line: "again"})
			require.NoError(t, err)
			require.Equal(t, connections+1, server.Counts().Connections, "the kind of key is remembered")
		})
	}
}

func TestWrongHostKeys(t *testing.T) {
	ed, ec, rs := hostKeys(t)
	other, err := remotetest.NewKey()
	require.NoError(t, err)
	for _, tc := range []struct {
		name string
		set  func(*failover.SSH)
		want error
		text string
	}{
		{"none of its keys is pinned", func(c *failover.SSH) { c.HostKeys = []string{print256(other)} }, ErrHostKeyChanged,
			"not among the pinned"},
		{"the peer's key", func(c *failover.SSH) {
			c.HostKeys, c.PeerKeys = []string{print256(other)}, []string{print256(ed)}
		}, ErrPeerHostKey, "addresses swapped"},
		{"the peer's key behind another kind", func(c *failover.SSH) {
			c.HostKeys, c.PeerKeys = []string{print256(other)}, []string{print256(rs)}
		}, ErrPeerHostKey, "addresses swapped"},
		{"the peer's key with nothing pinned", func(c *failover.SSH) {
			c.HostKeys, c.InsecureAnyHostKey, c.PeerKeys = nil, true, []string{print256(ed)}
		}, ErrPeerHostKey, "addresses swapped"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := serve(t, nil, remotetest.WithHostKeys(ed, ec, rs))
			cfg := server.SSH()
			tc.set(&cfg)
			host := open(t, cfg)
			_, err := host.Run(soon(t), Command{Line: "x"})
			require.ErrorIs(t, err, tc.want)
			for _, sentinel := range []error{ErrUnknownHostKey, ErrHostKeyChanged, ErrPeerHostKey} {
				require.Equal(t, sentinel == tc.want, errors.Is(err, sentinel), "the three are distinct")
			}
			hasEnded(t, err, server.Address(), failover.NotApplied)
			require.Contains(t, err.Error(), tc.text)
			require.Zero(t, server.Counts().LoginTries, "no login reaches a wrong machine")
		})
	}
}

func TestKnownHosts(t *testing.T) {
	ed, _, rs := hostKeys(t)
	other, err := remotetest.NewKey()
	require.NoError(t, err)
	for _, tc := range []struct {
		name string
		line func(address string) string
		want error
	}{
		{"known", func(a string) string { return knownhosts.Line([]string{a}, ed.PublicKey()) }, nil},
		{"known under its second kind", func(a string) string { return knownhosts.Line([]string{a}, rs.PublicKey()) }, nil},
		{"unknown", func(string) string { return knownhosts.Line([]string{"elsewhere:22"}, ed.PublicKey()) },
			ErrUnknownHostKey},
		{"changed", func(a string) string { return knownhosts.Line([]string{a}, other.PublicKey()) }, ErrHostKeyChanged},
		{"revoked", func(a string) string {
			return "@revoked " + knownhosts.Line([]string{a}, ed.PublicKey()) + "\n" + knownhosts.Line([]string{a},
				ed.PublicKey())
		}, ErrHostKeyChanged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := serve(t, exit(0), remotetest.WithHostKeys(ed, rs))
			file := filepath.Join(t.TempDir(), "known_hosts")
			require.NoError(t, os.WriteFile(file, []byte(tc.line(server.Address())+"\n"), 0o600))
			cfg := server.SSH()
			cfg.HostKeys, cfg.KnownHosts = nil, file
			_, err := open(t, cfg).Run(soon(t), Command{Line: "x"})
			if tc.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tc.want)
			hasEnded(t, err, server.Address(), failover.NotApplied)
			require.Zero(t, server.Counts().LoginTries)
		})
	}
	t.Run("only a kind it no longer has", func(t *testing.T) {
		server := serve(t, nil, remotetest.WithHostKeys(ed))
		file := filepath.Join(t.TempDir(), "known_hosts")
		require.NoError(t, os.WriteFile(file, []byte(knownhosts.Line([]string{server.Address()}, rs.PublicKey())+"\n"),
			0o600))
		cfg := server.SSH()
		cfg.HostKeys, cfg.KnownHosts = nil, file
		err := open(t, cfg).Connect(soon(t))
		require.ErrorIs(t, err, ErrHostKeyChanged)
		hasEnded(t, err, server.Address(), failover.NotApplied)
	})
}

func secret(text string) failover.SecretFunc {
	return func(context.Context) (failover.Secret, error) { return failover.NewSecret(text), nil }
}

func TestLogins(t *testing.T) {
	signer, private := clientKey(t, "")
	encryptedSigner, encrypted := clientKey(t, "open sesame")
	socket := agentWith(t, private, "")
	ask := func(challenge ssh.KeyboardInteractiveChallenge, password string) error {
		if _, err := challenge("", "Welcome", nil, nil); err != nil {
			return err
		}
		answers, err := challenge("", "", []string{"Password: "}, []bool{false})
		if err == nil && answers[0] != password {
			err = errors.New("wrong")
		}
		return err
	}
	for _, tc := range []struct {
		name   string
		server []remotetest.Option
		set    func(*failover.SSH)
	}{
		{"password", nil, func(*failover.SSH) {}},
		{"keyboard-interactive", []remotetest.Option{remotetest.WithKeyboardInteractive(ask)}, func(*failover.SSH) {}},
		{"public key", []remotetest.Option{remotetest.WithAuthorizedKey(signer.PublicKey())},
			func(c *failover.SSH) { c.Password, c.Key = nil, secret(private) }},
		{"encrypted key", []remotetest.Option{remotetest.WithAuthorizedKey(encryptedSigner.PublicKey())},
			func(c *failover.SSH) {
				c.Password, c.Key, c.Passphrase = nil, secret(encrypted), secret("open sesame")
			}},
		{"agent", []remotetest.Option{remotetest.WithAuthorizedKey(signer.PublicKey())},
			func(c *failover.SSH) { c.Password, c.Agent = nil, socket }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := serve(t, exit(0), tc.server...)
			cfg := server.SSH()
			tc.set(&cfg)
			_, err := open(t, cfg).Run(soon(t), Command{Line: "x"})
			require.NoError(t, err)
			require.Equal(t, 1, server.Counts().LoginTries)
		})
	}
}

func TestRefusedLogins(t *testing.T) {
	_, private := clientKey(t, "")
	_, encrypted := clientKey(t, "open sesame")
	someKey, _ := clientKey(t, "")
	asking := func(question string, echo bool, rounds int) remotetest.Option {
		return remotetest.WithKeyboardInteractive(func(challenge ssh.KeyboardInteractiveChallenge, _ string) error {
			for range rounds {
				if _, err := challenge("", "", []string{question}, []bool{echo}); err != nil {
					return err
				}
			}
			return errors.New("no")
		})
	}
	for _, tc := range []struct {
		name   string
		server []remotetest.Option
		fault  remotetest.Fault
		set    func(*failover.SSH)
		tries  int // logins judged by the server
		want   error
		text   string
	}{
		{"wrong password", nil, 0, func(c *failover.SSH) { c.Password = secret("no") }, 1, ErrLogin,
			"unable to authenticate"},
		{"account refused", nil, remotetest.FaultRefuseLogin, nil, 1, ErrLogin, "unable to authenticate"},
		{"line drops during login", nil, remotetest.FaultDropLogin, nil, 1, ErrLoginUnfinished, "line lost"},
		{"password and dialogue with one password", []remotetest.Option{remotetest.WithConfig(func(cfg *ssh.ServerConfig) {
			cfg.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (
				*ssh.Permissions, error) {
				_, err := challenge("", "", []string{"Password:"}, []bool{false})
				return nil, errors.Join(errors.New("no"), err)
			}
		})}, 0, func(c *failover.SSH) { c.Password = secret("no") }, 1, ErrLogin, "password was refused"},
		{"a question that echoes", []remotetest.Option{asking("Favourite colour?", true, 1)}, 0, nil, 1, ErrLoginIncomplete,
			"Favourite colour?"},
		{"a second question", []remotetest.Option{asking("New password:", false, 2)}, 0, nil, 1, ErrLoginIncomplete,
			"New password:"},
		{"unknown public key", []remotetest.Option{remotetest.WithAuthorizedKey(someKey.PublicKey())}, 0,
			func(c *failover.SSH) { c.Password, c.Key = nil, secret(private) }, 0, ErrLogin, "unable to authenticate"},
		{"key without its passphrase", nil, 0, func(c *failover.SSH) { c.Password, c.Key = nil, secret(encrypted) }, 0,
			ErrCredentials, "no passphrase"},
		{"key with a wrong passphrase", nil, 0,
			func(c *failover.SSH) { c.Password, c.Key, c.Passphrase = nil, secret(encrypted), secret("x") }, 0, ErrCredentials,
			"credentials not usable"},
		{"no agent", nil, 0, func(c *failover.SSH) { c.Password, c.Agent = nil, "/nonexistent/agent" }, 0, ErrCredentials,
			"credentials not usable"},
		{"empty secret", nil, 0, func(c *failover.SSH) { c.Password = secret("") }, 0, ErrCredentials, "password is empty"},
		{"no secret", nil, 0, func(c *failover.SSH) {
			c.Password = func(context.Context) (failover.Secret, error) {
				return failover.Secret{}, errors.New("vault is sealed")
			}
		}, 0, ErrCredentials, "vault is sealed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := serve(t, nil, tc.server...)
			if tc.fault != 0 {
				server.Inject(tc.fault, remotetest.Always)
			}
			cfg := server.SSH()
			if tc.set != nil {
				tc.set(&cfg)
			}
			host := open(t, cfg)
			_, err := host.Run(soon(t), Command{Line: "x"})
			require.ErrorIs(t, err, tc.want)
			for _, other := range []error{ErrLogin, ErrLoginIncomplete, ErrLoginUnfinished, ErrCredentials} {
				require.Equal(t, other == tc.want, errors.Is(err, other), "the four are distinct")
			}
			answer := AnswerSome
			if tc.want == ErrCredentials {
				answer = AnswerUnknown
				require.Zero(t, server.Counts().Connections)
			}
			require.Equal(t, answer, AnswerOf(err))
			hasEnded(t, err, server.Address(), failover.NotApplied)
			require.Contains(t, err.Error(), tc.text)
			require.LessOrEqual(t, server.Counts().LoginTries, tc.tries, "one attempt, no retry loop")
		})
	}
}

// TestMuteAgent: an agent may wait for a person who is not there.
func TestMuteAgent(t *testing.T) {
	signer, private := clientKey(t, "")
	server := serve(t, nil, remotetest.WithAuthorizedKey(signer.PublicKey()))
	for mute, want := range map[string]error{"list": ErrCredentials, "sign": ErrLoginUnfinished} {
		t.Run("when asked to "+mute, func(t *testing.T) {
			socket := agentWith(t, private, mute)
			cfg := server.SSH()
			cfg.Password, cfg.Agent, cfg.ConnectTimeout = nil, socket, 100*time.Millisecond
			_, err := open(t, cfg).Run(soon(t), Command{Line: "x"})
			require.ErrorIs(t, err, want)
			require.NotErrorIs(t, err, ErrLogin)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			hasEnded(t, err, server.Address(), failover.NotApplied)
		})
	}
}

func TestCertificateAuthorityInKnownHosts(t *testing.T) {
	ed, ca, _ := hostKeys(t)
	cert := &ssh.Certificate{Key: ed.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"127.0.0.1"},
		ValidBefore: ssh.CertTimeInfinity}
	require.NoError(t, cert.SignCert(rand.Reader, ca))
	certified, err := ssh.NewCertSigner(cert, ed)
	require.NoError(t, err)
	server := serve(t, exit(0), remotetest.WithHostKeys(certified))
	file := filepath.Join(t.TempDir(), "known_hosts")
	line := "@cert-authority " + knownhosts.Normalize(server.Address()) + " " +
		string(ssh.MarshalAuthorizedKey(ca.PublicKey()))
	require.NoError(t, os.WriteFile(file, []byte(line), 0o600))
	cfg := server.SSH()
	cfg.HostKeys, cfg.KnownHosts = nil, file
	_, err = open(t, cfg).Run(soon(t), Command{Line: "x"})
	require.NoError(t, err)
}

func TestLogsHoldNoSecretAndNoCommand(t *testing.T) {
	var text strings.Builder
	server := serve(t, exit(0))
	host := openWith(t, Config{SSH: server.SSH(),
		Logger: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	_, err := host.Run(soon(t), Command{Line: "the-command", Stdin: []byte("the-input")})
	require.NoError(t, err)
	require.NoError(t, host.Close())
	require.Contains(t, text.String(), "connected")
	require.Contains(t, text.String(), server.Fingerprints()[0])
	for _, hidden := range []string{remotetest.Password, "the-command", "the-input"} {
		require.NotContains(t, text.String(), hidden)
	}
}

func TestARefusedPasswordIsNotSentAgain(t *testing.T) {
	server := serve(t, exit(0))
	cfg := server.SSH()
	current := failover.NewSecret("old")
	cfg.Password = func(context.Context) (failover.Secret, error) { return current, nil }
	host := open(t, cfg)
	for range 5 {
		require.ErrorIs(t, host.Connect(soon(t)), ErrLogin)
	}
	require.Equal(t, 1, server.Counts().LoginTries, "a polling step must not lock the account")
	err := host.Connect(soon(t))
	require.Contains(t, err.Error(), "not sent again")
	current = failover.NewSecret(remotetest.Password)
	require.NoError(t, host.Connect(soon(t)), "a corrected password is tried")
}

func TestManyCallsMakeOneLogin(t *testing.T) {
	server := serve(t, nil)
	server.Inject(remotetest.FaultRefuseLogin, remotetest.Always)
	host := open(t, server.SSH())
	errs := make(chan error, 30)
	for range cap(errs) {
		go func() { errs <- host.Connect(soon(t)) }()
	}
	for range cap(errs) {
		require.ErrorIs(t, <-errs, ErrLogin)
	}
	require.Equal(t, 1, server.Counts().LoginTries)
}

func TestAlgorithms(t *testing.T) {
	_, _, rs := hostKeys(t)
	only := func(set func(*ssh.ServerConfig)) remotetest.Option { return remotetest.WithConfig(set) }
	kex := func(name string) remotetest.Option {
		return only(func(c *ssh.ServerConfig) { c.KeyExchanges = []string{name} })
	}
	sha1, err := ssh.NewSignerWithAlgorithms(rs.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	require.NoError(t, err)
	for _, tc := range []struct {
		name   string
		opts   []remotetest.Option
		legacy bool // what it takes
	}{
		{"group-exchange-sha256", []remotetest.Option{kex(ssh.KeyExchangeDHGEXSHA256)}, false},
		{"group16-sha512", []remotetest.Option{kex(ssh.KeyExchangeDH16SHA512)}, false},
		{"group14-sha256", []remotetest.Option{kex(ssh.KeyExchangeDH14SHA256)}, false},
		{"group14-sha1", []remotetest.Option{kex(ssh.InsecureKeyExchangeDH14SHA1)}, true},
		{"group1-sha1", []remotetest.Option{kex(ssh.InsecureKeyExchangeDH1SHA1)}, true},
		{"group-exchange-sha1", []remotetest.Option{kex(ssh.InsecureKeyExchangeDHGEXSHA1)}, true},
		{"aes128-cbc", []remotetest.Option{only(
			func(c *ssh.ServerConfig) { c.Ciphers = []string{ssh.InsecureCipherAES128CBC} })}, true},
		{"3des-cbc", []remotetest.Option{only(
			func(c *ssh.ServerConfig) { c.Ciphers = []string{ssh.InsecureCipherTripleDESCBC} })}, true},
		{"hmac-sha1-96", []remotetest.Option{only(func(c *ssh.ServerConfig) {
			c.Ciphers, c.MACs = []string{ssh.CipherAES128CTR}, []string{ssh.InsecureHMACSHA196}
		})}, true},
		{"ssh-rsa host key", []remotetest.Option{remotetest.WithHostKeys(sha1)}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := serve(t, exit(0), tc.opts...)
			cfg := server.SSH()
			_, err := open(t, cfg).Run(soon(t), Command{Line: "x"})
			if !tc.legacy {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrNoCommonAlgorithm)
				require.ErrorIs(t, err, ErrHandshake)
				var cause *ssh.AlgorithmNegotiationError
				require.ErrorAs(t, err, &cause)
				hasEnded(t, err, server.Address(), failover.NotApplied)
				require.Contains(t, failover.NextOf(err), "LegacyAlgorithms")
				require.Contains(t, err.Error(), cause.RequestedAlgorithms[0], "the missing algorithm is named")
			}
			cfg.LegacyAlgorithms = true
			_, err = open(t, cfg).Run(soon(t), Command{Line: "x"})
			require.NoError(t, err)
		})
	}
	t.Run("a pinned key behind old algorithms", func(t *testing.T) {
		ed, err := remotetest.NewKey()
		require.NoError(t, err)
		server := serve(t, nil, remotetest.WithHostKeys(ed, sha1))
		cfg := server.SSH()
		cfg.HostKeys = []string{print256(rs)}
		err = open(t, cfg).Connect(soon(t))
		require.ErrorIs(t, err, ErrHostKeyChanged)
		require.Contains(t, err.Error(), "LegacyAlgorithms")
		cfg.LegacyAlgorithms = true
		require.NoError(t, open(t, cfg).Connect(soon(t)))
	})
}

func clientKey(t *testing.T, passphrase string) (ssh.Signer, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromSigner(key)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	require.NoError(t, err)
	return signer, string(pem.EncodeToMemory(block))
}

// muteAgent is an agent that does not answer one kind of question.
type muteAgent struct {
	agent.ExtendedAgent
	mute string
	end  chan struct{}
}

func (a muteAgent) List() ([]*agent.Key, error) {
	if a.mute == "list" {
		<-a.end
	}
	return a.ExtendedAgent.List()
}

func (a muteAgent) SignWithFlags(key ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	if a.mute == "sign" {
		<-a.end
	}
	return a.ExtendedAgent.SignWithFlags(key, data, flags)
}

func agentWith(t *testing.T, private, mute string) string {
	t.Helper()
	end := make(chan struct{})
	key, err := ssh.ParseRawPrivateKey([]byte(private))
	require.NoError(t, err)
	ring, ok := agent.NewKeyring().(agent.ExtendedAgent)
	require.True(t, ok)
	require.NoError(t, ring.Add(agent.AddedKey{PrivateKey: key}))
	dir, err := os.MkdirTemp("", "agent") // short: a socket's path is limited
	require.NoError(t, err)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(muteAgent{ring, mute, end}, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		close(end)
		_ = l.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return filepath.Join(dir, "s")
}
