package opcontest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// Hooks tie the server to a simulator of the hosts behind the agents. They are called with the server's lock held: they
// must not call back into it.
type Hooks struct {
	// Agent reports whether an agent answers at an address; nil means always.
	Agent func(address string) bool
	// Right reports whether jobs may run on a host now, that is, whether it is the primary one; nil means always.
	// Starts elsewhere are counted by Server.WrongStarts.
	Right func(host string) bool
	// Host returns the name of the host whose agent answers at an address; nil means that the address is the name. A
	// line that is open stays with its host until the machine goes down or the agent stops answering, wherever the
	// address leads meanwhile.
	Host func(address string) string
	// Started is told of every start of a job.
	Started func(job, machine, address string)
}

// Config shapes the server. The zero Config is an obedient recent release.
type Config struct {
	User, Password string // accepted login; default failover_svc and secret
	External       string // an external token that is accepted from the start
	// Now: the server's clock, which stands still but for Midnight; default 2026-08-22 08:00 at -05:00
	Now time.Time

	Polls       int // requests an action stays submitted before it is carried out
	ReportAfter int // requests until the agent on a new host reports the jobs of the old one as failed
	Hooks       Hooks

	SchemaNames   bool // field names as in the OpenAPI document instead of those on the wire
	ProblemErrors bool // errors as problem objects instead of lists
	IgnoreFilters bool // unknown filters have no effect, as machine and categories may
	IgnorePaging  bool // offset and limit have no effect
	NoCount       bool // no TotalResourceCount header
	MaxPage       int  // the server's own page limit; 0 means none
	RefuseAbove   int  // a larger limit is refused; 0 means none is
	NoContainerID bool // subschedules do not name their container job
	SAMDown       bool // the scheduling engine does not run: actions stay submitted
	ZonelessTimes bool // times without an offset
	DateObjects   bool // built dates as objects
	NoHostname    bool // machine records do not tell the agent's host name

	MachineFilter MachineFilter // what the filter "machine" of daily jobs matches
}

// MachineFilter is what the parameters that name a machine do, which is documented nowhere.
type MachineFilter int

// The ways to read the parameter "machine"; the others match their own field.
const (
	FilterPrimary MachineFilter = iota // matches the primary machine
	FilterAny                          // matches start, primary and alternate machines
	FilterIgnored                      // none of the parameters has an effect
	FilterRefused                      // the server knows none of the parameters
)

// Server is a running simulator.
type Server struct {
	URL string // https://127.0.0.1:port
	Config

	cert tls.Certificate
	http *http.Server
	done chan struct{}
	quit chan struct{}

	mu         sync.Mutex
	now        time.Time
	machines   []*Machine
	groups     []group
	schedules  []*Schedule
	jobs       []*Job
	actions    []*action
	effects    []Effect
	wrong      []Effect
	violations []string
	requests   []Request
	tokens     map[string]bool
	appTokens  map[string]string
	injections []*Injection
	itemFaults []*itemFault
	refusals   map[string]int // by verb
	scenario   *Scenario
	stray      string // host that every line leads to, wherever its address leads
	before     []*trigger
	busy       int
	busiest    int
	bytes      int
	nextAction struct {
		id    int
		fault *Injection // hits the next action
	}

	nextID, nextMaster, nextNumber, logins int
}

// Request is one request the server saw.
type Request struct {
	Method, Path, Query, Body string
}

// Start starts a server for a test, which ends it.
func Start(tb testing.TB, c Config) *Server {
	tb.Helper()
	s, err := Open(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Open starts a server. Close it. Its state lives in memory.
func Open(c Config) (*Server, error) {
	c.User, c.Password = or(c.User, "failover_svc"), or(c.Password, "secret")
	if c.Now.IsZero() {
		c.Now = time.Date(2026, 8, 22, 8, 0, 0, 748_000_000, time.FixedZone("", -5*3600))
	}
	s := &Server{Config: c, now: c.Now, tokens: map[string]bool{}, appTokens: map[string]string{},
		refusals: map[string]int{}, nextID: 11, nextMaster: 226,
		nextNumber: 771000, done: make(chan struct{}), quit: make(chan struct{})}
	s.nextAction.id = 880
	if c.External != "" {
		s.tokens[c.External] = true
	}
	var err error
	if s.cert, err = selfSigned(); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opcontest: %w", err)
	}
	s.URL = "https://" + ln.Addr().String()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), Protocols: protocols,
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: 10 * time.Second}
	tlsLn := tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{s.cert}, MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}})
	go func() {
		defer close(s.done)
		_ = s.http.Serve(tlsLn) // ends with Close
	}()
	return s, nil
}

// Close ends the server and every connection.
func (s *Server) Close() {
	close(s.quit)
	_ = s.http.Close()
	<-s.done
}

// CertPool returns a pool that trusts the server.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.cert.Leaf)
	return pool
}

// Fingerprint returns the SHA-256 fingerprint of the server's certificate.
func (s *Server) Fingerprint() string {
	sum := sha256.Sum256(s.cert.Leaf.Raw)
	return hex.EncodeToString(sum[:])
}

// Requests returns every request so far, bodies included.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Bytes returns how many bytes the bodies of all answers had.
func (s *Server) Bytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Busiest returns how many requests were under way at once at most.
func (s *Server) Busiest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busiest
}

// Delete deletes a schedule with its jobs, so that every row behind it moves up by one place.
func (s *Server) Delete(x *Schedule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedules = slices.DeleteFunc(s.schedules, func(y *Schedule) bool { return y == x })
	s.jobs = slices.DeleteFunc(s.jobs, func(j *Job) bool { return j.Schedule == x })
}

// Insert puts a schedule before all others, so that every row moves down by one place.
func (s *Server) Insert(x *Schedule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addSchedule(x)
	last := len(s.schedules) - 1
	s.schedules = slices.Insert(s.schedules[:last:last], 0, x)
}

// Logins returns how many tokens were given out.
func (s *Server) Logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// ExpireTokens makes every token given out so far, and the external one, invalid.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireTokens()
}

func (s *Server) expireTokens() {
	s.tokens = map[string]bool{}
	s.appTokens = map[string]string{}
}

// AllowToken makes an external token valid.
func (s *Server) AllowToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = true
}

// Change runs f with the server's lock held, for changes of the model in mid-flight.
func (s *Server) Change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "opcontest"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	s.mu.Lock()
	s.busy++
	s.busiest = max(s.busiest, s.busy)
	defer s.Change(func() { s.busy-- })
	s.requests = append(s.requests, Request{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(body)})
	run := s.triggered(r.Method, r.URL.EscapedPath(), body)
	fault := s.fault(r.Method, r.URL.EscapedPath(), body)
	s.mu.Unlock()
	for _, f := range run {
		f()
	}
	if fault.early(s, w, r) {
		return
	}
	s.mu.Lock()
	s.tick()
	rec := &recorder{header: http.Header{}, status: http.StatusOK}
	s.route(rec, r, body)
	rec.header.Set("apiServerTime", s.stamp(s.now))
	rec.header.Set("Date", s.now.UTC().Format(http.TimeFormat))
	s.bytes += rec.body.Len()
	s.mu.Unlock()
	if fault.late(s, w, r) {
		return
	}
	for k, v := range rec.header {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.status)
	_, _ = w.Write(rec.body.Bytes()) // a client that is gone is its own affair
}

// recorder holds an answer until it is decided whether it is sent.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (s *Server) stamp(t time.Time) string {
	if s.ZonelessTimes {
		return t.Format("2006-01-02T15:04:05.0000000")
	}
	return t.Format("2006-01-02T15:04:05.0000000-07:00")
}
