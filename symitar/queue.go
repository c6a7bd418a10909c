package symitar

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// batchRow is one row of the batch queue.
type batchRow struct {
	queue, device, status, seq, job, user string
}

var errQueueFormat = errors.New("not the output of QUEUECONTROL -BATCH")

// parseQueue reads "QUEUECONTROL -BATCH" (seen in a public client): a header line, a line of six groups of dashes that
// give the columns, then rows. Idle rows are shorter; the queue number is blank where a row continues the one above.
func parseQueue(text string) ([]batchRow, error) {
	lines := strings.Split(text, "\n")
	start := -1
	var columns [][2]int
	for i, line := range lines {
		if columns = dashGroups(line); len(columns) == 6 {
			start = i + 1
			break
		}
	}
	if start < 0 {
		return nil, fmt.Errorf("%w: no line with six groups of dashes%s", errQueueFormat, tail(", got: ", text))
	}
	var rows []batchRow
	queue := ""
	for _, line := range lines[start:] {
		line = strings.TrimRight(line, " \r\t")
		if line == "" {
			continue
		}
		cell := func(i int) string {
			from := columns[i][0]
			if from >= len(line) {
				return ""
			}
			to := len(line)
			if i < 5 {
				to = min(columns[i+1][0], len(line))
			}
			return strings.TrimSpace(line[from:to])
		}
		row := batchRow{cell(0), cell(1), cell(2), cell(3), cell(4), cell(5)}
		if row.queue == "" {
			row.queue = queue
		}
		queue = row.queue
		rows = append(rows, row)
	}
	return rows, nil
}

func dashGroups(line string) [][2]int {
	var groups [][2]int
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '-':
			from := i
			for i < len(line) && line[i] == '-' {
				i++
			}
			groups = append(groups, [2]int{from, i})
		case line[i] != ' ' && line[i] != '\r' && line[i] != '\t':
			return nil
		}
	}
	return groups
}

// busy reports whether the row is a job that runs or waits. Only what is known to be at rest counts as idle: a row that
// ends behind the word Ready.
func (r batchRow) busy() bool {
	return !strings.EqualFold(r.status, "Ready") || r.seq+r.job+r.user != ""
}

func (r batchRow) String() string {
	return strings.TrimSpace(fmt.Sprintf("queue %s: %s job %s %s of %s", r.queue, r.status, r.seq, r.job, r.user))
}

// filesystem is one row of "df -k" with what is filled, in percent; -1 where the system does not say.
type filesystem struct {
	mount  string
	space  int
	inodes int
}

// parseDF reads "df -k" of AIX (Filesystem, 1024-blocks, Free, %Used, Iused, %Iused, Mounted on) and of Linux. The
// header tells how many percentages there are. A long device name may push its row to a second line. unread are the rows
// that tell nothing, but for those of pseudo file systems such as /proc.
func parseDF(text string) (list []filesystem, unread []string, err error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if !strings.HasPrefix(lines[0], "Filesystem") {
		return nil, nil, fmt.Errorf("not the output of df -k%s", tail(": ", text))
	}
	var words []string // of one row
	for i, line := range lines[1:] {
		words = append(words, strings.Fields(line)...)
		if len(words) == 1 && i < len(lines)-2 {
			continue // the first half of a broken row
		}
		if fs, ok := parseDFRow(words); ok {
			list = append(list, fs)
		} else if len(words) > 0 && (strings.HasPrefix(words[0], "/dev/") || !slices.Contains(words, "-")) {
			unread = append(unread, strings.Join(words, " "))
		}
		words = nil
	}
	return list, unread, nil
}

func parseDFRow(words []string) (filesystem, bool) {
	fs := filesystem{space: -1, inodes: -1}
	for i, word := range words {
		n, err := strconv.Atoi(strings.TrimSuffix(word, "%"))
		switch {
		case err == nil && strings.HasSuffix(word, "%") && fs.space < 0:
			fs.space = n
		case err == nil && strings.HasSuffix(word, "%"):
			fs.inodes = n
		case fs.space >= 0 && strings.HasPrefix(word, "/"):
			fs.mount = strings.Join(words[i:], " ")
			return fs, true
		}
	}
	return fs, false
}

// hardErrors returns the rows of "errpt" that tell of permanent hardware errors: T is P (PERM), C is H. No output at all
// is a log without entries (documented). unread is what is not of the documented form.
func hardErrors(text string) (rows []string, unread string) {
	header := false
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case f[0] == "IDENTIFIER":
			header = true
		case !header || len(f) < 4:
			return nil, strings.Join(f, " ")
		case (f[2] == "P" || f[2] == "PERM") && f[3] == "H":
			rows = append(rows, strings.Join(f, " "))
		}
	}
	return rows, ""
}
