package failover

import (
	"encoding/json"
	"slices"
	"time"
)

// Report tells what happened, over all runs of one journal. It is made from the journal alone, so it can be made
// again at any time, and says the same.
type Report struct {
	Procedure  string      `json:"procedure"`            // its name
	Definition string      `json:"definition"`           // its definition hash
	Parameters []Parameter `json:"parameters,omitempty"` // what was moved where; no secrets
	Program    string      `json:"program,omitempty"`    // the program of the newest run and its version
	Library    string      `json:"library,omitempty"`    // the version of this module there
	// Changed: what differs from the procedure with which the journal was begun
	Changed []string `json:"changed,omitempty"`
	Journal string   `json:"journal"`        // the journal's ID
	Result  Result   `json:"result"`         // how the newest run ended, and what a person has settled since
	Undo    bool     `json:"undo,omitempty"` // the newest run was an undo
	// UndoBegun: an undo was begun, even if it was refused: the journal can only be undone
	UndoBegun bool         `json:"undo_begun,omitempty"`
	Began     time.Time    `json:"began"`               // UTC, of the journal
	Ended     time.Time    `json:"ended"`               // UTC, of the newest record
	Runs      []RunReport  `json:"runs,omitempty"`      // undos included
	Outages   []Outage     `json:"outages,omitempty"`   // as they were observed; none: users noticed nothing
	Decisions []Decision   `json:"decisions,omitempty"` // of persons and policies, in order
	Steps     []StepReport `json:"steps"`               // in the order in which they run
	Error     string       `json:"error,omitempty"`     // why the newest run stopped
	Next      string       `json:"next,omitempty"`      // what to do about it
}

// RunReport is one run or undo.
type RunReport struct {
	Number   int       `json:"number"`             // counted from 1
	Undo     bool      `json:"undo,omitempty"`     // it was an undo
	Actor    string    `json:"actor"`              // who ran it
	Reason   string    `json:"reason"`             // why
	Approved PlanHash  `json:"approved,omitempty"` // the plan it was given
	Holder   Holder    `json:"holder"`             // machine, account and process
	Began    time.Time `json:"began"`              // UTC
	Ended    time.Time `json:"ended"`              // UTC; of the last record while it goes on
	Result   Result    `json:"result"`             // how it ended
	Error    string    `json:"error,omitempty"`    // why it stopped
}

// Outage is the time during which the service was down for its users, by the clock of the machine that ran the
// procedure: from the first change inside the outage window that may have taken effect until the last step of the
// window was seen done, or everything in it was seen taken back. Over a resume it includes the pause between the runs.
type Outage struct {
	Part  string    `json:"part,omitempty"` // of a joined procedure
	From  time.Time `json:"from"`           // UTC
	To    time.Time `json:"to,omitzero"`    // UTC; zero: not over
	Ended bool      `json:"ended"`          // the service was seen up again
}

// Duration returns how long the outage was, or 0 while it is not over.
func (o Outage) Duration() time.Duration {
	if !o.Ended {
		return 0
	}
	return o.To.Sub(o.From)
}

// StepReport is what became of one step.
type StepReport struct {
	StepInfo
	Status   StepStatus      `json:"status"`             // how far it has come over all runs
	Undoing  bool            `json:"undoing,omitempty"`  // what is in doubt is its undo
	Attempts int             `json:"attempts,omitempty"` // how often its intent was written
	Began    time.Time       `json:"began,omitzero"`     // UTC, of the first record or intent
	Ended    time.Time       `json:"ended,omitzero"`     // UTC, of the newest record
	Found    string          `json:"found,omitempty"`    // the newest observation, or what a person said
	Note     string          `json:"note,omitempty"`     // figures of that observation
	Items    []Item          `json:"items,omitempty"`    // its rows, of a fan-out
	Targets  []TargetOutcome `json:"targets,omitempty"`  // every target of a fan-out that failed somewhere
	Said     []string        `json:"said,omitempty"`     // the newest progress lines
	By       string          `json:"by,omitempty"`       // who waived, confirmed or resolved
	Reason   string          `json:"reason,omitempty"`   // and why
	Error    string          `json:"error,omitempty"`    // why it is not done
	Next     string          `json:"next,omitempty"`     // what to do about it
}

// Report makes the report of everything the journal records, without the procedure, its configuration or its targets:
// what an operator reads also when nothing of that can be reached. Before the first run its Result is ResultNone and it
// has no steps.
func (j *Journal) Report() *Report {
	j.mu.Lock()
	defer j.mu.Unlock()
	f, def := j.fold, j.fold.def()
	rep := &Report{Procedure: def.Name, Definition: def.Hash, Parameters: def.Parameters, Program: def.Program,
		Library: def.Library,
		Journal: j.head.ID, Began: j.head.At, Ended: f.lastAt, Outages: f.outageList(), Decisions: slices.Clone(f.log),
		Changed: f.changed(), UndoBegun: f.undoing}
	for i, run := range f.runs {
		rep.Runs = append(rep.Runs, run.RunReport)
		if i == len(f.runs)-1 {
			rep.Result, rep.Undo, rep.Error, rep.Next = f.result(run), run.Undo, run.Error, run.next
			if !run.ended {
				rep.Runs[i].Ended = f.lastAt
			}
		}
	}
	for _, info := range def.Steps {
		sr := StepReport{StepInfo: info}
		if st := f.steps[info.ID]; st != nil {
			sr.Status, sr.Undoing, sr.Attempts, sr.Began, sr.Ended = st.status(), st.undoOpen, st.attempts, st.begun, st.ended
			sr.Found, sr.Note, sr.Items, sr.Said, sr.Targets = st.found, st.note, st.items, st.said, st.targets
			sr.By, sr.Reason, sr.Error, sr.Next = st.by, st.reason, st.error, st.next
		}
		rep.Steps = append(rep.Steps, sr)
	}
	return rep
}

// changed says what differs between the first and the newest version of the procedure.
func (f *fold) changed() []string {
	if len(f.defs) < 2 {
		return nil
	}
	first, now := f.defs[0], f.defs[len(f.defs)-1]
	var lines []string
	if first.Program != now.Program || first.Library != now.Library {
		lines = append(lines, "program "+first.Program+" (library "+first.Library+") became "+now.Program+" (library "+
			now.Library+")")
	}
	had := map[string]StepInfo{}
	for _, s := range first.Steps {
		had[s.ID] = s
	}
	for _, s := range now.Steps {
		was, known := had[s.ID]
		switch {
		case !known:
			lines = append(lines, "step "+s.ID+" was added")
		case was.Kind != s.Kind, was.Target != s.Target, was.CanUndo != s.CanUndo, was.Firm != s.Firm, was.Outage != s.Outage:
			lines = append(lines, "step "+s.ID+" is another one")
		}
		delete(had, s.ID)
	}
	for _, s := range first.Steps {
		if _, gone := had[s.ID]; gone {
			lines = append(lines, "step "+s.ID+" was removed")
		}
	}
	return lines
}

// Count returns how many steps have one of the given statuses.
func (r *Report) Count(statuses ...StepStatus) int {
	n := 0
	for _, s := range r.Steps {
		if slices.Contains(statuses, s.Status) {
			n++
		}
	}
	return n
}

// Step returns the report of the step called id; the bool is false when the procedure has none.
func (r *Report) Step(id string) (StepReport, bool) {
	for _, s := range r.Steps {
		if s.ID == id {
			return s, true
		}
	}
	return StepReport{}, false
}

// JSON returns the report as an indented document.
func (r *Report) JSON() ([]byte, error) {
	raw, err := json.MarshalIndent(r, "", "  ")
	return escapeJSON(raw), err
}
