package runbook

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/01b61c5c/failover"
)

// Screen shows a run: on a terminal the line of what goes on replaces itself, elsewhere there are plain lines.
type Screen struct {
	out  io.Writer
	live bool
	open bool // the next line replaces the one on the terminal
}

// NewScreen shows on out; a nil out shows nothing.
func NewScreen(out *os.File) *Screen {
	if out == nil {
		return &Screen{out: io.Discard}
	}
	return &Screen{out: out, live: term.IsTerminal(int(out.Fd()))}
}

// Event shows one event of a run; give it to RunOptions.Observer.
func (s *Screen) Event(e failover.Event) {
	place := fmt.Sprintf("%2d/%d", e.Number, e.Total)
	switch e.Kind {
	case failover.EventStepStarted:
		s.passing("%s … %s", place, e.Step.Title)
	case failover.EventWaiting:
		s.passing("%s … %s: %s", place, e.Step.Title, e.Observation.Found)
	case failover.EventIntent:
		s.passing("%s >>> %s", place, e.Step.Title)
	case failover.EventProgress:
		s.Line("%s     %s", place, e.Text)
	case failover.EventSlow:
		if e.Step.ID == "" {
			s.Line("      the run takes longer than expected")
			return
		}
		s.Line("%s     %s takes longer than expected", place, e.Step.Title)
	case failover.EventStepEnded:
		s.Line("%s %-9s %s", place, e.Status, e.Step.Title)
		if e.Err != nil {
			s.Line("          %v", e.Err)
		}
	case failover.EventRunStarted, failover.EventObserved, failover.EventAttempt, failover.EventRunEnded:
	}
}

// Line prints a line that stays.
func (s *Screen) Line(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// passing prints a line that the next one replaces; without a terminal nothing.
func (s *Screen) passing(format string, args ...any) {
	if !s.live {
		return
	}
	s.clear()
	text := []rune(fmt.Sprintf(format, args...))
	fmt.Fprint(s.out, string(text[:min(len(text), 100)]))
	s.open = true
}

func (s *Screen) clear() {
	if s.open {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.open = false
	}
}
