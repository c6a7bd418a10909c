package eft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// object is one resource of the API's documents. What belongs to it, for example the members of a group, stands in its
// relationships and not among its attributes.
type object struct {
	ID            string         `json:"id"`
	Attributes    map[string]any `json:"attributes"`
	Relationships map[string]any `json:"relationships"`
}

func (o object) name() string {
	info, _ := o.Attributes["info"].(map[string]any) // of an event rule
	for _, name := range []any{o.Attributes["name"], o.Attributes["loginName"], o.Attributes["userName"],
		o.Attributes["profileName"], info["Name"], info["name"]} {
		if s, ok := name.(string); ok && s != "" {
			return s
		}
	}
	return o.ID
}

// write puts the object under its path.
func (o object) write(into map[string]string, path string) {
	flatten(into, path, o.Attributes, shown)
	flatten(into, path+"/relationships", o.Relationships, shown)
}

// paths names each object of a list by its name, and by its ID too where two have one name.
func paths(list []object) []string {
	count := map[string]int{}
	for _, o := range list {
		count[o.name()]++
	}
	var names []string
	for _, o := range list {
		name := o.name()
		if count[name] > 1 {
			name += " (" + o.ID + ")"
		}
		names = append(names, strings.ReplaceAll(name, "/", "%2F")) // it is one part of a path
	}
	return names
}

// reading collects what a server tells. After the first error nothing more is asked.
type reading struct {
	*REST
	Settings
	err error
}

// get is REST.get.
func (r *reading) get(ctx context.Context, path string, doc any) (found bool) {
	if r.err == nil {
		found, r.err = r.REST.get(ctx, path, doc)
	}
	return found
}

// must is get for a document every version has.
func (r *reading) must(ctx context.Context, path string, doc any) {
	if !r.get(ctx, path, doc) && r.err == nil {
		r.err = r.fail("read "+path, "see that this is EFT 8.0 or newer with the REST API enabled",
			fmt.Errorf("%w: HTTP status 404", ErrREST))
	}
}

// optional is get for a document that not every version has. That it is not there is told.
func (r *reading) optional(ctx context.Context, path string, doc any) {
	if !r.get(ctx, path, doc) && r.err == nil {
		r.Absent = append(r.Absent, path)
	}
}

// Read implements Admin.
func (r *REST) Read(ctx context.Context) (Settings, error) {
	now := reading{REST: r, Settings: Settings{Values: map[string]string{}, Licences: map[string]string{}}}
	now.server(ctx)
	now.nodes(ctx)
	sites := now.sites(ctx)
	for _, path := range r.c.Settings {
		of := sites
		if !strings.Contains(path, "{site}") {
			of = map[string]string{"": ""} // it is read once
		}
		for id, name := range of {
			now.collect(ctx, strings.ReplaceAll(path, "{site}", url.PathEscape(id)), strings.ReplaceAll(path, "{site}", name))
		}
	}
	now.status(ctx)
	slices.Sort(now.Absent)
	return now.Settings, now.err
}

func (r *reading) server(ctx context.Context) {
	var server struct{ Data object }
	if r.must(ctx, "v2/server", &server); r.err != nil {
		return
	}
	version, _ := server.Data.Attributes["version"].(string)
	var err error
	if r.Version, err = ParseVersion(version); err != nil {
		r.err = r.fail("read version", "see what answers at this address", fmt.Errorf("%w: version %q", ErrREST, version))
	}
	general, _ := server.Data.Attributes["general"].(map[string]any)
	r.ConfigDir, _ = general["configFilePath"].(string)
	server.Data.write(r.Values, "server")
}

const nodesPath = "v2/nodes"

// nodes reads whether EFT is its own cluster manager, and the licences of the node that answers.
func (r *reading) nodes(ctx context.Context) {
	var nodes struct{ Data []object }
	r.optional(ctx, nodesPath, &nodes)
	told := r.err != nil || slices.Contains(r.Absent, nodesPath)
	for _, n := range nodes.Data {
		in, says := n.Attributes["isInCluster"].(bool)
		r.HA, told = r.HA || in, told || says
		if started, ok := n.Attributes["isStarted"].(bool); ok && !started {
			continue
		}
		var licences struct{ Data []object }
		r.optional(ctx, nodesPath+"/"+url.PathEscape(n.ID)+"/licenses", &licences)
		for _, l := range licences.Data {
			for _, key := range []string{"registrationState", "registrationStatus"} {
				if state, ok := l.Attributes[key].(string); ok {
					r.Licences[l.ID] = state
				}
			}
		}
	}
	if !told { // no node says whether it is in a cluster
		r.Absent = append(r.Absent, nodesPath)
	}
}

func (r *reading) sites(ctx context.Context) map[string]string {
	var list struct{ Data []object }
	r.must(ctx, "v2/sites", &list)
	names := map[string]string{}
	for i, name := range paths(list.Data) {
		id := list.Data[i].ID
		var site struct{ Data object }
		r.must(ctx, "v2/sites/"+url.PathEscape(id), &site)
		names[id] = name
		site.Data.write(r.Values, "sites/"+name)
		r.Values["sites/"+name+"/id"] = id
	}
	return names
}

// other are second spellings: the vendor's reference has one in a heading and another one in the samples.
var other = strings.NewReplacer("server/admin-users", "admin-users", "/connection-profiles", "/connection-Profiles")

// withheld are the answers of a server that does not give this document, now or later.
var withheld = []refused{http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusGone}

// each at the end of a path means that the list carries little more than names, so that every document of it is read.
const each = "/{id}"

// collect reads one object, a list of them, or the documents of a list, below a path of ours.
func (r *reading) collect(ctx context.Context, path, under string) {
	if r.err != nil {
		return
	}
	path, documents := strings.CutSuffix(path, each)
	under = strings.TrimSuffix(under, each)
	var doc struct{ Data json.RawMessage }
	found := r.get(ctx, "v2/"+path, &doc)
	if second := other.Replace(path); r.err == nil && !found && second != path {
		path = second
		found = r.get(ctx, "v2/"+path, &doc)
	}
	// A module without a licence, or one that this account may not see, is no reason to read nothing.
	if status, ok := errors.AsType[refused](r.err); ok && slices.Contains(withheld, status) {
		r.Absent, r.err = append(r.Absent, fmt.Sprintf("%s (%s)", under, status)), nil
		return
	}
	if !found {
		if r.err == nil {
			r.Absent = append(r.Absent, under)
		}
		return
	}
	var list []object
	if json.Unmarshal(doc.Data, &list) != nil {
		var one object
		if err := json.Unmarshal(doc.Data, &one); err != nil {
			r.err = r.fail("read "+path, "see what the API answers", fmt.Errorf("%w: neither object nor list", ErrREST))
		}
		one.write(r.Values, under)
		return
	}
	for i, name := range paths(list) {
		o, at := list[i], under+"/"+name
		r.Values[at+"/id"] = o.ID
		o.write(r.Values, at)
		if !documents || o.ID == "" {
			continue
		}
		var whole struct{ Data object }
		if !r.get(ctx, "v2/"+path+"/"+url.PathEscape(o.ID), &whole) && r.err == nil {
			r.Absent = append(r.Absent, at)
		}
		whole.Data.write(r.Values, at)
	}
}

// status reads which sites run, whether their gateway is connected, and who is working.
func (r *reading) status(ctx context.Context) {
	var sites struct {
		Info []struct {
			Sites []struct {
				Name, State  string
				DMZConnected bool
				Activity     struct{ ConnectedUserCount, RunningEventRuleCount, RunningAWTaskCount *int }
			}
		}
	}
	r.optional(ctx, "v1/sites/status", &sites)
	var now Activity
	told := len(sites.Info) > 0
	count := func(of *int, counts ...*int) { // one that is not there is not zero
		for _, n := range counts {
			if n == nil {
				told = false
			} else {
				*of += *n
			}
		}
	}
	for _, node := range sites.Info {
		for _, site := range node.Sites {
			r.Values["sites/"+site.Name+"/state"] = site.State
			r.Values["sites/"+site.Name+"/dmz/connected"] = strconv.FormatBool(site.DMZConnected)
			count(&now.Users, site.Activity.ConnectedUserCount)
			count(&now.Rules, site.Activity.RunningEventRuleCount)
			count(&now.Tasks, site.Activity.RunningAWTaskCount)
		}
	}
	var server struct {
		Nodes []struct {
			Activity struct {
				ActiveClientUploadCount, ActiveClientDownloadCount, ActiveServerDownloadCount, ActiveServerUploadCount *int
			}
			Licenses []struct{ Module, RegistrationState string }
		}
	}
	r.optional(ctx, "v1/server/status", &server)
	told = told && len(server.Nodes) > 0
	for _, n := range server.Nodes {
		a := n.Activity
		count(&now.Transfers, a.ActiveClientUploadCount, a.ActiveClientDownloadCount, a.ActiveServerDownloadCount,
			a.ActiveServerUploadCount)
		for _, l := range n.Licenses {
			r.Licences[l.Module] = l.RegistrationState
		}
	}
	if told {
		r.Activity = &now
	}
}

// volatile are attributes that must change in an upgrade (by their whole name: minTlsVersion is a setting) or change by
// themselves; a count is one only with what it counts, because retryCount is a setting. eventRuleVersion is the format
// of a rule, which the server writes itself (seen in the vendor's samples). hidden are those whose texts may be secret.
var (
	versions = []string{"version", "softwareversion", "eventruleversion"}
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

// visibility says whether the texts of a document may be kept.
type visibility int

const shown, secret visibility = 0, 1

// redacted stands for a text that may be a secret; only its being there is compared.
const redacted = "[redacted]"

// flatten writes the scalars of a document under their paths. Below a name that may hold a secret, texts are hidden;
// switches, numbers and structure are policy there, as the expiry of passwords is, and are compared like all others.
func flatten(into map[string]string, path string, v any, see visibility) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			switch {
			case isVolatile(key):
			case holds(hidden, key):
				flatten(into, path+"/"+key, inner, secret)
			default:
				flatten(into, path+"/"+key, inner, see)
			}
		}
	case []any:
		names := elementNames(v)
		if see == secret {
			names = numbers(v) // a name may be the secret
		}
		for i, inner := range v {
			flatten(into, path+"/"+names[i], inner, see)
		}
	case nil:
	case float64:
		into[path] = strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		if see == secret && v != "" {
			v = redacted
		}
		into[path] = v
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
	return numbers(list)
}

func numbers(list []any) []string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = strconv.Itoa(i)
	}
	return names
}

func holds(words []string, key string) bool {
	key = strings.ToLower(key)
	return slices.ContainsFunc(words,
		func(w string) bool { return strings.HasPrefix(key, w) || strings.HasSuffix(key, w) })
}
