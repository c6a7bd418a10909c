package eft

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

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
			if err := r.collect(ctx, &s, "v2/"+strings.ReplaceAll(path, "{site}", url.PathEscape(id)),
				strings.ReplaceAll(path, "{site}", name)); err != nil {
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
			Activity struct {
				ActiveClientUploadCount, ActiveClientDownloadCount, ActiveServerDownloadCount,
				ActiveServerUploadCount int
			}
			Licenses []struct{ Module, RegistrationState string }
		}
	}
	if _, err := r.get(ctx, "v1/server/status", &server); err != nil {
		return err
	}
	for _, n := range server.Nodes {
		a := n.Activity
		s.Activity.Transfers += a.ActiveClientUploadCount + a.ActiveClientDownloadCount + a.ActiveServerDownloadCount +
			a.ActiveServerUploadCount
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
	counts := strings.HasSuffix(key, "count") &&
		slices.ContainsFunc(counted, func(word string) bool { return strings.HasPrefix(key, word) })
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

// elementNames names the elements of a list by their own id or name, so that another order is no difference; a list
// whose elements have none, or not each its own, is numbered: its order may matter, as that of ciphers does.
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
