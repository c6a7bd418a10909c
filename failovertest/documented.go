package failovertest

import (
	"fmt"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/01b61c5c/failover"
)

// Documented compares the step lists in a package's documentation with the steps of its procedures, by the heading
// under which each list stands. file is the file with the package comment, usually doc.go. A row of a list begins with
// the number of the step, a full stop and its ID; the word for its kind and the title are compared where the row has
// them:
//
//  1. check/quorum: The cluster has quorum
//  2. move/move (once): Move the group
//  3. move/clear: remove the move request (change) [A5]
//  4. move/verify   check   see the group stay
//
// Every step has to be listed, in order and with its number. A row without a number is not compared, and neither is
// what stands behind the kind in a row without a colon, or in brackets at the end. A title may begin with a small
// letter.
func Documented(tb testing.TB, file string, procedures map[string]failover.Procedure) {
	tb.Helper()
	lists, err := documentedSteps(file)
	if err != nil {
		tb.Fatal(err)
	}
	for heading, p := range procedures {
		rows, known := lists[heading]
		if !known {
			tb.Errorf("%s: there is no list of steps under the heading %q", file, heading)
			continue
		}
		steps := p.AllSteps()
		for i := range max(len(rows), len(steps)) {
			if err := differs(i, rows, steps); err != nil {
				tb.Errorf("%s, under %q: %v", file, heading, err)
				break
			}
		}
	}
}

// documentedStep is one row of a list.
type documentedStep struct {
	number   int
	id, kind string // kind is "" where the row has none
	title    string // "" where the row has none
}

var (
	stepRow  = regexp.MustCompile(`^\s*([0-9]+)\. ([^\s:(]+)(:| \(|\s|$)(.*)$`)
	titleEnd = regexp.MustCompile(`^(.*?)(?: \((check|change|once|manual)\))?(?: \[[^\]]*\])?$`)
	kindWord = regexp.MustCompile(`(?:^\s*|\()(check|change|once|manual)\b`)
)

// documentedSteps reads the numbered rows of a package comment, by heading. What stands before the first heading is
// under "".
func documentedSteps(file string) (map[string][]documentedStep, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		return nil, err
	}
	lists, heading := map[string][]documentedStep{}, ""
	for line := range strings.Lines(f.Doc.Text()) {
		line = strings.TrimRight(line, "\n")
		if under, ok := strings.CutPrefix(line, "# "); ok {
			heading = under
		}
		m := stepRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		row := documentedStep{id: m[2]}
		if row.number, err = strconv.Atoi(m[1]); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		rest := m[3] + m[4]
		if m[3] == ":" {
			end := titleEnd.FindStringSubmatch(strings.TrimSpace(m[4]))
			row.title, row.kind = end[1], end[2]
		}
		if k := kindWord.FindStringSubmatch(strings.TrimPrefix(rest, " ")); k != nil && m[3] != ":" {
			row.kind = k[1]
			if _, title, ok := strings.Cut(m[4], "): "); ok {
				row.title = strings.TrimSpace(title)
			}
		}
		lists[heading] = append(lists[heading], row)
	}
	return lists, nil
}

// differs says what row i of a list has that step i of the procedure has not.
func differs(i int, rows []documentedStep, steps []failover.Step) error {
	switch {
	case i >= len(rows):
		return fmt.Errorf("step %d, %s (%s), is not listed", i+1, steps[i].ID, steps[i].Kind)
	case i >= len(steps):
		return fmt.Errorf("row %d, %s, is no step of the procedure", rows[i].number, rows[i].id)
	}
	row, step := rows[i], steps[i]
	switch {
	case row.number != i+1:
		return fmt.Errorf("row %d, %s, has the wrong number; it is %d", row.number, row.id, i+1)
	case row.id != step.ID:
		return fmt.Errorf("row %d is %s, and the step is %s", i+1, row.id, step.ID)
	case row.kind != "" && row.kind != step.Kind.String():
		return fmt.Errorf("row %d, %s, is listed as a %s, and the step is a %s", i+1, row.id, row.kind, step.Kind)
	case row.title != "" && small(row.title) != small(step.Title):
		return fmt.Errorf("row %d, %s, is called %q, and the step %q", i+1, row.id, row.title, step.Title)
	}
	return nil
}

// small is a title with a small first letter.
func small(title string) string {
	first, size := utf8.DecodeRuneInString(title)
	return string(unicode.ToLower(first)) + title[size:]
}
