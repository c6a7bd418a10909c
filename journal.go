package failover

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

const journalFormat = "failover-journal/1"

// lockWait is how long a taken file lock is asked for again. What a process that was just killed had begun to start
// holds its lock for a moment longer.
const lockWait = time.Second

// Journal is the record of a procedure over all its runs: append-only JSON lines, each carrying the hash of the one
// before, each on disk before the effect it announces. Read it with a pager, attach it to the ticket, keep it.
//
// A journal belongs to one procedure with one set of parameters and is open in one process at a time. The file lock
// beside it is advisory and local to one machine: keep journals on a local disk, not on a network share. What keeps
// two machines apart is the procedure's [Lock].
//
// The hash chain shows altered, removed and reordered records. It cannot show that whole records are missing at the
// end; the target system can, through Observe and Probe.
type Journal struct {
	mu      sync.Mutex
	path    string
	file    *os.File // nil: opened for reading
	lock    *flock.Flock
	running bool // a run or an undo of this process writes to it
	head    header
	records []record
	last    string // hash of the last line
	size    int64
	broken  error
	closed  bool
}

type header struct {
	Format     string       `json:"format"`
	ID         string       `json:"id"`
	Procedure  string       `json:"procedure"`
	Definition string       `json:"definition"`
	Steps      []headerStep `json:"steps"`
	Outage     Window       `json:"outage,omitzero"`
	Actor      string       `json:"actor"`
	Reason     string       `json:"reason"`
	At         time.Time    `json:"at"`
}

// headerStep is what is needed to tell about a step without the procedure.
type headerStep struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Target string `json:"target,omitempty"`
	Kind   Kind   `json:"kind"`
}

// OpenJournal opens the journal at path for running, resuming, undoing or resolving, and creates it when it is not
// there. It fails with ErrJournalBusy when another process still has it open after a second, and with
// ErrJournalDamaged when a record was altered or lost. A last line that was cut off while it was written is dropped:
// nothing followed from it.
func OpenJournal(path string) (*Journal, error) {
	lock := flock.New(path + ".lock")
	wait, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	got, err := lock.TryLockContext(wait, lockWait/20)
	if err != nil && wait.Err() == nil {
		return nil, journalError("open journal", path, "make the folder writable", err)
	}
	if !got {
		_ = lock.Close()
		return nil, journalError("open journal", path, "wait for the other process to end, or use its terminal", ErrJournalBusy)
	}
	j := &Journal{path: path, lock: lock}
	if err := j.open(); err != nil {
		_ = j.Close()
		return nil, err
	}
	return j, nil
}

func (j *Journal) open() error {
	file, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return journalError("open journal", j.path, "make the file writable", err)
	}
	j.file = file
	raw, err := io.ReadAll(file)
	if err != nil {
		return journalError("read journal", j.path, "check the disk", err)
	}
	if err := j.parse(raw); err != nil {
		return err
	}
	if j.size < int64(len(raw)) {
		if err := file.Truncate(j.size); err != nil {
			return journalError("drop the torn last line", j.path, "check the disk", err)
		}
	}
	if _, err := file.Seek(j.size, io.SeekStart); err != nil {
		return journalError("open journal", j.path, "check the disk", err)
	}
	if err := errors.Join(file.Sync(), syncFolder(filepath.Dir(j.path))); err != nil {
		return journalError("flush journal", j.path, "check the disk", err)
	}
	return nil
}

// ReadJournal reads the journal at path without opening it for writing, also while another process runs with it.
func ReadJournal(path string) (*Journal, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, journalError("read journal", path, "name an existing journal", err)
	}
	j := &Journal{path: path}
	return j, j.parse(raw)
}

// InUse reports whether a process on this machine, this one included, has the journal open for writing now. A report of
// a run under way says "interrupted", since a journal cannot know whether its run will write again; this tells them apart.
func (j *Journal) InUse() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lock != nil {
		return !j.closed
	}
	name := j.path + ".lock"
	if _, err := os.Stat(name); err != nil {
		return false // opening it would make it
	}
	lock := flock.New(name)
	defer func() { _ = lock.Close() }()
	got, err := lock.TryRLock()
	return err == nil && !got
}

// Path returns where the journal lies.
func (j *Journal) Path() string { return j.path }

// Procedure returns the name and the definition hash of the procedure the journal belongs to; both are empty while
// no run has begun.
func (j *Journal) Procedure() (name, definition string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.head.Procedure, j.head.Definition
}

// Close gives the journal free for other processes.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	var err error
	if j.file != nil {
		err = j.file.Close()
	}
	if j.lock != nil {
		err = errors.Join(err, j.lock.Close())
	}
	if err != nil {
		return journalError("close journal", j.path, "check the disk", err)
	}
	return nil
}

func (j *Journal) parse(raw []byte) error {
	for line := 1; len(raw) > 0; line++ {
		end := bytes.IndexByte(raw, '\n')
		if end < 0 {
			return nil // torn: it was never fsynced, so nothing followed from it
		}
		if err := j.parseLine(line, raw[:end]); err != nil {
			return journalError("read journal", j.path, "compare it with the copy in the ticket; settle the state by hand and begin a new journal",
				fmt.Errorf("%w: line %d: %w", ErrJournalDamaged, line, err))
		}
		j.last = hashLine(raw[:end])
		j.size += int64(end) + 1
		raw = raw[end+1:]
	}
	return nil
}

func (j *Journal) parseLine(line int, text []byte) error {
	if line == 1 {
		if err := decodeStrict(text, &j.head); err != nil {
			return err
		}
		if j.head.Format != journalFormat {
			return fmt.Errorf("format %q, want %q", j.head.Format, journalFormat)
		}
		return nil
	}
	var rec record
	if err := decodeStrict(text, &rec); err != nil {
		return err
	}
	if want := line - 1; rec.N != want {
		return fmt.Errorf("record number %d, want %d", rec.N, want)
	}
	if rec.Prev != j.last {
		return errors.New("does not follow from the line before")
	}
	if rec.Outcome == nil && (rec.Type == recOutcome || rec.Type == recResolve || rec.Type == recUndoOutcome) {
		return fmt.Errorf("a record of type %s without an outcome", rec.Type)
	}
	j.records = append(j.records, rec)
	return nil
}

func decodeStrict(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if int(dec.InputOffset()) != len(text) {
		return errors.New("text behind the record")
	}
	return nil
}

// begin ties a fresh journal to the procedure, or checks that it belongs to it.
func (j *Journal) begin(p Procedure, o RunOptions) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	definition := p.Definition()
	if j.head.Format != "" {
		if j.head.Definition == definition {
			return nil
		}
		return journalError("open journal", j.path, "resume with the parameters the journal was begun with, or begin a new journal",
			fmt.Errorf("%w: it was begun for %s (definition %.12s), this is %s (definition %.12s)",
				ErrWrongJournal, j.head.Procedure, j.head.Definition, p.Name, definition))
	}
	h := header{Format: journalFormat, ID: rand.Text(), Procedure: p.Name, Definition: definition, Outage: p.Outage,
		Actor: o.Actor, Reason: o.Reason, At: time.Now().UTC()}
	for _, s := range p.Steps {
		h.Steps = append(h.Steps, headerStep{s.ID, s.Title, s.Target, s.Kind})
	}
	if err := j.writeLine(h); err != nil {
		return err
	}
	j.head = h
	return nil
}

// append writes one record and returns when it is on disk.
func (j *Journal) append(rec record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	rec.N, rec.Prev, rec.At = len(j.records)+1, j.last, time.Now().UTC()
	if err := j.writeLine(rec); err != nil {
		return err
	}
	j.records = append(j.records, rec)
	return nil
}

func (j *Journal) writeLine(v any) error {
	if err := j.writable(); err != nil {
		return err
	}
	line, err := json.Marshal(v)
	if err != nil {
		return journalError("write journal", j.path, "report this as a bug", err)
	}
	_, err = j.file.Write(append(line, '\n'))
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		// The line may be half on disk. Nothing may follow it, or the torn line would not be the last.
		j.broken = err
		return journalError("write journal", j.path, "make room on the disk, then run again with the same journal", err)
	}
	j.last = hashLine(line)
	j.size += int64(len(line)) + 1
	return nil
}

func (j *Journal) writable() error {
	switch {
	case j.closed:
		return journalError("write journal", j.path, "open it again", os.ErrClosed)
	case j.file == nil:
		return journalError("write journal", j.path, "open it with OpenJournal", errors.New("opened for reading"))
	case j.broken != nil:
		return journalError("write journal", j.path, "make room on the disk, then run again with the same journal", j.broken)
	}
	return nil
}

// Resolve settles a step whose outcome is in doubt by a person's word: Applied lets the run go on behind it,
// NotApplied lets it be applied again. It refuses a step that is not in doubt.
func (j *Journal) Resolve(step string, outcome Outcome, actor, reason string) error {
	if outcome != Applied && outcome != NotApplied {
		return Invalid("outcome", "settles nothing", "say Applied or NotApplied")
	}
	if err := (Statement{By: actor, Says: outcome.String(), Reason: reason}).Validate("Resolve"); err != nil {
		return err
	}
	if _, err := j.knows(step); err != nil {
		return err
	}
	if st := j.states()[step]; st == nil || (st.Status != StatusInDoubt && !st.undoOpen) {
		return &Error{Op: "resolve", Target: step, Outcome: NotApplied, Next: "resolve only what status shows as in doubt",
			Err: fmt.Errorf("%w: the step is not in doubt", ErrPrecondition)}
	}
	return j.append(record{Type: recResolve, Step: step, Outcome: &outcome, Actor: actor, Reason: reason})
}

// Confirm records a person's word that a Manual step is done. The next run verifies it by the step's observation,
// where there is one. It refuses every other step: a Check is waived and a doubt is resolved.
func (j *Journal) Confirm(step string, s Statement) error {
	if err := s.Validate("Confirm"); err != nil {
		return err
	}
	known, err := j.knows(step)
	if err != nil {
		return err
	}
	if known.Kind != Manual {
		return Invalid("step "+step, "is a "+known.Kind.String()+" and not done by hand", "confirm manual steps only; resolve what is in doubt, waive a check when running")
	}
	return j.append(record{Type: recConfirm, Step: step, Actor: s.By, Found: s.Says, Reason: s.Reason})
}

func (j *Journal) knows(step string) (headerStep, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if i := slices.IndexFunc(j.head.Steps, func(s headerStep) bool { return s.ID == step }); i >= 0 {
		return j.head.Steps[i], nil
	}
	return headerStep{}, unknownStep("the procedure of "+j.path, step)
}

// Report makes the report from the journal alone, without the procedure, its configuration or its targets: what an
// operator reads when nothing of that can be reached. It says the same as [Procedure.Report]. Before the first run its
// Result is ResultNone and it has no steps.
func (j *Journal) Report() *Report {
	j.mu.Lock()
	p := Procedure{Name: j.head.Procedure, Outage: j.head.Outage}
	for _, s := range j.head.Steps {
		p.Steps = append(p.Steps, Step{ID: s.ID, Title: s.Title, Target: s.Target, Kind: s.Kind})
	}
	definition := j.head.Definition
	j.mu.Unlock()
	rep := p.Report(j)
	rep.Definition = definition
	return rep
}

// begunUnder reports whether a run that was approved by this hash has changed something.
func (j *Journal) begunUnder(hash string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	approved := ""
	for _, rec := range j.records {
		switch {
		case rec.Type == recRun:
			approved = rec.Hash
		case rec.Type == recIntent && approved == hash:
			return true
		}
	}
	return false
}

// enter lets one run or undo of this process write at a time; the file lock keeps other processes out.
func (j *Journal) enter() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running {
		return journalError("use journal", j.path, "wait for the run that uses it to end", ErrJournalBusy)
	}
	j.running = true
	return nil
}

func (j *Journal) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.running = false
}

func (j *Journal) loadFact(name string) (json.RawMessage, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, rec := range slices.Backward(j.records) {
		if rec.Type == recFact && rec.Fact == name {
			return rec.Value, true
		}
	}
	return nil, false
}

func (j *Journal) waived(step string) bool {
	st := j.states()[step]
	return st != nil && st.Status == StatusWaived
}

func (j *Journal) saveFact(name string, value json.RawMessage) error {
	return j.append(record{Type: recFact, Fact: name, Value: value})
}

func (j *Journal) claim() Claim {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Claim{ID: j.head.ID, Owner: j.head.Actor, Purpose: j.head.Procedure + ": " + j.head.Reason, Since: j.head.At}
}

// readOnlyFacts is what Observe and Probe see.
type readOnlyFacts struct{ *Journal }

func (readOnlyFacts) saveFact(name string, _ json.RawMessage) error {
	return &Error{Op: "save fact", Target: name, Outcome: NotApplied, Next: "save facts in Apply or Undo",
		Err: fmt.Errorf("%w: an observation changes nothing", ErrPrecondition)}
}

func journalError(op, path, next string, err error) error {
	return &Error{Op: op, Target: path, Outcome: NotApplied, Next: next, Err: err}
}

func hashLine(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}
