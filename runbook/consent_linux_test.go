package runbook

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/01b61c5c/failover"
)

// sitting is a person in front of a pseudo-terminal on which a program runs.
type sitting struct {
	t      *testing.T
	master *os.File
	tty    *os.File
	mu     sync.Mutex
	screen strings.Builder
	read   int // so much of the screen was looked at
}

func sit(t *testing.T) *sitting {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	p := &sitting{t: t, master: master, tty: tty}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			p.mu.Lock()
			p.screen.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		<-gone
		_ = master.Close()
	})
	return p
}

// runs starts the program on the terminal; the channel gets its exit status.
func (p *sitting) runs(program Program, args ...string) <-chan ExitStatus {
	status := make(chan ExitStatus, 1)
	go func() { status <- program.main(args, console{in: p.tty, out: p.tty, err: p.tty}) }()
	return status
}

// sees waits until the pattern stands on the screen behind what was looked at, and returns its first group.
func (p *sitting) sees(pattern string) string {
	p.t.Helper()
	want := regexp.MustCompile(pattern)
	var last string
	for range 12000 {
		p.mu.Lock()
		last = p.screen.String()[p.read:]
		if m := want.FindStringSubmatchIndex(last); m != nil {
			p.read += m[1]
			p.mu.Unlock()
			return last[m[len(m)-2]:m[len(m)-1]]
		}
		p.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
	require.FailNow(p.t, "not on the screen", "%s in\n%s", pattern, last)
	return ""
}

func (p *sitting) types(text string) {
	p.t.Helper()
	_, err := io.WriteString(p.master, text)
	require.NoError(p.t, err)
}

func (p *sitting) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

const typeIt = `Type (.*) to go on, anything else to stop here: `

func TestOnATerminalThePlanIsAgreedToAndThenEachStepWithoutUndo(t *testing.T) {
	m, p := &moving{found: "as before"}, sit(t)
	args := flags(t, "run")
	status := p.runs(m.program(), args...)
	hash := p.sees(`Findings: ([0-9a-f]{64})`)
	word := p.sees(typeIt)
	require.Equal(t, hash[:8], word)
	m.untouched(t)
	require.NoFileExists(t, args[1])
	p.types(word + "\n")
	require.Equal(t, "NODE2", p.sees(`It cannot be taken back. `+typeIt))
	require.Equal(t, []string{"stop"}, m.changes())
	p.types("NODE2\n")
	require.Equal(t, "symaix1", p.sees(`It cannot be taken back. `+typeIt))
	require.Equal(t, []string{"stop", "wipe"}, m.changes())
	p.types("symaix1\n")
	require.Equal(t, ExitDone, <-status, "%s", p.all())
	require.Equal(t, []string{"stop", "wipe", "fire"}, m.changes())

	j, err := failover.ReadJournal(args[1])
	require.NoError(t, err)
	var agreed []string
	for _, d := range j.Report().Decisions {
		require.Equal(t, failover.DecisionConsent, d.Kind)
		require.Equal(t, "ann", d.By)
		require.NotEmpty(t, d.From)
		require.NotEmpty(t, d.Findings)
		agreed = append(agreed, d.Step)
	}
	require.Equal(t, []string{"", "s/wipe", "s/fire"}, agreed)
}

func TestAnApprovedPlanIsNotAskedAboutAgainAndTheStepsWithoutUndoAre(t *testing.T) {
	m, p := &moving{found: "as before"}, sit(t)
	o := &operator{t: t, program: m.program(), flags: flags(t)}
	require.Equal(t, ExitWaiting, o.call("run"))
	status := p.runs(m.program(), append(o.flags, "run", "-approve", o.hash())...)
	require.Equal(t, "NODE2", p.sees(typeIt))
	require.Equal(t, []string{"stop"}, m.changes())
	p.types("no\n")
	require.Equal(t, ExitPartWay, <-status, "%s", p.all())
	require.Equal(t, []string{"stop"}, m.changes())
}

func TestWhatWasTypedAheadAnswersNothing(t *testing.T) {
	m, p := &moving{found: "as before"}, sit(t)
	p.types("yes\nNODE2\n")
	args := flags(t, "run")
	status := p.runs(m.program(), args...)
	word := p.sees(typeIt)
	m.untouched(t)
	p.types(word + "\nNODE2\nsymaix1\nyes\nNODE2")
	p.sees(`It cannot be taken back. ` + typeIt)
	require.Equal(t, []string{"stop"}, m.changes())
	p.types("yes\n")
	require.Equal(t, ExitPartWay, <-status, "%s", p.all())
	require.Equal(t, []string{"stop"}, m.changes())
	p.sees(`(ann answered "yes")`)

	status = p.runs(m.program(), append(args[:len(args)-1:len(args)-1], "undo")...)
	p.sees(`(take back: Stop \(s/stop\) on NODE1: applied)`)
	word = p.sees(typeIt)
	require.Equal(t, []string{"stop"}, m.changes(), "the plan of the undo is shown first")
	p.types("no\n")
	require.Equal(t, ExitPartWay, <-status)
	require.Equal(t, []string{"stop"}, m.changes())
	status = p.runs(m.program(), append(args[:len(args)-1:len(args)-1], "undo")...)
	require.Equal(t, word, p.sees(typeIt))
	p.types(word + "\n")
	require.Equal(t, ExitDone, <-status, "%s", p.all())
	require.Equal(t, []string{"stop", "not stop"}, m.changes())
	j, err := failover.ReadJournal(args[1])
	require.NoError(t, err)
	decisions := j.Report().Decisions
	last := decisions[len(decisions)-1]
	require.True(t, last.Undo)
	require.Equal(t, "ann", last.By)
	require.NotEmpty(t, last.From)
}

func TestTheTakeOverNamesTheHolderTwice(t *testing.T) {
	m, p := &moving{}, sit(t)
	require.NoError(t, m.lock.Acquire(t.Context(), failover.Claim{ID: "DEAD", Owner: "bob"}))
	for _, tt := range []struct {
		answer string
		want   ExitStatus
	}{{"yes", ExitNotDone}, {"DEAD", ExitDone}} {
		status := p.runs(m.program(), flags(t, "take-over", "DEAD")...)
		require.Equal(t, "DEAD", p.sees(typeIt))
		claim, _, err := m.lock.Holder(t.Context())
		require.NoError(t, err)
		require.Equal(t, "DEAD", claim.ID)
		p.types(tt.answer + "\n")
		require.Equal(t, tt.want, <-status, "%s", p.all())
	}
}

func TestTextOfOtherSystemsDoesNotRepaintTheTerminal(t *testing.T) {
	m, p := &moving{found: hostile}, sit(t)
	status := p.runs(m.program(), flags(t, "run")...)
	p.types(p.sees(typeIt) + "\n")
	p.types(p.sees(`It cannot be taken back. `+typeIt) + "\n")
	p.sees(`It cannot be taken back. ` + typeIt)
	p.types("no\n")
	require.Equal(t, ExitPartWay, <-status)
	text := p.all()
	assert.Contains(t, text, `a\x1b[2K`)
	text = strings.ReplaceAll(text, "\r\x1b[K", "") // our own, where a line replaces itself
	text = strings.ReplaceAll(text, "\r\n", "\n")
	showsItself(t, text)
}
