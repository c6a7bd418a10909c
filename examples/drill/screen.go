package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/01b61c5c/failover"
)

// screen shows a run: live on a terminal, plain lines elsewhere, and only the report when JSON is asked for.
type screen struct {
	out  io.Writer
	json bool
	live bool
	open bool // a line that the next one overwrites is on the terminal
}

func newScreen(out *os.File, json bool) *screen {
	return &screen{out: out, json: json, live: !json && term.IsTerminal(int(out.Fd()))}
}

func (s *screen) plan(name string, plan failover.Plan) {
	if !s.json {
		fmt.Fprintf(s.out, "== %s ==\n%s\n", name, plan)
	}
}

func (s *screen) event(e failover.Event) {
	if s.json {
		return
	}
	place := fmt.Sprintf("%2d/%d", e.Number, e.Total)
	switch e.Kind {
	case failover.EventStepStarted:
		s.passing("%s … %s", place, e.Step.Title)
	case failover.EventWaiting:
		s.passing("%s … %s: %s", place, e.Step.Title, e.Observation.Found)
	case failover.EventIntent:
		s.passing("%s >>> %s", place, e.Step.Title)
	case failover.EventProgress:
		s.line("%s     %s", place, e.Text)
	case failover.EventSlow:
		s.line("%s     %s takes longer than expected", place, e.Step.Title)
	case failover.EventStepEnded:
		s.line("%s %-9s %s", place, e.Status, e.Step.Title)
		if e.Err != nil {
			s.line("          %v", e.Err)
		}
	case failover.EventRunStarted, failover.EventObserved, failover.EventAttempt, failover.EventRunEnded:
	}
}

func (s *screen) crash(e failover.Event) {
	if !s.json {
		s.line("%2d/%d killed at %s", e.Number, e.Total, e.Step.ID)
	}
}

// line prints a line that stays.
func (s *screen) line(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// passing prints a line that the next one replaces; without a terminal nothing.
func (s *screen) passing(format string, args ...any) {
	if !s.live {
		return
	}
	s.clear()
	text := fmt.Sprintf(format, args...)
	if len(text) > 100 {
		text = text[:100]
	}
	fmt.Fprint(s.out, text)
	s.open = true
}

func (s *screen) clear() {
	if s.open {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.open = false
	}
}

func (s *screen) summary(r *failover.Report, v verdict, took time.Duration) error {
	if s.json {
		raw, err := r.JSON()
		if err == nil {
			_, err = fmt.Fprintf(s.out, "%s\n", raw)
		}
		return err
	}
	outage := "none"
	switch {
	case r.Outage != nil && r.Outage.Ended:
		outage = r.Outage.Duration().Round(time.Millisecond).String()
	case r.Outage != nil:
		outage = "not over"
	}
	var once []string
	for _, e := range v.once {
		once = append(once, fmt.Sprintf("%s %d×", e.what, e.times))
	}
	two := "never"
	if v.twoActive {
		two = "YES"
	}
	fmt.Fprintf(s.out, "\n%s: %s in %s\n", r.Procedure, r.Result, took.Round(time.Millisecond))
	fmt.Fprintf(s.out, "  steps       %d applied, %d already so, %d confirmed or waived, %d skipped\n", r.Count(failover.StatusApplied),
		r.Count(failover.StatusAlready), r.Count(failover.StatusConfirmed, failover.StatusWaived), r.Count(failover.StatusNotReached))
	fmt.Fprintf(s.out, "  outage      %s\n", outage)
	fmt.Fprintf(s.out, "  once only   %s\n", strings.Join(once, ", "))
	fmt.Fprintf(s.out, "  two active  %s\n", two)
	fmt.Fprintf(s.out, "  end         %s\n", v.end)
	if r.Error != "" {
		fmt.Fprintf(s.out, "  stopped     %s\n  next        %s\n", r.Error, r.Next)
	}
	fmt.Fprintln(s.out)
	return nil
}
