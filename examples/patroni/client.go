package patroni

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/01b61c5c/failover"
)

// Member is one machine of the cluster.
type Member struct {
	Name string // as Patroni calls it
	URL  string // of its REST API, https://host:8008
}

// Config says how to reach a cluster. Only these addresses are asked; what the cluster says of them is not followed.
type Config struct {
	Members       []Member            // every member that belongs to the cluster, in the order in which they are asked
	User          string              // of the REST API; "" when it asks for none
	Password      failover.SecretFunc // sent with every request; nil without User
	TLS           failover.TLS        // which certificates to trust
	InsecureClear bool                // allow http://: anybody in between can read the password. For a lab only
	Timeout       time.Duration       // of one reading; 0 means 10 s
	Move          time.Duration       // of a switchover or failover, and of each wait for it; 0 means 2 min
	MaxLag        int64               // bytes of WAL that a replica may be behind; 0 means 1 MiB
	Dial          func(ctx context.Context, network, address string) (net.Conn, error)
}

// Cluster is a PostgreSQL cluster run by Patroni. It is safe for concurrent use.
type Cluster struct {
	config  Config
	clients map[string]*http.Client // by member
}

// New checks the configuration. It connects to nothing. Errors wrap failover.ErrInvalid and name the field.
func New(c Config) (*Cluster, error) {
	c.Timeout, c.Move = cmp.Or(c.Timeout, 10*time.Second), cmp.Or(c.Move, 2*time.Minute)
	c.MaxLag = cmp.Or(c.MaxLag, 1<<20)
	cluster := &Cluster{config: c, clients: map[string]*http.Client{}}
	switch {
	case len(c.Members) < 2:
		return nil, failover.Invalid("Config.Members", "names fewer than two members", "name every member of the cluster")
	case (c.User == "") != (c.Password == nil):
		return nil, failover.Invalid("Config.Password", "does not go with Config.User", "give both, or none")
	}
	for _, m := range c.Members {
		field := "Config.Members " + m.Name
		u, err := url.Parse(m.URL)
		switch {
		case m.Name == "" || cluster.clients[m.Name] != nil:
			return nil, failover.Invalid(field, "has no name of its own", "use the name in Patroni's configuration")
		case err != nil || u.Host == "" || u.Path != "" && u.Path != "/" || u.User != nil:
			return nil, failover.Invalid(field+".URL", "is no address of an API", "use https://host:8008")
		case u.Scheme != "https" && !(u.Scheme == "http" && c.InsecureClear):
			return nil, failover.Invalid(field+".URL", "is not https", "use https, or InsecureClear in a lab")
		}
		trust, err := c.TLS.Config("Config.TLS", u.Hostname())
		if err != nil {
			return nil, err
		}
		// No connection is used twice: net/http sends a request again when a used one turns out to be closed.
		cluster.clients[m.Name] = &http.Client{
			Transport:     &http.Transport{TLSClientConfig: trust, DialContext: c.Dial, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return cluster, nil
}

// refusals are the statuses that Patroni gives before it writes anything; the package documentation has their sources.
var refusals = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
	http.StatusNotImplemented, http.StatusPreconditionFailed}

// send makes one request to one member and reads a 200 into a value, or not at all when that is nil. The outcome of its
// errors is that of the request.
func (c *Cluster) send(ctx context.Context, m Member, method, path string, body, into any) error {
	fail := func(outcome failover.Outcome, next string, err error) error {
		return &failover.Error{Op: method + " " + path, Target: m.Name, Outcome: outcome, Next: next, Err: err}
	}
	var dialled, met, sent atomic.Bool // an address was; something answered there; the request may have left
	trace := &httptrace.ClientTrace{ConnectStart: func(string, string) { dialled.Store(true) },
		ConnectDone: func(_, _ string, err error) { met.CompareAndSwap(false, !silent(err)) }, // of each address
		GotConn:     func(httptrace.GotConnInfo) { sent.Store(true) }}
	raw, marshalErr := json.Marshal(body)
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), method, m.URL+path, bytes.NewReader(raw))
	if err := errors.Join(marshalErr, err); err != nil {
		return fail(failover.NotApplied, "", err)
	}
	if c.config.User != "" {
		password, err := c.config.Password(ctx)
		if err != nil {
			return fail(failover.NotApplied, "make the password readable", err)
		}
		req.SetBasicAuth(c.config.User, password.Reveal())
	}
	answer, err := c.clients[m.Name].Do(req)
	switch {
	case err != nil && !sent.Load():
		if dialled.Load() && !met.Load() && silent(err) {
			err = fmt.Errorf("%w: %w", errSilent, err)
		}
		return fail(failover.NotApplied, failover.TLSNext(err), err)
	case err != nil:
		return fail(failover.InDoubt, "look at the cluster", err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	said := fmt.Errorf("%s: %.200s", answer.Status, text)
	switch {
	case slices.Contains(refusals, answer.StatusCode):
		return fail(failover.NotApplied, "", fmt.Errorf("%w: %w", failover.ErrRejected, said))
	case answer.StatusCode == http.StatusConflict: // somebody else wrote between Patroni's own reading and writing
		return fail(failover.NotApplied, "", said)
	case answer.StatusCode != http.StatusOK:
		err = said
	case err == nil && into != nil:
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fail(failover.InDoubt, "look at the cluster", err)
	}
	return nil
}

var errSilent = errors.New("nothing answers") // as from a machine without power; a refused port is an answer

// silent reports whether the error of a connection says that nobody took it: there is no route, or time was up.
func silent(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.EHOSTUNREACH) ||
		errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTDOWN) || errors.Is(err, syscall.ETIMEDOUT)
}

// ask makes a request that may be repeated, within Config.Timeout.
func (c *Cluster) ask(ctx context.Context, m Member, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	return c.send(ctx, m, method, path, body, into)
}
