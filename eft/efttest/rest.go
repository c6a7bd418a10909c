package efttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
)

// Account of the administration API.
const (
	RESTUser     = "api"
	RESTPassword = "rest password"
)

// REST is the administration API of a World over TLS on 127.0.0.1, reached like the group's address: whichever node
// runs the service answers, and none when the service is down. It knows the requests that eft.REST makes and refuses
// everything else with 501. Tokens die with the service.
type REST struct {
	w   *World
	srv *httptest.Server

	mu       sync.Mutex
	requests []string
	unknown  []string
	fail     map[string]int
}

// ServeREST starts the API. Close it when done.
func (w *World) ServeREST() *REST {
	r := &REST{w: w, fail: map[string]int{}}
	r.srv = httptest.NewUnstartedServer(r)
	r.srv.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that refuses the certificate is what tests want to see
	r.srv.StartTLS()
	return r
}

// Close ends the server.
func (r *REST) Close() { r.srv.Close() }

// Config returns a configuration that reaches this server, by its fingerprint.
func (r *REST) Config() eft.RESTConfig {
	sum := sha256.Sum256(r.srv.Certificate().Raw)
	return eft.RESTConfig{URL: r.srv.URL, User: RESTUser, Password: restPassword,
		TLS: failover.TLS{Fingerprints: []string{hex.EncodeToString(sum[:])}}}
}

func restPassword(context.Context) (failover.Secret, error) {
	return failover.NewSecret(RESTPassword), nil
}

// Requests returns what was asked, as "METHOD path".
func (r *REST) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Unknown returns what was asked and is not modelled.
func (r *REST) Unknown() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.unknown)
}

// FailNext answers the next request whose path ends with suffix with this HTTP status.
func (r *REST) FailNext(suffix string, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail[suffix] = status
}

// ServeHTTP implements http.Handler.
func (r *REST) ServeHTTP(out http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req.Method+" "+req.URL.Path)
	for suffix, status := range r.fail {
		if strings.HasSuffix(req.URL.Path, suffix) {
			delete(r.fail, suffix)
			r.mu.Unlock()
			out.WriteHeader(status)
			return
		}
	}
	r.mu.Unlock()
	s, err := r.w.Admin().Read(req.Context())
	st, m, stErr := r.w.State()
	if err != nil || stErr != nil {
		// The role's address does not answer: what a client sees is a connection that ends.
		panic(http.ErrAbortHandler)
	}
	owner := m.Group(Group).Owner
	token := fmt.Sprintf("TOKEN-%s-%d", owner, starts(m))
	if req.Method == http.MethodPost && req.URL.Path == "/admin/v1/authentication" {
		r.login(out, req, token)
		return
	}
	if req.Header.Get("Authorization") != "EFTAdminAuthToken "+token {
		out.WriteHeader(http.StatusUnauthorized)
		return
	}
	doc, ok := documents(s, st, owner)[req.URL.Path]
	if req.Method != http.MethodGet || !ok {
		status := http.StatusNotImplemented
		if absent(req.URL.Path) {
			status = http.StatusNotFound
		} else {
			r.mu.Lock()
			r.unknown = append(r.unknown, req.Method+" "+req.URL.Path)
			r.mu.Unlock()
		}
		out.WriteHeader(status)
		return
	}
	answer(out, doc)
}

func starts(m *clustertest.Model) int {
	n := 0
	for _, count := range m.Counters.Restarts {
		n += count
	}
	return n
}

func (r *REST) login(out http.ResponseWriter, req *http.Request, token string) {
	var body struct{ UserName, Password, AuthType string }
	if json.NewDecoder(req.Body).Decode(&body) != nil || body.UserName != RESTUser || body.Password != RESTPassword ||
		body.AuthType != "EFT" {
		out.WriteHeader(http.StatusUnauthorized)
		return
	}
	answer(out, map[string]any{"authToken": token, "permissions": []map[string]string{{"policy": "ServerManagement"}}})
}

func answer(out http.ResponseWriter, doc any) {
	out.Header().Set("Content-Type", "application/vnd.api+json")
	// A client that went away is no fault of this server.
	_ = json.NewEncoder(out).Encode(doc)
}

const siteID = "892b16dc-24a8-473f-a74e-c597b824c879"

// absent reports whether a path is one that eft.REST asks for and the modelled version does not have. Lists of the
// vendor's reference have a second spelling there.
func absent(path string) bool {
	path = strings.NewReplacer("/admin/v2/", "", siteID, "{site}", "/connection-Profiles", "/connection-profiles").
		Replace(path)
	return slices.Contains(eft.DefaultSettings(), path) || slices.Contains(eft.DefaultSettings(), path+"/{id}") ||
		slices.Contains(eft.DefaultSettings(), "server/"+path)
}

// documents builds what the API answers from the modelled settings.
func documents(s eft.Settings, st *State, owner string) map[string]any {
	type object map[string]any
	data := func(v any) object { return object{"data": v} }
	server, site := tree(s.Values, "server/"), tree(s.Values, "sites/MySite/")
	users, rules := list(site, "users"), list(site, "event-rules")
	state, _ := site["state"].(string)
	delete(site, "state")
	site["name"] = "MySite"
	dmz := false
	if d, ok := site["dmz"].(map[string]any); ok {
		dmz = d["connected"] == "true"
		delete(d, "connected")
	}
	server["version"] = s.Version.String()
	server["general"] = map[string]any{"configFilePath": ConfigDir + `\`, "lastModifiedTime": 1633717057}
	server["smtp"].(map[string]any)["password"] = "never shown"
	docs := map[string]any{
		"/admin/v2/server": data(object{"type": "server", "id": "1", "attributes": server}),
		"/admin/v2/nodes": data(
			[]object{{"type": "node", "id": owner,
				"attributes": object{"isStarted": true, "isInCluster": s.HA, "version": s.Version.String()}}}),
		"/admin/v2/nodes/" + owner +
			"/licenses": data([]object{{"id": "EFTServer", "attributes": object{"registrationState": s.Licences["EFTServer"]}}}),
		"/admin/v2/sites": data(
			[]object{{"type": "site", "id": siteID, "attributes": object{"name": "MySite"}}}),
		"/admin/v2/sites/" + siteID: data(object{"type": "site", "id": siteID, "attributes": site}),
		"/admin/v2/server/security/tls": data(
			object{"attributes": object{"ciphers": []string{"TLS_AES_128_GCM_SHA256"}}}),
		"/admin/v2/server/security/ssh": data(object{"attributes": object{"softwareVersion": "openssh"}}),
		"/admin/v2/server/admin-users":  data([]object{{"id": "a1", "attributes": object{"name": "admin"}}}),
		"/admin/v2/server/admin-users/a1": data(object{"id": "a1", "attributes": object{"name": "admin",
			"role": s.Values["admins/admin/role"]}}),
		"/admin/v2/sites/" + siteID + "/user-groups": data([]object{{"id": "g1", "attributes": object{"name": "Partners"},
			"relationships": object{"users": object{"data": []object{{"type": "user", "id": s.Values["groups/Partners/member"]}}}}}}),
		"/admin/v2/sites/" + siteID + "/user-groups/g1": data(object{"id": "g1",
			"attributes": object{"name": "Partners", "quota": 5}}),
		"/admin/v2/sites/" + siteID + "/users":       data(users),
		"/admin/v2/sites/" + siteID + "/event-rules": data(rules),
	}
	onSite, onServer := object{"id": siteID, "name": "MySite", "state": state, "DMZConnected": dmz}, object{"isInCluster": s.HA,
		"licenses": []object{{"module": "EFTServer", "registrationState": s.Licences["EFTServer"]}}}
	if a := st.Activity; a != nil {
		// The shape is that of the vendor's reference, with the keys as it writes them.
		onSite["activity"] = object{"connectedUserCount": a.Users, "runningEventRuleCount": a.Rules, "runningAWTaskCount": a.Tasks}
		onServer["activity"] = object{"activeClientUploadCount": a.Transfers, "activeClientDownloadCount": 0,
			"activeServerUploadCount": 0, "activeServerDownloadCount": 0, "runningAwTaskCount": a.Tasks}
		for _, counts := range []any{onSite["activity"], onServer["activity"]} {
			delete(counts.(object), st.Untold) //nolint:forcetypeassert // made above
		}
	}
	docs["/admin/v1/sites/status"] = object{"info": []object{{"nodeName": owner, "sites": []object{onSite}}}}
	docs["/admin/v1/server/status"] = object{"nodes": []object{onServer}}
	return docs
}

// tree turns paths into nested documents.
func tree(values map[string]string, prefix string) map[string]any {
	root := map[string]any{}
	for path, value := range values {
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		at := root
		parts := strings.Split(rest, "/")
		for _, p := range parts[:len(parts)-1] {
			next, ok := at[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = value
	}
	return root
}

// list takes a collection out of a site's tree.
func list(site map[string]any, key string) []map[string]any {
	all, _ := site[key].(map[string]any)
	delete(site, key)
	out := []map[string]any{}
	for name, v := range all {
		attributes, _ := v.(map[string]any)
		attributes["name"] = name
		out = append(out, map[string]any{"id": "id-of-" + name, "attributes": attributes})
	}
	return out
}
