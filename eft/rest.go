package eft

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
)

// Login says which accounts the REST API looks a user up in.
type Login string

// The kinds of login (documented: EFT REST API Reference).
const (
	LoginEFT     Login = "EFT"
	LoginWindows Login = "AD"
)

// RESTConfig says how to reach the administration API, which EFT has from 8.0 on and which must be enabled (documented:
// enabling_rest_api_for_remote_admin, eft82).
type RESTConfig struct {
	URL  string // https://name:4450, with the name or address that moves with the group
	User string
	// Password is sent anew after every move, because tokens die with the service. One that was refused three times in a
	// row is not sent again: a verification that looks every few seconds would lock the account.
	Password failover.SecretFunc
	Login    Login // "" means LoginEFT

	TLS failover.TLS // whom to trust; pin the self-signed certificate that EFT makes by its fingerprint

	Timeout time.Duration // for one request; 0 means 60 s
	// Settings names what is read besides server and sites, below /admin/v2/ and, with {site}, once per site. At the end
	// of a list {id} reads each of its documents too, where the list carries names only. An endpoint the server does not
	// have (404) is told in [Settings.Absent]. nil means DefaultSettings.
	Settings []string
}

// DefaultSettings are the endpoints that REST reads besides the server, its nodes and its sites. Which of them a
// version has differs: most came with 8.1 (documented).
func DefaultSettings() []string {
	list := []string{"server/security/tls", "server/security/ssh", "server/admin-users/{id}", "server/admin-users-policy"}
	for _, name := range []string{"general", "authentication", "ftps", "https", "networkAndSecurity", "accountSecurity",
		"ipAccess", "dmz", "workspaces", "sendPortal", "dropOffPortal", "gdpr", "privacyPolicy", "termsOfService", "users",
		"event-rules", "event-rule-folders", "connection-profiles", "user-templates", "user-groups/{id}",
		"custom-commands/{id}", "awe-tasks/{id}", "contentIntegrity/{id}", "sms"} {
		list = append(list, "sites/{site}/"+name)
	}
	return list
}

// REST is the administration API of a running server. It only reads. It is safe for concurrent use.
type REST struct {
	c      RESTConfig
	base   *url.URL
	client *http.Client

	mu      sync.Mutex
	token   failover.Secret
	refused struct {
		password failover.Secret
		times    int
	}
}

var _ Admin = (*REST)(nil)

const (
	maxBody    = 32 << 20
	maxRefused = 3
)

// refused is an HTTP status that is not success.
type refused int

func (s refused) Error() string { return fmt.Sprintf("HTTP status %d", int(s)) }

// ErrREST: the API answered with an HTTP status that is not success, or with something that is not its document.
var ErrREST = errors.New("EFT's administration API refuses")

// NewREST checks the configuration; it does not connect.
func NewREST(c RESTConfig) (*REST, error) {
	bad := func(field, wrong, right string) (*REST, error) {
		return nil, failover.Invalid("RESTConfig."+field, wrong, right)
	}
	base, err := url.Parse(c.URL)
	switch {
	case err != nil || base.Scheme != "https" || base.Host == "" || strings.Trim(base.Path, "/") != "" ||
		base.RawQuery != "" || base.User != nil:
		return bad("URL", fmt.Sprintf("%q is not https://host:port", c.URL),
			"give the address of the administration API, for example https://eft.example.com:4450")
	case c.User == "":
		return bad("User", "is empty", "give the account with REST access")
	case c.Password == nil:
		return bad("Password", "is nil", "give a function that fetches it")
	case c.Login != "" && c.Login != LoginEFT && c.Login != LoginWindows:
		return bad("Login", fmt.Sprintf("is %q", c.Login), "use LoginEFT or LoginWindows")
	case c.Timeout < 0:
		return bad("Timeout", "is negative", "use zero for the default")
	}
	c.Login, c.Timeout = cmp.Or(c.Login, LoginEFT), cmp.Or(c.Timeout, time.Minute)
	c.Settings = given(c.Settings, DefaultSettings()...)
	trust, err := c.TLS.Config("RESTConfig.TLS", base.Hostname())
	if err != nil {
		return nil, err
	}
	// No connection is kept: the service behind the address changes with every move. Its session is, so that not every
	// request costs a signature.
	trust.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	transport := &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true, TLSHandshakeTimeout: c.Timeout,
		ResponseHeaderTimeout: c.Timeout}
	return &REST{c: c, base: base, client: &http.Client{Transport: transport, Timeout: c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

func (r *REST) fail(op, next string, err error) error { return unchanged(op, r.base.Host, next, err) }

// lineFailed is fail for a request that got no answer.
func (r *REST) lineFailed(op string, err error) error {
	return r.fail(op, cmp.Or(failover.TLSNext(err), "see that the service runs and the address is that of the group"), err)
}

// send makes one request and returns status and body.
func (r *REST) send(ctx context.Context, method, path string, token failover.Secret, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.base.Scheme+"://"+r.base.Host+"/admin/"+path,
		bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "application/vnd.api+json, application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !token.Empty() {
		req.Header.Set("Authorization", "EFTAdminAuthToken "+token.Reveal())
	}
	res, err := r.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	err = errors.Join(err, res.Body.Close())
	if err == nil && len(raw) > maxBody {
		err = fmt.Errorf("%w: the answer is longer than %d bytes", ErrREST, maxBody)
	}
	return res.StatusCode, raw, err
}

func (r *REST) login(ctx context.Context) (failover.Secret, error) {
	fail := func(next string, err error) (failover.Secret, error) {
		return failover.Secret{}, r.fail("log in to EFT", next, err)
	}
	password, err := r.c.Password(ctx)
	if err != nil {
		return fail("make the password available", err)
	}
	if r.spent(password) {
		return fail("correct the password or unlock the account, then run again",
			fmt.Errorf("%w: it refused this password %d times and is not asked again", ErrREST, maxRefused))
	}
	body, err := json.Marshal(map[string]string{"userName": r.c.User, "password": password.Reveal(),
		"authType": string(r.c.Login)})
	if err != nil {
		return fail("report this", err)
	}
	status, raw, err := r.send(ctx, http.MethodPost, "v1/authentication", failover.Secret{}, body)
	if err != nil {
		return failover.Secret{}, r.lineFailed("log in to EFT", err)
	}
	r.judged(password, status)
	if status != http.StatusOK {
		return fail("see that the account has REST access", fmt.Errorf("%w: HTTP status %d", ErrREST, status))
	}
	var answer struct {
		AuthToken string `json:"authToken"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil || answer.AuthToken == "" {
		return fail("see what answers at this address", fmt.Errorf("%w: no token in the answer", ErrREST))
	}
	return failover.NewSecret(answer.AuthToken), nil
}

// spent reports whether the server refused this password as often as it may.
func (r *REST) spent(password failover.Secret) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused.times >= maxRefused && r.refused.password.Reveal() == password.Reveal()
}

func (r *REST) judged(password failover.Secret, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if status == http.StatusOK || r.refused.password.Reveal() != password.Reveal() {
		r.refused.password, r.refused.times = password, 0
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		r.refused.times++
	}
}

func (r *REST) keep(token failover.Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token = token
}

// get reads one document. A token that is not taken any more, which is the rule after a move and after a minute of
// idling, is replaced once. found is false on 404.
func (r *REST) get(ctx context.Context, path string, doc any) (found bool, err error) {
	op := "read " + path
	for attempt := 0; ; attempt++ {
		r.mu.Lock()
		token := r.token
		r.mu.Unlock()
		fresh := token.Empty()
		if fresh {
			if token, err = r.login(ctx); err != nil {
				return false, err
			}
			r.keep(token)
		}
		status, raw, err := r.send(ctx, http.MethodGet, path, token, nil)
		if err != nil {
			return false, r.lineFailed(op, err)
		}
		if status == http.StatusUnauthorized {
			r.keep(failover.Secret{})
			if attempt == 0 && !fresh {
				continue
			}
		}
		switch {
		case status == http.StatusNotFound:
			return false, nil
		case status != http.StatusOK:
			return false, r.fail(op, "see what the server's log says", fmt.Errorf("%w: %w", ErrREST, refused(status)))
		}
		if err := json.Unmarshal(raw, doc); err != nil {
			return false, r.fail(op, "see what answers at this address", fmt.Errorf("%w: unreadable answer: %w", ErrREST, err))
		}
		return true, nil
	}
}
