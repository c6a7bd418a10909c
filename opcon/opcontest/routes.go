package opcontest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// refuse answers an error in the shape the server is set to.
func (s *Server) refuse(w *recorder, status, code int, text string) {
	w.status = status
	var v any = []any{map[string]any{"resource": "api", "name": "", "code": code, "message": text, "ids": []any{}}}
	if s.ProblemErrors {
		v = map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": text,
			"instance": "/api"}
	}
	w.json(v)
}

// violation refuses something no client may do and remembers it.
func (s *Server) violation(w *recorder, status int, text string) {
	s.violations = append(s.violations, text)
	s.refuse(w, status, 1001, text)
}

func (w *recorder) json(v any) {
	w.header.Set("Content-Type", "application/json; charset=utf-8")
	enc := json.NewEncoder(&w.body)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // maps and strings always encode
}

func (s *Server) route(w *recorder, r *http.Request, body []byte) {
	p := strings.ToLower(r.URL.EscapedPath())
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "application/json" {
		s.violation(w, http.StatusUnsupportedMediaType, "POST without application/json")
		return
	}
	switch r.Method + " " + p {
	case "GET /api/version":
		w.json(map[string]any{"opConRestApiProductVersion": "21.2.0.0"})
		return
	case "POST /api/tokens":
		s.login(w, body)
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Token ")
	if !ok || !s.tokens[token] {
		s.refuse(w, http.StatusUnauthorized, 1000, "Invalid token specified")
		return
	}
	collection, id := p, ""
	for _, c := range []string{"/api/machines", "/api/dailyjobs", "/api/machineactions", "/api/scheduleactions",
		"/api/jobactions"} {
		if strings.HasPrefix(p, c+"/") {
			collection, id = c, r.URL.EscapedPath()[len(c)+1:]
		}
	}
	q := r.URL.Query()
	switch key := r.Method + " " + collection; {
	case key == "GET /api/tokens":
		w.json(map[string]any{"user": map[string]any{"loginName": s.User}})
	case key == "DELETE /api/tokens":
		delete(s.tokens, token)
		w.status = http.StatusNoContent
	case key == "GET /api/servicestatus":
		w.json(map[string]any{"timeStamp": s.stamp(s.now), "running": !s.SAMDown})
	case key == "GET /api/machines" && id == "":
		s.listMachines(w, q)
	case key == "PUT /api/machines" && id != "":
		s.putMachine(w, id, body)
	case key == "GET /api/machinegroups":
		s.listGroups(w, q)
	case key == "GET /api/dailyschedules/dates":
		s.listDates(w)
	case key == "GET /api/dailyschedules":
		s.listSchedules(w, q)
	case key == "GET /api/dailyjobs" && id == "":
		s.listJobs(w, q)
	case key == "GET /api/dailyjobs":
		s.oneJob(w, id)
	case r.Method == http.MethodPost && strings.HasSuffix(collection, "actions") && id == "":
		s.postAction(w, collection, body)
	case r.Method == http.MethodGet && strings.HasSuffix(collection, "actions") && id != "":
		s.getAction(w, collection, id)
	default:
		s.violation(w, http.StatusNotFound, "unknown route "+r.Method+" "+r.URL.EscapedPath())
	}
}

func (s *Server) login(w *recorder, body []byte) {
	var in struct {
		User struct {
			LoginName string `json:"loginName"`
			Password  string `json:"password"`
		} `json:"user"`
		TokenType struct {
			ID   string `json:"id"`
			Type string `json:"type"`
		} `json:"tokenType"`
	}
	if !strict(body, &in) || (in.TokenType.Type != "User" && in.TokenType.Type != "Application") {
		s.violation(w, http.StatusBadRequest, "malformed login")
		return
	}
	if in.User.LoginName != s.User || in.User.Password != s.Password {
		s.refuse(w, http.StatusUnauthorized, 2000, "Invalid user or password")
		return
	}
	s.logins++
	token := fmt.Sprintf("token-%d", s.logins)
	until := any(s.stamp(s.now.Add(20 * time.Minute)))
	if in.TokenType.Type == "Application" {
		token, until = or(s.appTokens[in.TokenType.ID], token), nil
		s.appTokens[in.TokenType.ID] = token
	}
	s.tokens[token] = true
	w.json(map[string]any{"id": token, "user": map[string]any{"id": 17, "loginName": in.User.LoginName},
		"tokenType": in.TokenType,
		"validFrom": s.stamp(s.now), "validUntil": until, "passwordExpired": false})
}

// strict decodes and refuses fields it does not know.
func strict(body []byte, into any) bool {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	return dec.Decode(into) == nil && !dec.More()
}

// known refuses query parameters the server does not have.
func (s *Server) known(w *recorder, q url.Values, names ...string) bool {
	for k := range q {
		if !slices.ContainsFunc(append(names, "offset", "limit", "includeCount", "sortBy"),
			func(n string) bool { return strings.EqualFold(n, k) }) {
			s.violation(w, http.StatusBadRequest, "unknown query parameter "+k)
			return false
		}
	}
	return true
}

// page sends one page of rows.
func (s *Server) page(w *recorder, q url.Values, rows []json.RawMessage) {
	if !s.NoCount && q.Get("includeCount") == "true" {
		w.header["TotalResourceCount"] = []string{strconv.Itoa(len(rows))}
	}
	if !s.IgnorePaging {
		offset, _ := strconv.Atoi(q.Get("offset"))
		limit, err := strconv.Atoi(q.Get("limit"))
		if s.RefuseAbove > 0 && limit > s.RefuseAbove {
			s.refuse(w, http.StatusBadRequest, 1004, "limit is too large")
			return
		}
		if err != nil {
			limit = 100
		}
		if s.MaxPage > 0 {
			limit = min(limit, s.MaxPage)
		}
		rows = rows[min(offset, len(rows)):]
		rows = rows[:min(limit, len(rows))]
	}
	if rows == nil {
		rows = []json.RawMessage{}
	}
	w.header.Set("Content-Type", "application/json; charset=utf-8")
	w.body.WriteByte('[')
	for i, row := range rows {
		if i > 0 {
			w.body.WriteString(", ")
		}
		w.body.Write(row)
	}
	w.body.WriteByte(']')
}

func encode(v any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // maps and strings always encode
	return bytes.TrimSpace(b.Bytes())
}

// list reads a comma list; absent means everything.
func list(q url.Values, name string) func(string) bool {
	if !q.Has(name) {
		return func(string) bool { return true }
	}
	values := strings.Split(q.Get(name), ",")
	return func(v string) bool { return slices.Contains(values, v) }
}

func (s *Server) listMachines(w *recorder, q url.Values) {
	if !s.known(w, q, "name", "ids", "extendedProperties") {
		return
	}
	ids := list(q, "ids")
	var rows []json.RawMessage
	for _, m := range s.machines {
		if !ids(strconv.Itoa(m.id)) {
			continue
		}
		if q.Has("name") {
			if ok, err := path.Match(strings.ToLower(q.Get("name")), strings.ToLower(m.Name)); !ok || err != nil {
				continue
			}
		}
		rows = append(rows, s.machineRecord(m, q.Get("extendedProperties") == "true"))
	}
	s.page(w, q, rows)
}

func (s *Server) listGroups(w *recorder, q url.Values) {
	if !s.known(w, q, "includeMachines", "name") {
		return
	}
	var rows []json.RawMessage
	for _, g := range s.groups {
		members := []any{}
		for _, m := range g.members {
			members = append(members, map[string]any{"id": m.id, "name": m.Name})
		}
		row := map[string]any{"id": g.id, "name": g.name, "type": map[string]any{"id": 6, "description": "UNIX"}}
		if q.Get("includeMachines") == "true" {
			row["machines"] = members
		}
		rows = append(rows, encode(row))
	}
	s.page(w, q, rows)
}

func (s *Server) listDates(w *recorder) {
	var dates []string
	for _, x := range s.schedules {
		if !slices.Contains(dates, x.Date) {
			dates = append(dates, x.Date)
		}
	}
	slices.Sort(dates)
	out := []any{}
	for _, d := range dates {
		if s.DateObjects {
			out = append(out, map[string]any{"date": d + "T00:00:00"})
			continue
		}
		out = append(out, d)
	}
	w.json(out)
}

func (s *Server) listSchedules(w *recorder, q url.Values) {
	if !s.known(w, q, "ids", "dates", "name") {
		return
	}
	if !q.Has("ids") && !q.Has("dates") {
		s.violation(w, http.StatusBadRequest, "daily schedules without dates or ids")
		return
	}
	if strings.Count(q.Get("ids"), ",") >= 25 {
		s.violation(w, http.StatusBadRequest, "more than 25 ids in a request")
		return
	}
	ids, dates := list(q, "ids"), list(q, "dates")
	var rows []json.RawMessage
	for _, x := range s.schedules {
		if ids(x.id) && dates(x.Date) {
			rows = append(rows, s.scheduleRecord(x))
		}
	}
	s.page(w, q, rows)
}

// actionItems is the name of the list of items of each collection.
var actionItems = map[string]string{"/api/machineactions": "machines", "/api/scheduleactions": "scheduleActionItems",
	"/api/jobactions": "jobs"}

var verbs = map[string][]string{
	"/api/machineactions":  {"up", "limited", "down"},
	"/api/scheduleactions": {"hold", "release"},
	"/api/jobactions": {"restart", "restartOnHold", "forceRestart", "markFailed", "markFinishedOk", "hold",
		"cancel"},
}

func (s *Server) postAction(w *recorder, collection string, body []byte) {
	var in struct {
		Action              string            `json:"action"`
		Reason              string            `json:"reason"`
		Machines            []json.RawMessage `json:"machines"`
		ScheduleActionItems []json.RawMessage `json:"scheduleActionItems"`
		Jobs                []json.RawMessage `json:"jobs"`
	}
	if !strict(body, &in) {
		s.violation(w, http.StatusBadRequest, "malformed action: "+string(body))
		return
	}
	items := map[string][]json.RawMessage{"machines": in.Machines, "scheduleActionItems": in.ScheduleActionItems,
		"jobs": in.Jobs}[actionItems[collection]]
	switch {
	case !slices.Contains(verbs[collection], in.Action):
		s.violation(w, http.StatusBadRequest, fmt.Sprintf("action %q is not for use around a FAILOVER", in.Action))
		return
	case len(items) == 0 || len(items) > 25 || len(in.Machines)+len(in.ScheduleActionItems)+len(in.Jobs) != len(items):
		s.violation(w, http.StatusBadRequest, fmt.Sprintf("an action with %d items", len(items)))
		return
	case in.Reason == "" && collection != "/api/machineactions":
		s.violation(w, http.StatusBadRequest, "an action without a reason")
		return
	}
	s.nextAction.id++
	a := &action{id: s.nextAction.id, path: collection, verb: in.Action, reason: in.Reason, left: s.Polls}
	if f := s.nextAction.fault; f != nil {
		s.nextAction.fault = nil
		a.gone, a.forever = f.Kind == InjectionLoseRecord, f.Kind == InjectionNeverEnds || f.Kind == InjectionOtherWordNever
		if f.Kind == InjectionOtherWord || f.Kind == InjectionOtherWordNever {
			a.word, a.left = &f.Body, 3
		}
	}
	for _, raw := range items {
		var it struct {
			ID      json.RawMessage `json:"id"`
			Step    *string         `json:"step"`
			Rebuild bool            `json:"rebuildOnRestartIfContainer"`
		}
		if !strict(raw, &it) {
			s.violation(w, http.StatusBadRequest, "malformed item: "+string(raw))
			return
		}
		var id string
		if json.Unmarshal(it.ID, &id) != nil {
			id = string(it.ID)
		}
		a.items = append(a.items, &actionItem{id: id, result: "submitted"})
	}
	s.actions = append(s.actions, a)
	w.json(s.actionRecord(a))
}

func (s *Server) getAction(w *recorder, collection, id string) {
	for _, a := range s.actions {
		if a.path != collection || strconv.Itoa(a.id) != id {
			continue
		}
		if a.gone && a.over {
			break
		}
		w.json(s.actionRecord(a))
		return
	}
	s.refuse(w, http.StatusNotFound, 1002, "action not found")
}

func (s *Server) putMachine(w *recorder, id string, body []byte) {
	i := slices.IndexFunc(s.machines, func(m *Machine) bool { return strconv.Itoa(m.id) == id })
	if i < 0 {
		s.refuse(w, http.StatusNotFound, 1002, "machine not found")
		return
	}
	m := s.machines[i]
	if m.Asked != "D" {
		s.violation(w, http.StatusBadRequest, "a machine record is edited while the machine is not down")
		return
	}
	var old, now map[string]json.RawMessage
	if m.served == nil || json.Unmarshal(m.served, &old) != nil || json.Unmarshal(body, &now) != nil {
		s.violation(w, http.StatusBadRequest, "a machine record is sent that was never read whole")
		return
	}
	if string(now["type"]) == "null" || now["type"] == nil {
		s.violation(w, http.StatusBadRequest, "a machine record without its type")
		return
	}
	for k, v := range old {
		if k != "tcpIpAddress" && k != "fullyQualifiedDomainName" && !bytes.Equal(v, now[k]) {
			s.violation(w, http.StatusBadRequest, fmt.Sprintf("the field %s was sent back as %s and had been %s", k,
				now[k], v))
			return
		}
	}
	if len(now) != len(old) {
		s.violation(w, http.StatusBadRequest, "a machine record is sent back with other fields than it had")
		return
	}
	var ip, fqdn string
	if json.Unmarshal(now["tcpIpAddress"], &ip) != nil ||
		json.Unmarshal(now["fullyQualifiedDomainName"], &fqdn) != nil || ip == "" || fqdn == "" ||
		(ip != unset && fqdn != unset) {
		s.violation(w, http.StatusBadRequest, "of the two addresses the one not used must be "+unset)
		return
	}
	m.IP, m.FQDN = ip, fqdn
	s.happened("address", m.Name, m.Address())
	w.header.Set("Content-Type", "application/json")
	w.body.Write(s.machineRecord(m, true))
}
