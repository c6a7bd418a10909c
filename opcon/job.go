package opcon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/01b61c5c/failover/internal/enum"
)

// JobCategory is the group a job's status belongs to. The words on the wire are the API's (seen in client code).
type JobCategory int

// The categories. JobUnknown is any word this package does not know.
const (
	JobUnknown JobCategory = iota
	JobHeld
	JobWaiting
	JobRunning
	JobFinishedOK
	JobFailed
	JobMissedStart
	JobCancelled
	JobSkipped
	JobUnderReview
	JobFixed
)

var jobWords = []string{JobUnknown: "unknown", JobHeld: "held", JobWaiting: "waiting", JobRunning: "running",
	JobFinishedOK: "finished ok", JobFailed: "failed", JobMissedStart: "missed start time", JobCancelled: "cancelled",
	JobSkipped: "skipped", JobUnderReview: "under review", JobFixed: "fixed"}

// String returns the category in words.
func (j JobCategory) String() string { return enum.Name(jobWords, j) }

// MarshalText writes the category in words.
func (j JobCategory) MarshalText() ([]byte, error) { return []byte(j.String()), nil }

// UnmarshalText reads the category in words, ignoring case and blanks; others are JobUnknown.
func (j *JobCategory) UnmarshalText(text []byte) error {
	return placeOf(jobWords, text, j, func(a, b string) bool { return plain(a) == plain(b) })
}

// JobID is the server's id of a daily job. It is opaque: reuse it, never build it.
type JobID string

// Job is one daily job.
type Job struct {
	ID          JobID       `json:"id"`                     // the server's
	Name        string      `json:"name"`                   // may hold blanks, slashes and commas
	Schedule    ScheduleID  `json:"schedule"`               // the daily schedule it belongs to
	ScheduleRef string      `json:"scheduleName,omitempty"` // that schedule's name
	Date        Date        `json:"date"`                   // of that schedule
	TypeID      int64       `json:"type"`                   // 6 is UNIX, 15 a container (seen in client code)
	Category    JobCategory `json:"category"`               // decides what may be done with it
	Description string      `json:"description,omitempty"`  // the server's own words for the status
	// Number: number of the last start; changes with every start (inferred)
	Number      int64    `json:"number,omitempty"`
	Started     string   `json:"started,omitempty"`     // computed start as the server wrote it
	Termination string   `json:"termination,omitempty"` // UNIX: exit code, signal and core flag
	StartedOn   string   `json:"startedOn,omitempty"`   // machine it was really sent to; empty before its start
	Primary     string   `json:"primary,omitempty"`     // empty with a machine group
	Alternates  []string `json:"alternates,omitempty"`  // machines tried in turn when the primary one is down
	Group       string   `json:"group,omitempty"`       // machine group
	Steps       []string `json:"steps,omitempty"`       // restart steps the server offers
}

// String returns date, schedule and job.
func (j Job) String() string {
	return strings.TrimSpace(string(j.Date) + " " + j.ScheduleRef + " / " + j.Name)
}

// JustSent reports whether the job was sent to the agent and no start was reported: it may or may not have begun. It
// is the worst case of the vendor's text. Decided by description (documented words).
func (j Job) JustSent() bool {
	return j.Category == JobRunning &&
		slices.Contains([]string{"attempttostart", "startattempted", "stillattemptingstart"}, plain(j.Description))
}

// prerunFailed reports a job whose preparation failed; OpCon counts it as waiting (documented words).
func (j Job) prerunFailed() bool { return plain(j.Description) == "prerunfailed" }

// mayRunOn reports whether the job runs on m or may: it was sent there, or is about to be sent and m is its primary
// machine or one of its group. A category that is not known counts as running.
func (j Job) mayRunOn(m Machine, groups map[string]bool) bool {
	switch {
	case j.Category != JobRunning && j.Category != JobUnknown:
		return false
	case j.StartedOn != "":
		return sameName(j.StartedOn, m.Name)
	}
	return sameName(j.Primary, m.Name) || (j.Primary == "" && j.inGroup(groups))
}

// inGroup reports whether the job goes to one of the groups, which are in lower case.
func (j Job) inGroup(groups map[string]bool) bool {
	return groups[strings.ToLower(strings.TrimSpace(j.Group))]
}

// words returns the category and the server's own words for it.
func (j Job) words() string {
	if j.Description == "" {
		return j.Category.String()
	}
	return j.Category.String() + " (" + j.Description + ")"
}

// processingEvents reports whether a final status is still being worked on; no restart is taken meanwhile (documented).
func (j Job) processingEvents() bool {
	return strings.Contains(plain(j.Description), "processingevents")
}

// readJob reads a row. A row without an id, or with a number that cannot be read, is an error.
func readJob(raw json.RawMessage) (Job, error) {
	o := readObject(raw)
	var bad error
	schedule, status, start := o.object("schedule"), o.object("status", "jobStatus"), o.object("computedStartTime")
	j := Job{
		ID: JobID(o.text("id")), Name: o.text("name", "jobName"),
		Schedule: ScheduleID(schedule.text("id")), ScheduleRef: schedule.text("name"),
		TypeID:      o.object("jobType", "type").number(&bad, "id"),
		Description: status.text("description"), Number: o.number(&bad, "jobNumber"),
		Started: start.text("time"), Termination: o.text("terminationDescription"),
		StartedOn: machineName(o.get("startMachine")), Primary: machineName(o.get("primaryMachine", "machine")),
		Group: machineName(o.get("machineGroup")),
	}
	_ = j.Category.UnmarshalText([]byte(status.text("category")))
	j.Date = schedule.date(&bad, "date")
	for _, key := range []string{"alternateMachine", "alternateMachine2", "alternateMachine3"} {
		if name := machineName(o.get(key)); name != "" {
			j.Alternates = append(j.Alternates, name)
		}
	}
	for _, s := range o.rows(&bad, "steps") {
		text := rawText(s)
		if o := readObject(s); o != nil {
			text = o.text("name", "step", "id")
		}
		if text != "" {
			j.Steps = append(j.Steps, text)
		}
	}
	if bad == nil && j.ID == "" {
		bad = errors.New("a daily job has no id: " + shorten(string(raw), 120))
	}
	return j, bad
}

// machineName reads a machine reference, an object or a bare name.
func machineName(raw json.RawMessage) string {
	if o := readObject(raw); o != nil {
		return o.text("name")
	}
	return rawText(raw)
}

// runsOn reports whether the job has run on, runs on or may be started on m: its start machine, primary machine, an
// alternate, or its group. What the server's own machine filter matches is not documented, so this decides.
func (j Job) runsOn(m Machine, groups map[string]bool) bool {
	return slices.ContainsFunc(append([]string{j.StartedOn, j.Primary}, j.Alternates...),
		func(name string) bool { return sameName(name, m.Name) }) || j.inGroup(groups)
}

// Jobs returns every daily job of one date. It asks without a machine filter, since what that filter matches is not
// documented, and leaves the choice to the caller. Changes nothing. Errors: ErrAuth, ErrForbidden, ErrUnavailable;
// NotApplied always.
func (c *Client) Jobs(ctx context.Context, date Date) ([]Job, error) {
	jobs, err := rowsBy(ctx, c, dailyJobs, "dates", []Date{date}, nil)
	return slices.DeleteFunc(jobs, func(j Job) bool { return j.Date != date && j.Date != "" }), err
}

// addJobs reads the named jobs that are not among those found; what is not shown is left out. A job name may hold a
// comma, which a list of ids cannot, so such jobs are asked for one by one.
func (c *Client) addJobs(ctx context.Context, found map[JobID]Job, ids []JobID) error {
	var easy []JobID
	for _, id := range ids {
		if _, ok := found[id]; ok {
			continue
		}
		if !strings.Contains(string(id), ",") {
			easy = append(easy, id)
			continue
		}
		j, err := c.Job(ctx, id)
		switch {
		case err == nil:
			found[id] = j
		case !errors.Is(err, ErrNotFound):
			return err
		}
	}
	jobs, err := rowsBy(ctx, c, dailyJobs, "ids", easy, nil)
	for _, j := range jobs {
		found[j.ID] = j
	}
	return err
}

// Job reads one job by id. Changes nothing. Errors: ErrNotFound.
func (c *Client) Job(ctx context.Context, id JobID) (Job, error) {
	const op = "read daily job"
	rep, err := c.do(ctx, call{op: op, target: string(id), method: http.MethodGet,
		path: "/api/dailyjobs/" + segment(string(id))})
	if err != nil {
		return Job{}, err
	}
	j, err := readJob(rep.body)
	switch {
	case err != nil:
		return Job{}, unreadable(op, string(id), err)
	case j.ID != id:
		return Job{}, unchanged(op, string(id), "check the id", ErrNotFound)
	}
	return j, nil
}
