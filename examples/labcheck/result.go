package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover/idm"
)

// verdict says what a finding means for the library.
type verdict string

const (
	expected verdict = "as expected" // the library reads it right
	learned  verdict = "learned"     // nothing depends on it; worth knowing
	differs  verdict = "DIFFERS"     // the library reads it wrongly or not at all: report it
	open     verdict = "open"        // tried, and not settled
	untried  verdict = "not tried"   // needs the scratch driver or an entry of the file
	byHand   verdict = "by hand"     // no program should
)

// finding is the answer to one question of the list of what is to be verified on a lab server.
type finding struct {
	Item     int     `json:"item"`
	Question string  `json:"question"`
	Verdict  verdict `json:"verdict"`
	Found    string  `json:"found"`
}

// result is everything that was found. Framing and Resync are empty until they are settled.
type result struct {
	Server   string    `json:"server"`
	Vendor   string    `json:"vendor"`
	Wrote    string    `json:"wrote,omitempty"` // DN of the scratch driver, when it was changed
	Findings []finding `json:"findings"`
	Framing  string    `json:"framing"`
	Resync   string    `json:"resyncFlag"`
	Go       string    `json:"go,omitempty"`
}

func (r *result) add(item int, question string, v verdict, format string, args ...any) {
	r.Findings = append(r.Findings, finding{item, question, v, fmt.Sprintf(format, args...)})
}

// dialect is what was settled, for the calls that follow.
func (r *result) dialect() idm.Dialect {
	var d idm.Dialect
	if r.Framing == idm.FramingSequence.String() {
		d.Framing = idm.FramingSequence
	}
	if r.Resync == idm.ResyncFlagOneSyncs.String() {
		d.Resync = idm.ResyncFlagOneSyncs
	}
	return d
}

// settled reports whether nothing that was tried stayed open.
func (r *result) settled() bool {
	return r.Framing != "" && (r.Wrote == "" || r.Resync != "") &&
		!slices.ContainsFunc(r.Findings, func(f finding) bool { return f.Verdict == differs || f.Verdict == open })
}

// finish puts the findings in the order of the list and writes the dialect down where both halves are known.
func (r *result) finish() {
	slices.SortStableFunc(r.Findings, func(a, b finding) int { return a.Item - b.Item })
	if r.Framing == "" || r.Resync == "" {
		return
	}
	framing, flag := "idm.FramingConcatenated", "idm.ResyncFlagOneSkips"
	if r.dialect().Framing == idm.FramingSequence {
		framing = "idm.FramingSequence"
	}
	if r.dialect().Resync == idm.ResyncFlagOneSyncs {
		flag = "idm.ResyncFlagOneSyncs"
	}
	r.Go = fmt.Sprintf("idm.Dialect{Framing: %s, Resync: %s}", framing, flag)
}

// String is the table a person reads, and the dialect as a configuration file and a program want it.
func (r *result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s\n", r.Server, r.Vendor)
	if r.Wrote != "" {
		fmt.Fprintf(&b, "changed: %s\n", r.Wrote)
	} else {
		b.WriteString("nothing was changed\n")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%3d  %-12s %s\n", f.Item, f.Verdict, f.Question)
		for line := range strings.Lines(f.Found) {
			fmt.Fprintf(&b, "     %-12s   %s\n", "", strings.TrimRight(line, "\n"))
		}
	}
	b.WriteString("\ndialect:\n")
	b.WriteString(yamlLine("framing", r.Framing, "not settled"))
	b.WriteString(yamlLine("resync_flag", r.Resync, "not settled; -write-to-scratch-driver settles it"))
	if r.Go != "" {
		fmt.Fprintf(&b, "\n%s\n", r.Go)
	}
	return b.String()
}

func yamlLine(key, value, missing string) string {
	if value == "" {
		return fmt.Sprintf("  %s: FILL-IN  # %s\n", key, missing)
	}
	return fmt.Sprintf("  %s: %s\n", key, value)
}
