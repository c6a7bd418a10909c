package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
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
	fmt.Fprintf(out, "\n%s: %s in %s\n", r.Procedure, r.Result, took.Round(time.Millisecond))
	fmt.Fprintf(out, "  steps       %d applied, %d already so, %d confirmed or waived, %d skipped\n",
		r.Count(failover.StatusApplied),
		r.Count(failover.StatusAlready), r.Count(failover.StatusConfirmed, failover.StatusWaived),
		r.Count(failover.StatusNotReached))
	fmt.Fprintf(out, "  outage      %s\n", outages(r))
	if r.Error != "" {
		fmt.Fprintf(out, "  stopped     %s\n  next        %s\n", failover.Printable(r.Error), failover.Printable(r.Next))
	}
	return nil
}

// outages says how long each outage was.
func outages(r *failover.Report) string {
	var list []string
	for _, o := range r.Outages {
		if !o.Ended {
			return "not over"
		}
		list = append(list, o.Duration().Round(time.Millisecond).String())
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// table shows all scenarios at the end, one a line.
func table(out io.Writer, all []played) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROCEDURE\tRESULT\tTOOK\tOUTAGE\tTWO ACTIVE\tAS IT MUST BE")
	for _, p := range all {
		if !p.known {
			continue
		}
		result, outage, two, right := "-", "-", "never", "yes"
		if p.report != nil {
			result, outage = p.report.Result.String(), outages(p.report)
		}
		if p.seen.twoActive {
			two = "YES"
		}
		if p.wrong != nil || p.seen.end == "" {
			right = "NO"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", p.name, result, p.took.Round(time.Millisecond), outage, two, right)
	}
	_ = w.Flush()
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
	fmt.Fprintf(out, "  end         %s\n", failover.Printable(v.end))
}
