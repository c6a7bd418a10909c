package remotetest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/loopback"
)

// The account every server knows unless WithAccount says otherwise.
const (
	User     = "operator"
	Password = "correct horse"
)

var errRefused = errors.New("remotetest: refused")

// Server is an SSH server on 127.0.0.1.
type Server struct {
	handler  Handler
	user     string
	password string
	keys     []ssh.PublicKey
	host     []ssh.Signer
	ask      func(ssh.KeyboardInteractiveChallenge, string) error
	tune     func(*ssh.ServerConfig)
	files    *fileRoot
	address  string

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	release  func() // gives the port back that is kept while the server is stopped
	conns    map[net.Conn]struct{}
	faults   map[Fault]int
	asked    []string
	accepted int
	tries    int
	logins   int
	open     int
	mostOpen int
}

// Option adjusts a Server.
type Option func(*Server)

// WithAccount replaces the account. An empty password means that no password is accepted.
func WithAccount(user, password string) Option {
	return func(s *Server) { s.user, s.password = user, password }
}

// WithAuthorizedKey accepts a public key for the account.
func WithAuthorizedKey(key ssh.PublicKey) Option {
	return func(s *Server) { s.keys = append(s.keys, key) }
}

// WithHostKeys replaces the ed25519 host key that is made otherwise.
func WithHostKeys(keys ...ssh.Signer) Option { return func(s *Server) { s.host = keys } }

// WithKeyboardInteractive offers keyboard-interactive instead of plain passwords. ask leads the dialogue and returns
// nil to let the client in; it is given the account's password to compare with.
func WithKeyboardInteractive(ask func(challenge ssh.KeyboardInteractiveChallenge, password string) error) Option {
	return func(s *Server) { s.ask = ask }
}

// WithConfig lets the caller change the protocol's settings, for example restrict the algorithms.
func WithConfig(tune func(*ssh.ServerConfig)) Option { return func(s *Server) { s.tune = tune } }

// WithFiles offers SFTP, rooted in folder: nothing outside it can be reached.
func WithFiles(folder string) Option { return func(s *Server) { s.files = &fileRoot{folder: folder} } }

// WithAddress listens on address instead of a free port of 127.0.0.1.
func WithAddress(address string) Option { return func(s *Server) { s.address = address } }

// NewServer starts a server that runs commands with handler. Close it when done.
func NewServer(handler Handler, opts ...Option) (*Server, error) {
	s := &Server{handler: handler, user: User, password: Password,
		conns: map[net.Conn]struct{}{}, faults: map[Fault]int{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, opt := range opts {
		opt(s)
	}
	if len(s.host) == 0 {
		key, err := NewKey()
		if err != nil {
			return nil, err
		}
		s.host = []ssh.Signer{key}
	}
	if s.files != nil {
		if err := s.files.open(); err != nil {
			return nil, err
		}
	}
	if err := s.Start(); err != nil {
		return nil, err
	}
	return s, nil
}

// NewKey makes an ed25519 key.
func NewKey() (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromSigner(private)
}

// Start listens again after Stop, at the same address. NewServer has called it once.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	l, err := s.listen()
	if err != nil {
		return fmt.Errorf("remotetest: %w", err)
	}
	s.listener, s.address = l, l.Addr().String()
	s.work.Go(func() { s.serve(l) })
	return nil
}

func (s *Server) listen() (net.Listener, error) {
	if s.release != nil {
		s.release()
		s.release = nil
	}
	if s.address == "" {
		return loopback.Listen()
	}
	return loopback.Again(s.address)
}

// Stop closes the port and cuts every line, as a machine that goes down. Commands run on; stopping them is their
// Handler's business.
func (s *Server) Stop() {
	s.mu.Lock()
	if s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
		s.release = loopback.Hold(s.address)
	}
	s.mu.Unlock()
	s.DropLines()
}

// DropLines cuts every connection.
func (s *Server) DropLines() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// Close stops the server, ends the commands' context and waits for everything it started.
func (s *Server) Close() {
	s.cancel()
	s.Stop()
	s.work.Wait()
	s.mu.Lock()
	if s.release != nil {
		s.release()
		s.release = nil
	}
	s.mu.Unlock()
	if s.files != nil {
		s.files.close()
	}
}

// Address returns host:port.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

// Fingerprints returns the host keys' fingerprints.
func (s *Server) Fingerprints() []string {
	list := make([]string, len(s.host))
	for i, key := range s.host {
		list[i] = ssh.FingerprintSHA256(key.PublicKey())
	}
	return list
}

// SSH returns settings that reach this server: its keys pinned, its account and password.
func (s *Server) SSH() failover.SSH {
	password := failover.NewSecret(s.password)
	return failover.SSH{Address: s.Address(), User: s.user, HostKeys: s.Fingerprints(),
		Password: func(context.Context) (failover.Secret, error) { return password, nil }}
}

// Commands returns every command line that arrived, in order, also those a fault kept from running.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Counts is what a server has seen.
type Counts struct {
	Connections  int // TCP connections accepted
	LoginTries   int // passwords and signatures judged
	Logins       int // logins accepted
	Commands     int // exec requests
	MostSessions int // the most sessions that were open at one time
}

// Counts returns what the server has seen so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counts{s.accepted, s.tries, s.logins, len(s.asked), s.mostOpen}
}

func (s *Server) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.accepted++
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.work.Go(func() {
			defer func() {
				_ = conn.Close()
				s.mu.Lock()
				delete(s.conns, conn)
				s.mu.Unlock()
			}()
			s.connection(conn)
		})
	}
}

func (s *Server) config(raw net.Conn) *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{MaxAuthTries: 6}
	judge := func(user string, good bool) (*ssh.Permissions, error) {
		s.mu.Lock()
		s.tries++
		s.mu.Unlock()
		if s.strikes(FaultMuteLogin) {
			<-s.ctx.Done()
			return nil, errRefused
		}
		if s.strikes(FaultDropLogin) {
			_ = raw.Close()
			return nil, errRefused
		}
		if s.strikes(FaultRefuseLogin) || user != s.user || !good {
			return nil, errRefused
		}
		return nil, nil
	}
	if len(s.keys) > 0 {
		known := func(key ssh.PublicKey) bool {
			return slices.ContainsFunc(s.keys,
				func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(key.Marshal()) })
		}
		cfg.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !known(key) {
				return nil, errRefused
			}
			return nil, nil
		}
		cfg.VerifiedPublicKeyCallback = func(c ssh.ConnMetadata, key ssh.PublicKey, p *ssh.Permissions,
			_ string) (*ssh.Permissions, error) {
			if _, err := judge(c.User(), known(key)); err != nil {
				return nil, err
			}
			return p, nil
		}
	}
	switch {
	case s.ask != nil:
		cfg.KeyboardInteractiveCallback = func(c ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (
			*ssh.Permissions, error) {
			err := s.ask(challenge, s.password)
			return judge(c.User(), err == nil)
		}
	case s.password != "":
		cfg.PasswordCallback = func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			return judge(c.User(), subtle.ConstantTimeCompare(password, []byte(s.password)) == 1)
		}
	}
	for _, key := range s.host {
		cfg.AddHostKey(key)
	}
	if s.tune != nil {
		s.tune(cfg)
	}
	return cfg
}
