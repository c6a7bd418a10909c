package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

// summary prints the report as JSON, or what matters of it.
func summary(out io.Writer, asJSON bool, r *failover.Report, took time.Duration) error {
	if asJSON {
		raw, err := r.JSON()
		if err == nil {
			_, err = fmt.Fprintf(out, "%s\n", raw)
		}
		return err
	}
	outage := "none"
	for _, o := range r.Outages {
		if outage = "not over"; o.Ended {
			outage = o.Duration().Round(time.Millisecond).String()
		}
	}
	fmt.Fprintf(out, "\n%s: %s in %s\n", r.Procedure, r.Result, took.Round(time.Millisecond))
	fmt.Fprintf(out, "  steps       %d applied, %d already so, %d confirmed or waived, %d skipped\n", r.Count(failover.StatusApplied),
		r.Count(failover.StatusAlready), r.Count(failover.StatusConfirmed, failover.StatusWaived), r.Count(failover.StatusNotReached))
	fmt.Fprintf(out, "  outage      %s\n", outage)
	if r.Error != "" {
		fmt.Fprintf(out, "  stopped     %s\n  next        %s\n", r.Error, r.Next)
	}
	return nil
}

// print says what the simulator saw, over all acts.
func (v verdict) print(out io.Writer) {
	var once []string
	for _, e := range v.once {
		once = append(once, fmt.Sprintf("%s %d×", e.what, e.times))
	}
	two := "never"
	if v.twoActive {
		two = "YES"
	}
	fmt.Fprintf(out, "  once only   %s\n", strings.Join(once, ", "))
	fmt.Fprintf(out, "  two active  %s\n", two)
	fmt.Fprintf(out, "  end         %s\n\n", v.end)
}
