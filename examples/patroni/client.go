package patroni

import (
	"bytes"
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
	"time"

	"github.com/01b61c5c/failover"
)

// Member is one machine of the cluster.
type Member struct {
	Name string // as Patroni calls it
	URL  string // of its REST API, https://host:8008
}

// Config says how to reach a cluster. Only these addresses are asked; what the cluster says of addresses is not followed.
type Config struct {
	Members       []Member            // every member that belongs to the cluster, in the order in which they are asked
	User          string              // of the REST API; "" when it asks for none
	Password      failover.SecretFunc // sent with every request; nil without User
	TLS           failover.TLS        // which certificates to trust
	InsecureClear bool                // allow http://: anybody in between can read the password. For a lab only
	Timeout       time.Duration       // of one reading; 0 means DefaultTimeout
	Dial          func(ctx context.Context, network, address string) (net.Conn, error)
}

// DefaultTimeout limits one reading.
const DefaultTimeout = 10 * time.Second

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// Cluster is a PostgreSQL cluster run by Patroni. It is safe for concurrent use.
type Cluster struct {
	config  Config
	clients map[string]*http.Client // by member
}

// New checks the configuration. It connects to nothing. Errors wrap failover.ErrInvalid and name the field.
func New(c Config) (*Cluster, error) {
	cluster := &Cluster{config: c, clients: map[string]*http.Client{}}
	if len(c.Members) < 2 {
		return nil, failover.Invalid("Config.Members", "names fewer than two members", "name every member of the cluster")
	}
	if (c.User == "") != (c.Password == nil) {
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

func (c *Cluster) member(name string) (Member, bool) {
	i := slices.IndexFunc(c.config.Members, func(m Member) bool { return m.Name == name })
	if i < 0 {
		return Member{}, false
	}
	return c.config.Members[i], true
}

// errNotSent marks a request that has not left this machine.
var errNotSent = errors.New("the request was not sent")

// refusals are the statuses that Patroni gives before it writes anything: malformed (400), not logged in (401, 403), no such
// call (404, 501), and 412, which says that the cluster is not in a state for the call. 503 is none of them: Patroni also
// gives it for "status unknown" and when its own write was not answered.
var refusals = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusNotImplemented,
	http.StatusPreconditionFailed}

// send makes one request to one member and returns the body of a 200. The outcome of its errors is that of the request.
func (c *Cluster) send(ctx context.Context, m Member, method, path string, body any) ([]byte, error) {
	fail := func(outcome failover.Outcome, next string, err error) error {
		return &failover.Error{Op: method + " " + path, Target: m.Name, Outcome: outcome, Next: next, Err: err}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fail(failover.NotApplied, "", err)
	}
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, method, m.URL+path, bytes.NewReader(raw))
	if err != nil {
		return nil, fail(failover.NotApplied, "", err)
	}
	if c.config.User != "" {
		password, err := c.config.Password(ctx)
		if err != nil {
			return nil, fail(failover.NotApplied, "make the password readable", err)
		}
		req.SetBasicAuth(c.config.User, password.Reveal())
	}
	response, err := c.clients[m.Name].Do(req)
	if err != nil {
		if !sent.Load() {
			return nil, fail(failover.NotApplied, failover.TLSNext(err), fmt.Errorf("%w: %w", errNotSent, err))
		}
		return nil, fail(failover.InDoubt, "look at the cluster", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case slices.Contains(refusals, response.StatusCode):
		return nil, fail(failover.NotApplied, "", fmt.Errorf("%w: %s: %.200s", failover.ErrRejected, response.Status, text))
	case response.StatusCode == http.StatusConflict:
		return nil, fail(failover.NotApplied, "", errConflict)
	case response.StatusCode != http.StatusOK:
		return nil, fail(failover.InDoubt, "look at the cluster", fmt.Errorf("%s: %.200s", response.Status, text))
	case err != nil:
		return nil, fail(failover.InDoubt, "look at the cluster", err)
	}
	return text, nil
}

// errConflict: somebody else changed the configuration between Patroni's own reading and writing.
var errConflict = errors.New("changed by somebody else at the same time")

// read asks one member within Config.Timeout.
func (c *Cluster) read(ctx context.Context, m Member, path string, into any) error {
	limit := c.config.Timeout
	if limit <= 0 {
		limit = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	text, err := c.send(ctx, m, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return &failover.Error{Op: "read " + path, Target: m.Name, Next: "see what listens there", Err: err}
	}
	return nil
}

// order sends a request that moves the leader. It is offered to the next member only while it has provably not left.
func (c *Cluster) order(ctx context.Context, path string, first Member, body map[string]string) error {
	members := append([]Member{first}, slices.DeleteFunc(slices.Clone(c.config.Members), func(m Member) bool { return m == first })...)
	var err error
	for _, m := range members {
		if _, err = c.send(ctx, m, http.MethodPost, path, body); !errors.Is(err, errNotSent) {
			return err
		}
	}
	return err
}
