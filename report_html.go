package failover

import (
	_ "embed"
	"html/template"
	"io"
	"time"
)

//go:embed report.html
var reportPage string

// WriteHTML writes the report as one self-contained page with the timeline: no script, nothing to load.
func (r *Report) WriteHTML(w io.Writer) error {
	page, err := template.New("report").Funcs(template.FuncMap{
		"line": oneLine, "of": of, "number": func(i int) int { return i + 1 },
		"clock": func(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") },
		"ms":    func(d time.Duration) string { return d.Round(time.Millisecond).String() },
		"bar":   r.bar, "onlyUndo": r.onlyUndo,
	}).Parse(reportPage)
	if err != nil {
		return &Error{Op: "write report", Target: r.Procedure, Outcome: NotApplied, Next: "report this as a bug", Err: err}
	}
	if err := page.Execute(w, r); err != nil {
		return &Error{Op: "write report", Target: r.Procedure, Outcome: NotApplied, Next: "write it again", Err: err}
	}
	return nil
}

// span is a bar of the timeline, in percent of the whole.
type span struct{ Left, Width float64 }

func (r *Report) bar(s StepReport) span {
	whole := float64(r.Ended.Sub(r.Began))
	if s.Began.IsZero() || whole <= 0 {
		return span{}
	}
	return span{Left: 100 * float64(s.Began.Sub(r.Began)) / whole,
		Width: max(0.3, 100*float64(s.Ended.Sub(s.Began))/whole)}
}
