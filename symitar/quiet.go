package symitar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
)

// rsjPrograms are RSJ and SAJ, which is a wrapper around RSJ by the same vendor.
var rsjPrograms = []string{"RSJ", "SAJ"}

// rsjIdle looks for RSJ jobs on every host, and for the locks of living ones on the old primary: a lock holds the
// number of a process of the host that wrote it, and says nothing on a host to which it was replicated.
func (f firing) rsjIdle(ctx context.Context, h *Host) (failover.Item, error) {
	list, err := h.programs(ctx, "", rsjPrograms...)
	if err != nil {
		return failover.Item{}, err
	}
	var busy []string
	if len(list) > 0 {
		busy = append(busy, listed(list))
	}
	if h == f.dir.old {
		locks, syms, err := h.symLocks(ctx)
		if err != nil {
			return failover.Item{}, err
		}
		for _, l := range locks {
			switch l.state {
			case "stale":
			case "alive":
				busy = append(busy, l.sym+" locked by "+l.content)
			default:
				busy = append(busy, l.sym+" locked, and nobody can tell whether its process lives: "+l.content)
			}
		}
		if syms == 0 && len(busy) == 0 {
			return unwanted(h.noSyms())
		}
	}
	return unless(busy, "RSJ works: ", "no RSJ job")
}

type symLock struct {
	sym     string
	state   string // alive, stale or unknown
	content string
}

// symLocks returns the locks of a host, and how many SYMs it has. A lock may be empty.
func (h *Host) symLocks(ctx context.Context) (locks []symLock, syms int, err error) {
	out, err := h.read(ctx, "look at the RSJ locks", symLocksScript, h.set.SymRoot)
	if err != nil {
		return nil, 0, err
	}
	for line := range strings.Lines(out) {
		sym, rest, ok := strings.Cut(line, "\t")
		state, content, whole := strings.Cut(rest, "\t")
		if ok && whole {
			content = cmp.Or(failover.Printable(strings.Join(strings.Fields(content), " ")), "nothing stands in it")
			locks = append(locks, symLock{sym, state, content})
		}
	}
	syms, err = strconv.Atoi(keyValues(out)["syms"])
	if err != nil {
		return nil, 0, h.notApplied("look at the RSJ locks", "look again", "%w: it does not tell of the SYMs",
			errAnswerIncomplete)
	}
	return locks, syms, nil
}

func (h *Host) noSyms() string {
	return "no SYM found below " + h.set.SymRoot + ", so nothing is proven"
}

// noStaleLocks looks for the locks of jobs that were cut short, on the host that is primary. Where that host is gone,
// the locks that were replicated tell which of its jobs were cut short by that: they are named, and decided upon after
// the swap.
func (f firing) noStaleLocks(ctx context.Context) (failover.Observation, error) {
	on := f.all
	if f.alive() {
		on = []*Host{f.dir.old}
	}
	return each(ctx, on, func(ctx context.Context, h *Host) (failover.Item, error) {
		locks, syms, err := h.symLocks(ctx)
		if err != nil {
			return failover.Item{}, err
		}
		var cut, stale []string
		for _, l := range locks {
			cut = append(cut, l.sym+" ("+l.content+")")
			if l.state != "alive" {
				stale = append(stale, l.sym+" ("+l.state+": "+l.content+")")
			}
		}
		switch {
		case !f.alive() && len(cut) > 0:
			return wanted("jobs of " + f.dir.old.Name() + " that were cut short, to be decided upon after the swap: " +
				strings.Join(cut, ", "))
		case !f.alive() && syms == 0:
			return wanted("no SYM is to be seen before the swap, so nothing is known of jobs that were cut short; look at " +
				h.set.SymRoot + "/SYM*/sma_lock after it")
		case !f.alive():
			return wanted("no RSJ locks were replicated")
		case syms == 0:
			return unwanted(h.noSyms())
		case len(stale) > 0:
			return unwanted("left behind by jobs that are gone, as far as can be told: " + strings.Join(stale, ", ") +
				"; such a job was cut short and needs a decision")
		}
		return wanted("no stale RSJ locks")
	})
}

func batchIdle(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "look at the batch queue", "QUEUECONTROL -BATCH")
	if err != nil {
		return failover.Item{}, err
	}
	rows, err := parseQueue(out)
	if err != nil {
		return failover.Item{}, h.notApplied("look at the batch queue", "run QUEUECONTROL -BATCH by hand", "%w", err)
	}
	if len(rows) == 0 {
		return unwanted("QUEUECONTROL -BATCH lists no queue at all, so nothing is proven")
	}
	var busy []string
	for _, r := range rows {
		if r.busy() {
			busy = append(busy, failover.Printable(r.String()))
		}
	}
	return unless(busy, "", "batch queue idle")
}

type batchRow struct{ queue, device, status, seq, job, user string }

var errQueueFormat = errors.New("not the output of QUEUECONTROL -BATCH")

// parseQueue reads "QUEUECONTROL -BATCH" (seen in a public client): a header line, a line of six groups of dashes that
// give the columns, then rows. Idle rows are shorter; the queue number is blank where a row continues the one above.
func parseQueue(text string) ([]batchRow, error) {
	var columns [][]int
	var rows []batchRow
	queue := ""
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimRight(line, " \r\t")
		switch {
		case len(columns) == 0:
			if sixGroups.MatchString(line) {
				columns = append(dashes.FindAllStringIndex(line, -1), []int{math.MaxInt})
			}
			continue
		case line == "":
			continue
		}
		cell := func(i int) string {
			return strings.TrimSpace(line[min(columns[i][0], len(line)):min(columns[i+1][0], len(line))])
		}
		row := batchRow{cmp.Or(cell(0), queue), cell(1), cell(2), cell(3), cell(4), cell(5)}
		queue = row.queue
		rows = append(rows, row)
	}
	if len(columns) == 0 {
		return nil, fmt.Errorf("%w: no line with six groups of dashes%s", errQueueFormat, tail(", got: ", text))
	}
	return rows, nil
}

var (
	dashes    = regexp.MustCompile(`-+`)
	sixGroups = regexp.MustCompile(`^[ \r\t]*(-+[ \r\t]+){5}-+$`)
)

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
	mount         string
	space, inodes int
}

// parseDF reads "df -k" of AIX (Filesystem, 1024-blocks, Free, %Used, Iused, %Iused, Mounted on) and of Linux. The
// header tells how many percentages there are. A long device name may push its row to a second line. unread are the
// rows that tell nothing, but for those of pseudo file systems such as /proc.
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
		figure, percent := strings.CutSuffix(word, "%")
		n, err := strconv.Atoi(figure)
		switch {
		case err == nil && percent && fs.space < 0:
			fs.space = n
		case err == nil && percent:
			fs.inodes = n
		case fs.space >= 0 && strings.HasPrefix(word, "/"):
			fs.mount = strings.Join(words[i:], " ")
			return fs, true
		}
	}
	return fs, false
}

// hardErrors returns the rows of "errpt" that tell of permanent hardware errors: T is P (PERM), C is H. No output at
// all is a log without entries (documented). unread is what is not of the documented form.
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
