package failover

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// String returns the report as text for a terminal or a ticket.
func (r *Report) String() string {
	var b strings.Builder
	what := oneLine(r.Procedure)
	if r.Undo {
		what = "undo of " + what
	}
	fmt.Fprintf(&b, "%s: %s\n", what, r.Result)
	for _, p := range r.Parameters {
		fmt.Fprintf(&b, "  %s: %s\n", oneLine(p.Name), oneLine(p.Value))
	}
	fmt.Fprintf(&b, "  journal %s, %s to %s\n", oneLine(r.Journal), r.Began.Format(time.RFC3339),
		r.Ended.Format(time.RFC3339))
	for _, run := range r.Runs {
		fmt.Fprintf(&b, "  %s\n", run)
	}
	for _, o := range r.Outages {
		if o.Ended {
			fmt.Fprintf(&b, "  outage%s %s from %s\n", of(o.Part), o.Duration().Round(time.Millisecond),
				o.From.Format(time.RFC3339))
		} else {
			fmt.Fprintf(&b, "  outage%s since %s, not over\n", of(o.Part), o.From.Format(time.RFC3339))
		}
	}
	for _, d := range r.Decisions {
		fmt.Fprintf(&b, "  %s\n", d)
	}
	if r.onlyUndo() {
		b.WriteString("  an undo was begun: the journal can only be undone\n")
	}
	for _, c := range r.Changed {
		fmt.Fprintf(&b, "  changed since it was begun: %s\n", oneLine(c))
	}
	r.table(&b)
	for _, s := range r.Steps {
		s.details(&b)
	}
	switch {
	case r.Error == "":
	case slices.ContainsFunc(r.Steps,
		func(s StepReport) bool { return s.Error != "" && strings.Contains(r.Error, s.Error) }):
		b.WriteString("\nStopped there.\n")
	default:
		fmt.Fprintf(&b, "\nStopped: %s\n", oneLine(r.Error))
	}
	if r.Next != "" {
		fmt.Fprintf(&b, "Next: %s\n", oneLine(r.Next))
	}
	return b.String()
}

// onlyUndo reports whether an undo was begun and is not finished.
func (r *Report) onlyUndo() bool { return r.UndoBegun && r.Result != ResultUndone }

func of(part string) string {
	if part == "" {
		return ""
	}
	return " of " + oneLine(part)
}

// String returns the run as one line.
func (r RunReport) String() string {
	what := "run"
	if r.Undo {
		what = "undo"
	}
	text := fmt.Sprintf("%s %d by %s: %s; %s to %s: %s", what, r.Number, r.Actor, r.Reason, r.Began.Format(time.RFC3339),
		r.Ended.Format(time.RFC3339), r.Result)
	if place := r.Holder.from(); place != "" {
		text += fmt.Sprintf("; %s, process %d", place, r.Holder.PID)
	}
	if r.Approved != "" {
		text += fmt.Sprintf("; approved %.12s", r.Approved)
	}
	return oneLine(text)
}

func (r *Report) table(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\n #\tSTATUS\tSTEP\tTARGET\tFOUND")
	part := ""
	for i, s := range r.Steps {
		if s.Part != part {
			part = s.Part
			fmt.Fprintf(w, "\t\t%s:\t\t\n", oneLine(part))
		}
		text := s.Found
		if s.Note != "" {
			text += " (" + s.Note + ")"
		}
		if s.Undoing {
			text = "whether it was taken back is in doubt; " + text
		}
		if s.By != "" {
			text += " [" + s.By + ": " + s.Reason + "]"
		}
		fmt.Fprintf(w, "%2d\t%s\t%s\t%s\t%s\n", i+1, s.Status, oneLine(s.Title), oneLine(s.Target), oneLine(text))
	}
	_ = w.Flush()
}

// shownRows is how many rows of a step are shown: in a plan, and in a report of a step that is done.
const shownRows = 50

// details says of a step what does not fit into the table: its error, its targets, and the rows a person may have to
// act on.
func (s StepReport) details(b *strings.Builder) {
	rows := s.Items
	if s.Status == StatusNotReached || (s.Kind == Change || s.Kind == Once) &&
		(s.Status == StatusApplied || s.Status == StatusAlready || s.Status == StatusUndone) {
		rows = nil
	}
	if s.Error == "" && len(rows) == 0 && len(s.Targets) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s (%s):\n", oneLine(s.Title), oneLine(s.ID))
	if s.Error != "" {
		fmt.Fprintf(b, "  %s\n", oneLine(s.Error))
	}
	for _, t := range s.Targets {
		line := oneLine(t.Target) + ": " + t.Outcome.String()
		if t.Error != "" {
			line += ": " + oneLine(t.Error)
		}
		fmt.Fprintf(b, "    %s\n", line)
	}
	for i, item := range rows {
		if i == shownRows && s.Error == "" {
			fmt.Fprintf(b, "    and %d more; the JSON report has all of them\n", len(rows)-i)
			break
		}
		mark := "-"
		switch {
		case item.Done:
			mark = "+"
		case item.Unknown:
			mark = "?"
		}
		fmt.Fprintf(b, "    %s %s: %s\n", mark, oneLine(item.Target), oneLine(item.Found))
	}
	for _, line := range s.Said {
		if s.Error != "" {
			fmt.Fprintf(b, "    | %s\n", oneLine(line))
		}
	}
}
