package eft

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
)

// Login says which accounts the REST API looks a user up in.
type Login string

// The kinds of login (documented: EFT REST API Reference).
const (
	EFTAccount     Login = "EFT"
	WindowsAccount Login = "AD"
)

// RESTConfig says how to reach the administration API, which EFT has from 8.0 on and which must be enabled (documented:
// enabling_rest_api_for_remote_admin, eft82).
type RESTConfig struct {
	URL  string // https://name:4450, with the name or address that moves with the group
	User string
	// Password is sent anew after every move, because tokens die with the service. One that was refused three times in a
	// row is not sent again: a verification that looks every few seconds would lock the account.
	Password failover.SecretFunc
	Login    Login // "" means EFTAccount

	// Roots are the certificates to trust; nil means those of the system. Fingerprint pins the server's certificate
	// instead: the SHA-256 of its DER form in hexadecimal, for the self-signed one EFT makes.
	Roots       *x509.CertPool
	Fingerprint string

	Timeout time.Duration // for one request; 0 means 60 s
	// Settings names what is read besides server and sites, below /admin/v2/ and, with {site}, once per site. An
	// endpoint the server does not have (404) is left out. nil means DefaultSettings.
	Settings []string
}

// DefaultSettings are the endpoints that REST reads besides the server, its nodes and its sites. Which of them a version
// has differs: most came with 8.1 (documented).
func DefaultSettings() []string {
	return []string{"server/security/tls", "server/security/ssh", "server/admin-users",
		"sites/{site}/users", "sites/{site}/event-rules", "sites/{site}/connection-profiles", "sites/{site}/user-templates",
		"sites/{site}/user-groups", "sites/{site}/custom-commands"}
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

// ErrREST: the API answered with an HTTP status that is not success, or with something that is not its document.
var ErrREST = errors.New("EFT's administration API refuses")

// NewREST checks the configuration; it does not connect.
func NewREST(c RESTConfig) (*REST, error) {
	bad := func(field, wrong, right string) (*REST, error) {
		return nil, failover.Invalid("RESTConfig."+field, wrong, right)
	}
	base, err := url.Parse(c.URL)
	switch {
	case err != nil || base.Scheme != "https" || base.Host == "" || strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.User != nil:
		return bad("URL", fmt.Sprintf("%q is not https://host:port", c.URL), "give the address of the administration API, for example https://eft.example.com:4450")
	case c.User == "":
		return bad("User", "is empty", "give the account with REST access")
	case c.Password == nil:
		return bad("Password", "is nil", "give a function that fetches it")
	case c.Login != "" && c.Login != EFTAccount && c.Login != WindowsAccount:
		return bad("Login", fmt.Sprintf("is %q", c.Login), "use EFTAccount or WindowsAccount")
	case c.Timeout < 0:
		return bad("Timeout", "is negative", "use zero for the default")
	}
	if c.Login == "" {
		c.Login = EFTAccount
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Settings == nil {
		c.Settings = DefaultSettings()
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots}
	if c.Fingerprint != "" {
		want, err := hex.DecodeString(strings.ReplaceAll(c.Fingerprint, ":", ""))
		if err != nil || len(want) != sha256.Size {
			return bad("Fingerprint", "is not a SHA-256 in hexadecimal", "take it from the server's certificate")
		}
		// The pin replaces the chain: VerifyConnection is called for every connection, resumed ones too.
		trust.InsecureSkipVerify = true //nolint:gosec // the fingerprint is what is verified
		trust.VerifyConnection = func(s tls.ConnectionState) error {
			got := sha256.Sum256(s.PeerCertificates[0].Raw)
			if subtle.ConstantTimeCompare(got[:], want) != 1 {
				return fmt.Errorf("eft: the server's certificate is %x, pinned is another", got)
			}
			return nil
		}
	}
	// No connection is kept: the service behind the address changes with every move.
	transport := &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true, TLSHandshakeTimeout: c.Timeout, ResponseHeaderTimeout: c.Timeout}
	return &REST{c: c, base: base, client: &http.Client{Transport: transport, Timeout: c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

func (r *REST) fail(op, next string, err error) error {
	return &failover.Error{Op: op, Target: r.base.Host, Outcome: failover.NotApplied, Next: next, Err: err}
}

// send makes one request and returns status and body.
func (r *REST) send(ctx context.Context, method, path string, token failover.Secret, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.base.Scheme+"://"+r.base.Host+"/admin/"+path, bytes.NewReader(body))
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
	const op = "log in to EFT"
	password, err := r.c.Password(ctx)
	if err != nil {
		return failover.Secret{}, r.fail(op, "make the password available", err)
	}
	if r.spent(password) {
		return failover.Secret{}, r.fail(op, "correct the password or unlock the account, then run again", fmt.Errorf("%w: it refused this password %d times and is not asked again", ErrREST, maxRefused))
	}
	body, err := json.Marshal(map[string]string{"userName": r.c.User, "password": password.Reveal(), "authType": string(r.c.Login)})
	if err != nil {
		return failover.Secret{}, r.fail(op, "report this", err)
	}
	status, raw, err := r.send(ctx, http.MethodPost, "v1/authentication", failover.Secret{}, body)
	if err != nil {
		return failover.Secret{}, r.fail(op, "see that the service runs and the address is that of the group", err)
	}
	var answer struct {
		AuthToken string `json:"authToken"`
	}
	r.judged(password, status)
	if status != http.StatusOK {
		return failover.Secret{}, r.fail(op, "see that the account has REST access", fmt.Errorf("%w: HTTP status %d", ErrREST, status))
	}
	if err := json.Unmarshal(raw, &answer); err != nil || answer.AuthToken == "" {
		return failover.Secret{}, r.fail(op, "see what answers at this address", fmt.Errorf("%w: no token in the answer", ErrREST))
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
			r.mu.Lock()
			r.token = token
			r.mu.Unlock()
		}
		status, raw, err := r.send(ctx, http.MethodGet, path, token, nil)
		switch {
		case err != nil:
			return false, r.fail(op, "see that the service runs and the address is that of the group", err)
		case status == http.StatusUnauthorized && attempt == 0 && !fresh:
			r.mu.Lock()
			r.token = failover.Secret{}
			r.mu.Unlock()
			continue
		case status == http.StatusNotFound:
			return false, nil
		case status != http.StatusOK:
			if status == http.StatusUnauthorized {
				r.mu.Lock()
				r.token = failover.Secret{}
				r.mu.Unlock()
			}
			return false, r.fail(op, "see what the server's log says", fmt.Errorf("%w: HTTP status %d", ErrREST, status))
		}
		if err := json.Unmarshal(raw, doc); err != nil {
			return false, r.fail(op, "see what answers at this address", fmt.Errorf("%w: unreadable answer: %w", ErrREST, err))
		}
		return true, nil
	}
}

// must is get for a document every version has.
func (r *REST) must(ctx context.Context, path string, doc any) error {
	found, err := r.get(ctx, path, doc)
	if err == nil && !found {
		err = r.fail("read "+path, "see that this is EFT 8.0 or newer with the REST API enabled", fmt.Errorf("%w: HTTP status 404", ErrREST))
	}
	return err
}

// object is one resource of the API's documents.
type object struct {
	ID         string         `json:"id"`
	Attributes map[string]any `json:"attributes"`
}

func (o object) name() string {
	for _, key := range []string{"name", "loginName", "userName"} {
		if s, ok := o.Attributes[key].(string); ok && s != "" {
			return s
		}
	}
	return o.ID
}

// Read implements Admin.
func (r *REST) Read(ctx context.Context) (Settings, error) {
	s := Settings{Values: map[string]string{}, Licences: map[string]string{}}
	var server struct{ Data object }
	if err := r.must(ctx, "v2/server", &server); err != nil {
		return s, err
	}
	version, _ := server.Data.Attributes["version"].(string)
	var err error
	if s.Version, err = ParseVersion(version); err != nil {
		return s, r.fail("read version", "see what answers at this address", fmt.Errorf("%w: version %q", ErrREST, version))
	}
	if general, ok := server.Data.Attributes["general"].(map[string]any); ok {
		s.ConfigDir, _ = general["configFilePath"].(string)
	}
	flatten(s.Values, "server", server.Data.Attributes)
	if err := r.nodes(ctx, &s); err != nil {
		return s, err
	}
	sites, err := r.sites(ctx, &s)
	if err != nil {
		return s, err
	}
	for _, path := range r.c.Settings {
		if !strings.Contains(path, "{site}") {
			if err := r.collect(ctx, &s, "v2/"+path, path); err != nil {
				return s, err
			}
			continue
		}
		for id, name := range sites {
			if err := r.collect(ctx, &s, "v2/"+strings.ReplaceAll(path, "{site}", url.PathEscape(id)), strings.ReplaceAll(path, "{site}", name)); err != nil {
				return s, err
			}
		}
	}
	return s, r.status(ctx, &s)
}

// nodes reads whether EFT is its own cluster manager, and the licences of the node that answers.
func (r *REST) nodes(ctx context.Context, s *Settings) error {
	var nodes struct{ Data []object }
	found, err := r.get(ctx, "v2/nodes", &nodes)
	if err != nil || !found {
		return err
	}
	for _, n := range nodes.Data {
		if in, ok := n.Attributes["isInCluster"].(bool); ok && in {
			s.HA = true
		}
		if started, ok := n.Attributes["isStarted"].(bool); ok && !started {
			continue
		}
		var licences struct{ Data []object }
		if found, err := r.get(ctx, "v2/nodes/"+url.PathEscape(n.ID)+"/licenses", &licences); err != nil || !found {
			if err != nil {
				return err
			}
			continue
		}
		for _, l := range licences.Data {
			for _, key := range []string{"registrationState", "registrationStatus"} {
				if state, ok := l.Attributes[key].(string); ok {
					s.Licences[l.ID] = state
				}
			}
		}
	}
	return nil
}

func (r *REST) sites(ctx context.Context, s *Settings) (map[string]string, error) {
	var list struct{ Data []object }
	if err := r.must(ctx, "v2/sites", &list); err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, o := range list.Data {
		var site struct{ Data object }
		if err := r.must(ctx, "v2/sites/"+url.PathEscape(o.ID), &site); err != nil {
			return nil, err
		}
		names[o.ID] = o.name()
		flatten(s.Values, "sites/"+o.name(), site.Data.Attributes)
		s.Values["sites/"+o.name()+"/id"] = o.ID
	}
	return names, nil
}

// collect reads one object or a list of them below a path of ours. A version that lacks the endpoint has nothing there.
func (r *REST) collect(ctx context.Context, s *Settings, path, under string) error {
	var doc struct{ Data json.RawMessage }
	found, err := r.get(ctx, path, &doc)
	if err != nil || !found {
		return err
	}
	var list []object
	if err := json.Unmarshal(doc.Data, &list); err == nil {
		for _, o := range list {
			s.Values[under+"/"+o.name()+"/id"] = o.ID
			flatten(s.Values, under+"/"+o.name(), o.Attributes)
		}
		return nil
	}
	var one object
	if err := json.Unmarshal(doc.Data, &one); err != nil {
		return r.fail("read "+path, "see what the API answers", fmt.Errorf("%w: neither object nor list", ErrREST))
	}
	flatten(s.Values, under, one.Attributes)
	return nil
}

// status reads which sites run, whether their gateway is connected, and who is working.
func (r *REST) status(ctx context.Context, s *Settings) error {
	var sites struct {
		Info []struct {
			Sites []struct {
				Name, State  string
				DMZConnected bool
				Activity     struct{ ConnectedUserCount, RunningEventRuleCount int }
			}
		}
	}
	if _, err := r.get(ctx, "v1/sites/status", &sites); err != nil {
		return err
	}
	for _, node := range sites.Info {
		for _, site := range node.Sites {
			s.Values["sites/"+site.Name+"/state"] = site.State
			s.Values["sites/"+site.Name+"/dmz/connected"] = strconv.FormatBool(site.DMZConnected)
			s.Activity.Users += site.Activity.ConnectedUserCount
			s.Activity.Rules += site.Activity.RunningEventRuleCount
		}
	}
	var server struct {
		Nodes []struct {
			Activity struct{ ActiveClientUploadCount, ActiveClientDownloadCount, ActiveServerDownloadCount, ActiveServerUploadCount int }
			Licenses []struct{ Module, RegistrationState string }
		}
	}
	if _, err := r.get(ctx, "v1/server/status", &server); err != nil {
		return err
	}
	for _, n := range server.Nodes {
		a := n.Activity
		s.Activity.Transfers += a.ActiveClientUploadCount + a.ActiveClientDownloadCount + a.ActiveServerDownloadCount + a.ActiveServerUploadCount
		for _, l := range n.Licenses {
			s.Licences[l.Module] = l.RegistrationState
		}
	}
	return nil
}

// volatile are attributes that must change in an upgrade (by their whole name: minTlsVersion is a setting) or change by
// themselves; a count is one only with what it counts, because retryCount is a setting. hidden are those that may hold
// secrets.
var (
	versions = []string{"version", "softwareversion"}
	volatile = []string{"lastmodified", "starttime", "uptime", "lastuserlogin", "lastlogin"}
	counted  = []string{"connected", "active", "running", "defined", "disabled"}
	hidden   = []string{"password", "passphrase", "secret", "token", "privatekey"}
)

func isVolatile(key string) bool {
	key = strings.ToLower(key)
	counts := strings.HasSuffix(key, "count") && slices.ContainsFunc(counted, func(word string) bool { return strings.HasPrefix(key, word) })
	return slices.Contains(versions, key) || counts || holds(volatile, key)
}

// flatten writes the scalars of a document under their paths. Of what may hold a secret only its being there is kept.
func flatten(into map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			switch {
			case isVolatile(key):
			case holds(hidden, key):
				into[path+"/"+key] = presence(inner)
			default:
				flatten(into, path+"/"+key, inner)
			}
		}
	case []any:
		names := elementNames(v)
		for i, inner := range v {
			flatten(into, path+"/"+names[i], inner)
		}
	case nil:
	case float64:
		into[path] = strconv.FormatFloat(v, 'f', -1, 64)
	default:
		into[path] = fmt.Sprint(v)
	}
}

// elementNames names the elements of a list by their own id or name, so that another order is no difference; a list whose
// elements have none, or not each its own, is numbered: its order may matter, as that of ciphers does.
func elementNames(list []any) []string {
	for _, key := range []string{"id", "name"} {
		seen := map[string]bool{}
		var names []string
		for _, e := range list {
			o, _ := e.(map[string]any)
			if name, ok := o[key].(string); ok && name != "" && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
		if len(names) == len(list) {
			return names
		}
	}
	numbers := make([]string, len(list))
	for i := range list {
		numbers[i] = strconv.Itoa(i)
	}
	return numbers
}

// presence says whether something is there, and of a switch, which is no secret, how it stands.
func presence(v any) string {
	if on, ok := v.(bool); ok {
		return strconv.FormatBool(on)
	}
	if v == nil || v == "" {
		return ""
	}
	return "[redacted]"
}

func holds(words []string, key string) bool {
	key = strings.ToLower(key)
	for _, w := range words {
		if strings.HasPrefix(key, w) || strings.HasSuffix(key, w) {
			return true
		}
	}
	return false
}
