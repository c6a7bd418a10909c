package runbook

import (
	"fmt"
	"io"
	"strings"

	"github.com/01b61c5c/failover"
)

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
