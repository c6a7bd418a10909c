package opcontest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// machineRecord renders a machine. The whole record holds fields no client knows, numbers and escapes in forms a
// decoder would change, and blanks, so that a client that does not send it back byte for byte is found out.
func (s *Server) machineRecord(m *Machine, whole bool) json.RawMessage {
	running := m.StuckJobs
	for _, j := range s.jobs {
		if j.Status.running() && j.StartedOn == m.Name {
			running++
		}
	}
	status, version := "status", "version"
	if s.SchemaNames {
		status, version = "state", "agentVersion"
	}
	text := fmt.Sprintf(`{"id":%d,"name":%s,"type":{"id":%d,"description":"UNIX"},"%s":"21.10.0000","osType":"AIX","socket":3100,`+
		`"lastUpdate":"%s","maximumJobs":50,"currentJobs":%d,"%s":{"state":"%s","networkStatus":"%s","operationStatus":"%s"},`+
		`"useTLSforSchedulingCommunications":%t,"groups":%s,"supportedAgentCapability":[]`,
		m.id, encode(m.Name), m.TypeID, version, s.stamp(s.now), running, status, m.State, m.State, m.Asked, m.TLS,
		s.ownGroups(m))
	if whole {
		text += fmt.Sprintf(`,"tcpIpAddress":%s,"fullyQualifiedDomainName":%s,"allowKillJob":%t,"agentSpecialFeatures":"RSJ (1.30.0012), other",`+
			`"timeOffsetfromUTC": -5.00, "siteNote":"caf\u00e9 \u003cold\u003e <new> &", "bigNumber":12345678901234567890.10,`+
			`"availableProperties":[ ["KEY","value"], [ ] ],"lsamTime":null,"documentation":"line\r\n\ttab"`,
			encode(m.IP), encode(m.FQDN), m.Kill)
		if !s.NoHostname {
			text += `,"hostname":` + string(encode(m.told))
		}
	}
	if m.Uncounted {
		text = strings.Replace(text, fmt.Sprintf(`,"currentJobs":%d`, running), "", 1)
	}
	raw := json.RawMessage(text + "}")
	if whole {
		m.served = raw
	}
	return raw
}

func (s *Server) ownGroups(m *Machine) json.RawMessage {
	list := []any{}
	for _, g := range s.groups {
		for _, member := range g.members {
			if member == m {
				list = append(list, map[string]any{"id": g.id, "name": g.name})
			}
		}
	}
	return encode(list)
}

var scheduleStatus = []map[string]any{
	ScheduleWaitToStart:   {"id": 10, "description": "Wait to Start", "category": "Waiting"},
	ScheduleWaitContainer: {"id": 11, "description": "Wait Container Job", "category": "Waiting"},
	ScheduleOnHold:        {"id": 14, "description": "On Hold", "category": "Held"},
	ScheduleParentHold:    {"id": 15, "description": "Parent Hold", "category": "Held"},
	ScheduleInProcess:     {"id": 30, "description": "In Process", "category": "Running"},
	ScheduleCompleted:     {"id": 90, "description": "Completed", "category": "Finished Ok"},
}

func (s *Server) scheduleRecord(x *Schedule) json.RawMessage {
	status := scheduleStatus[x.Status]
	if x.Says != nil {
		status = map[string]any{"id": 77, "description": x.Says.Description, "category": x.Says.Category}
	}
	row := map[string]any{"id": x.id, "date": x.Date, "masterId": x.master, "instance": 1, "name": x.Name,
		"path":   x.Name,
		"status": status, "containerJobId": nil}
	if x.Container != nil && !s.NoContainerID {
		row["containerJobId"] = x.Container.id
	}
	return encode(row)
}

func (s *Server) ref(name string) any {
	if m := s.machine(name); m != nil {
		return map[string]any{"id": m.id, "name": m.Name}
	}
	return nil
}

func (s *Server) jobRecord(j *Job) json.RawMessage {
	st := jobStatus[j.Status]
	kind := map[string]any{"id": 6, "description": "UNIX"}
	if j.Container {
		kind = map[string]any{"id": 15, "description": "Container"}
	}
	status := map[string]any{"id": st.id, "startStatus": st.start, "description": st.description,
		"category": st.category, "changeReason": nil}
	if j.Says != nil {
		status = map[string]any{"id": 777, "startStatus": 0, "description": j.Says.Description,
			"category": j.Says.Category, "changeReason": nil}
	}
	steps := []any{}
	for _, name := range j.Steps {
		steps = append(steps, name)
	}
	row := map[string]any{"id": j.id, "schedule": map[string]any{"id": j.Schedule.id, "name": j.Schedule.Name,
		"date": j.Schedule.Date + "T00:00:00"},
		"startMachine": s.ref(j.StartedOn), "alternateMachine": nil, "alternateMachine2": nil, "alternateMachine3": nil,
		"machineGroup": nil,
		"computedStartTime": map[string]any{"time": s.stamp(or(j.Due, s.now)),
			"isEstimated": j.number == 0}, "jobNumber": j.number, "steps": steps,
		"terminationDescription": j.termination()}
	if j.Group != "" {
		row["machineGroup"] = map[string]any{"id": 4, "name": j.Group}
	}
	for i, key := range []string{"alternateMachine", "alternateMachine2", "alternateMachine3"} {
		if i < len(j.Alternates) {
			row[key] = s.ref(j.Alternates[i])
		}
	}
	names := []string{"name", "status", "jobType", "primaryMachine"}
	if s.SchemaNames {
		names = []string{"jobName", "jobStatus", "type", "machine"}
	}
	row[names[0]], row[names[1]], row[names[2]], row[names[3]] = j.Name, status, kind, s.ref(j.Primary)
	return encode(row)
}

// termination is the agent's word on a job it has no trace of (documented code).
func (j *Job) termination() string {
	if j.Status == JobFailed || j.Status == jobFailedProcessing {
		return "000010007"
	}
	return ""
}

func (s *Server) actionRecord(a *action) any {
	items, worst := []any{}, "success"
	for _, it := range a.items {
		row := map[string]any{"result": it.result, "message": nil, "id": it.id}
		if a.path == "/api/machineactions" {
			row["id"] = json.RawMessage(it.id)
		}
		if it.message != "" {
			row["message"] = it.message
		}
		if it.result == "failed" {
			worst = "failed"
		}
		items = append(items, row)
	}
	if !a.over {
		worst = "submitted"
	}
	record := map[string]any{"id": a.id, "action": a.verb, "result": worst, "message": nil, "expires": s.stamp(s.now),
		"reason":            a.reason,
		actionItems[a.path]: items}
	if a.word != nil {
		for _, row := range append(items, any(record)) {
			row := row.(map[string]any)
			if row["result"] = *a.word; *a.word == "" {
				delete(row, "result")
			}
		}
	}
	return record
}
