package runbook

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/01b61c5c/failover"
)

// Screen shows a run: on a terminal the line of what goes on replaces itself, elsewhere there are plain lines.
type Screen struct {
	mu     sync.Mutex
	out    io.Writer
	width  func() int // of the terminal; nil where there is none
	open   bool       // the next line replaces the one on the terminal
	asking bool       // a question stands; nothing may be written behind it
}

// NewScreen shows on out; a nil out shows nothing.
func NewScreen(out *os.File) *Screen {
	if out == nil {
		return &Screen{out: io.Discard}
	}
	s := &Screen{out: out}
	if term.IsTerminal(int(out.Fd())) {
		s.width = func() int {
			if width, _, err := term.GetSize(int(out.Fd())); err == nil && width > 1 {
				return width
			}
			return 80
		}
	}
	return s
}

// Event shows one event of a run; give it to RunOptions.Observer.
func (s *Screen) Event(e failover.Event) {
	place := clean("%2d/%d", e.Number, e.Total)
	switch e.Kind {
	case failover.EventStepStarted:
		s.passing("%s … %s", place, oneLine(e.Step.Title))
	case failover.EventWaiting:
		s.passing("%s … %s: %s", place, oneLine(e.Step.Title), oneLine(e.Observation.Found))
	case failover.EventIntent:
		s.passing("%s >>> %s", place, oneLine(e.Step.Title))
	case failover.EventProgress:
		for line := range strings.Lines(e.Text) {
			s.Line("%s     %s", place, strings.TrimRight(line, "\r\n"))
		}
	case failover.EventSlow:
		if e.Step.ID == "" {
			s.Line("      the run takes longer than expected")
			return
		}
		s.Line("%s     %s takes longer than expected", place, oneLine(e.Step.Title))
	case failover.EventStepEnded:
		s.Line("%s %-9s %s", place, e.Status, oneLine(e.Step.Title))
		if e.Err != nil {
			s.Line("          %v", e.Err)
		}
	}
}

// Line prints a line that stays. Text among the arguments is printed with the characters visible that do not show
// themselves.
func (s *Screen) Line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	if s.asking {
		say(s.out, "")
	}
	say(s.out, format, args...)
}

// passing prints a line that the next one replaces; without a terminal nothing.
func (s *Screen) passing(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.width == nil || s.asking {
		return
	}
	s.clear()
	text := []rune(clean(format, args...))
	_, _ = io.WriteString(s.out, string(text[:min(len(text), s.width()-1)]))
	s.open = true
}

// question keeps the line with a question for the answer; the function it returns ends that.
func (s *Screen) question() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	s.asking = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asking = false
	}
}

func (s *Screen) clear() {
	if s.open {
		_, _ = io.WriteString(s.out, "\r\x1b[K")
		s.open = false
	}
}

// say prints one line. It is the border at which text of other systems leaves the program: whatever comes in as text is
// printed with the characters visible that do not show themselves. What the engine has made printable, line by line,
// passes as it is.
func say(w io.Writer, format string, args ...any) {
	_, _ = io.WriteString(w, clean(format, args...)+"\n") // nobody is left to tell when the terminal is gone
}

// clean is Sprintf behind the border.
func clean(format string, args ...any) string {
	for i, arg := range args {
		switch a := arg.(type) {
		case string:
			args[i] = failover.Printable(a)
		case failover.PlanHash:
			args[i] = failover.Printable(string(a))
		case error:
			args[i] = failover.Printable(a.Error())
		case *failover.Report:
			args[i] = strings.TrimSuffix(a.String(), "\n")
		case failover.Plan:
			args[i] = strings.TrimSuffix(a.String(), "\n")
		case fmt.Stringer:
			args[i] = failover.Printable(a.String())
		}
	}
	return fmt.Sprintf(format, args...)
}

// block prints a text of several lines with something in front of each.
func block(w io.Writer, front, text string) {
	for line := range strings.Lines(text) {
		say(w, "%s%s", front, strings.TrimRight(line, "\r\n"))
	}
}

// oneLine folds the blanks and line breaks of a text.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
