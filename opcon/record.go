package opcon

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// Record is what a quiesce found and did. It is written before each change that makes it necessary and read by Resume,
// by Interrupted and by every undo, possibly in another process days later. It holds no secret.
type Record struct {
	Machine   Machine    `json:"machine"`             // as it was before anything was changed, with its address
	TakenAt   string     `json:"takenAt"`             // server time of the snapshot, RFC 3339
	Reason    string     `json:"reason"`              // sent with every action
	Schedules []Schedule `json:"schedules,omitempty"` // root schedules of the machine as they were
	// Running: jobs seen running on the machine at any time before it went down
	Running []Job          `json:"running,omitempty"`
	Before  []jobMark      `json:"before,omitempty"`  // jobs that had failed or were on another machine already
	Held    []HeldSchedule `json:"held,omitempty"`    // what this run held, and only that
	DownAt  string         `json:"downAt,omitempty"`  // server time when the machine was seen to be taken down
	MovedTo *Address       `json:"movedTo,omitempty"` // address written into the machine record
	Decided []Decided      `json:"decided,omitempty"` // decisions on interrupted jobs and how far they came
}

// jobMark names one run of a job.
type jobMark struct {
	ID        JobID       `json:"id"`                  // the server's
	Number    int64       `json:"number"`              // of its start
	Category  JobCategory `json:"category"`            // then
	StartedOn string      `json:"startedOn,omitempty"` // machine it was sent to
}

// HeldSchedule is one schedule a quiesce held or was about to hold.
type HeldSchedule struct {
	ID   ScheduleID    `json:"id"`   // the server's
	Name string        `json:"name"` // as OpCon shows it
	Date Date          `json:"date"` // it was built for
	Was  ScheduleState `json:"was"`  // before the hold
	Step string        `json:"step"` // step that held it, so that its undo frees that much
	// NotApplied: the hold provably failed and the schedule is not ours to release
	Outcome  failover.Outcome `json:"outcome"`
	Released bool             `json:"released,omitempty"` // a release was sent
	Free     bool             `json:"free,omitempty"`     // it was seen free after that
}

// String returns date and name.
func (h HeldSchedule) String() string { return string(h.Date) + " " + h.Name }

// Ours reports whether this run's hold counts, so that its release is ours too.
func (h HeldSchedule) Ours() bool { return h.Outcome != failover.NotApplied }

// RecordFact is where the steps keep the record of one machine in the journal.
func RecordFact(machine string) failover.Fact[Record] {
	return failover.Fact[Record]{Name: "opcon/record/" + strings.ToUpper(strings.TrimSpace(machine))}
}

// store keeps the record in the journal.
type store struct {
	fact    failover.Fact[Record]
	initial *Record                             // where the journal has none; nil: none
	hand    func(context.Context, Record) error // takes each version before it is written; nil: nobody
}

func (s store) load(ctx context.Context) (Record, bool, error) {
	r, ok, err := s.fact.Load(ctx)
	if err == nil && !ok && s.initial != nil {
		return s.initial.clone(), true, nil
	}
	return r, ok, err
}

func (s store) save(ctx context.Context, r Record) error {
	if s.hand != nil {
		if err := s.hand(ctx, r); err != nil {
			return err
		}
	}
	return s.fact.Save(ctx, r)
}

// clone copies the lists that steps write to.
func (r Record) clone() Record {
	r.Held, r.Running, r.Decided = slices.Clone(r.Held), slices.Clone(r.Running), slices.Clone(r.Decided)
	return r
}

// plan puts schedules about to be held into the record, in doubt until the server's state has been read. It returns
// those that no earlier hold of this run may be in effect for: only of them can a refusal say that they are not ours.
func (r *Record) plan(list []Schedule, step string) map[ScheduleID]bool {
	fresh := map[ScheduleID]bool{}
	for _, s := range list {
		i := slices.IndexFunc(r.Held, func(h HeldSchedule) bool { return h.ID == s.ID })
		if i < 0 {
			fresh[s.ID] = true
			r.Held = append(r.Held, HeldSchedule{ID: s.ID, Name: s.Name, Date: s.Date, Was: s.State, Step: step})
			continue
		}
		fresh[s.ID] = !r.Held[i].Ours() || r.Held[i].Released
		r.Held[i].Outcome, r.Held[i].Released, r.Held[i].Free = failover.InDoubt, false, false
	}
	slices.SortFunc(r.Held, func(a, b HeldSchedule) int {
		return cmp.Or(cmp.Compare(a.Date, b.Date), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return fresh
}

// withoutReleased leaves out what this run has released already: a Resume that is called again does not hold it anew.
func (r Record) withoutReleased(list []Schedule) []Schedule {
	return slices.DeleteFunc(list, func(s Schedule) bool {
		return slices.ContainsFunc(r.Held, func(h HeldSchedule) bool { return h.ID == s.ID && h.Released })
	})
}

// addRunning merges jobs seen running; a later sight of the same job replaces the earlier one.
func (r *Record) addRunning(jobs []Job) {
	for _, j := range jobs {
		if i := slices.IndexFunc(r.Running, func(k Job) bool { return k.ID == j.ID }); i >= 0 {
			r.Running[i] = j
		} else {
			r.Running = append(r.Running, j)
		}
	}
}

// snapshot reads everything a record starts with.
func (c *Client) snapshot(ctx context.Context, m Machine, reason string, extra []Date) (Record, error) {
	sc, err := c.scopeOf(ctx, m, extra, time.Minute) // nothing was changed since the check that read them
	if err != nil {
		return Record{}, err
	}
	r := Record{Machine: m, Reason: reason, TakenAt: c.stamp(),
		Schedules: convert(sc.roots, func(id ScheduleID) Schedule { return sc.schedules[id] })}
	for _, j := range sc.jobs {
		switch {
		case j.mayRunOn(m, sc.groups):
			r.Running = append(r.Running, j)
		case j.inTrouble(), j.StartedOn != "" && !sameName(j.StartedOn, m.Name):
			r.Before = append(r.Before, jobMark{ID: j.ID, Number: j.Number, Category: j.Category, StartedOn: j.StartedOn})
		}
	}
	return r, nil
}
