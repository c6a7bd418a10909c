package opcontest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// jobFilters are the parameters that name a machine, and what they match here. What the real ones match is documented
// nowhere, so Config.MachineFilter changes the first one.
var jobFilters = map[string]func(j *Job, name string) bool{
	"machine":           func(j *Job, name string) bool { return strings.EqualFold(j.Primary, name) },
	"startMachine":      func(j *Job, name string) bool { return strings.EqualFold(j.StartedOn, name) },
	"primaryMachine":    func(j *Job, name string) bool { return strings.EqualFold(j.Primary, name) },
	"alternateMachine":  func(j *Job, name string) bool { return j.alternate(0, name) },
	"alternateMachine2": func(j *Job, name string) bool { return j.alternate(1, name) },
	"alternateMachine3": func(j *Job, name string) bool { return j.alternate(2, name) },
}

func (j *Job) alternate(n int, name string) bool {
	return n < len(j.Alternates) && strings.EqualFold(j.Alternates[n], name)
}

func (j *Job) tied(name string) bool {
	for _, match := range jobFilters {
		if match(j, name) {
			return true
		}
	}
	return false
}

func (s *Server) listJobs(w *recorder, q url.Values) {
	names := []string{"ids", "dates", "categories", "scheduleIds"}
	if s.MachineFilter != FilterRefused {
		names = slices.AppendSeq(names, maps.Keys(jobFilters))
	} else if slices.ContainsFunc(slices.Collect(maps.Keys(jobFilters)), q.Has) {
		s.refuse(w, http.StatusBadRequest, 1003, "unknown parameter")
		return
	}
	if !s.known(w, q, names...) {
		return
	}
	if !q.Has("ids") && !q.Has("dates") && !q.Has("scheduleIds") {
		s.violation(w, http.StatusBadRequest, "daily jobs without dates or ids")
		return
	}
	if strings.Count(q.Get("ids"), ",") >= 25 || strings.Count(q.Get("scheduleIds"), ",") >= 25 {
		s.violation(w, http.StatusBadRequest, "more than 25 ids in a request")
		return
	}
	ids, dates, categories, schedules := list(q, "ids"), list(q, "dates"), list(q, "categories"), list(q, "scheduleIds")
	if s.IgnoreFilters {
		categories = func(string) bool { return true }
	}
	machine := func(j *Job) bool {
		for name, match := range jobFilters {
			if !q.Has(name) || s.IgnoreFilters || s.MachineFilter == FilterIgnored {
				continue
			}
			if name == "machine" && s.MachineFilter == FilterAny {
				match = (*Job).tied
			}
			if !match(j, q.Get(name)) {
				return false
			}
		}
		return true
	}
	var rows []json.RawMessage
	for _, j := range s.jobs {
		category := jobStatus[j.Status].category
		if j.Says != nil {
			category = j.Says.Category
		}
		if ids(j.id) && dates(j.Schedule.Date) && categories(category) && schedules(j.Schedule.id) && machine(j) {
			rows = append(rows, s.jobRecord(j))
		}
	}
	s.page(w, q, rows)
}

func (s *Server) oneJob(w *recorder, escaped string) {
	// The first level of escaping is gone when the real server splits the path, hence the second one for slashes.
	id, err := url.PathUnescape(escaped)
	if err != nil || strings.Contains(id, "/") {
		s.violation(w, http.StatusNotFound, "unknown route "+escaped)
		return
	}
	id = strings.ReplaceAll(id, "%2F", "/")
	for _, j := range s.jobs {
		if j.id == id {
			w.header.Set("Content-Type", "application/json")
			w.body.Write(s.jobRecord(j))
			return
		}
	}
	s.refuse(w, http.StatusNotFound, 1002, "daily job not found")
}
