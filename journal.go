package failover

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const journalFormat = "failover-journal/2"

const restoreHint = "compare it with the copy in the ticket; settle the state by hand and begin a new journal"

// Journal is the record of a procedure over all its runs: append-only JSON lines, each with the hash of the one before
// and its own, each durable before the effect it announces. Read it with a pager, attach it to the ticket, keep it.
//
// A journal belongs to one procedure with one set of parameters and is open for writing by one holder at a time. What
// keeps two machines apart that have copies of one journal is the procedure's [Lock]: its claim names the holder too.
//
// The hashes show altered, removed and reordered records. They cannot show that whole records are missing at the end:
// with a journal that was opened, a run asks the Probe of a Once before it fires it, and an undo asks the Probe of the
// first one that stands open.
type Journal struct {
	mu      sync.Mutex
	store   Store
	writer  StoreWriter // nil: opened for reading
	holder  Holder
	running bool // a run or an undo of this process writes to it
	opened  int  // lines that stood there when it was opened; 0: it was made. More may have been there and be lost
	head    header
	lines   int
	last    string // hash of the last line
	fold    *fold
	closed  bool
}

// header is the first line of a journal.
type header struct {
	Format string    `json:"format"`
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
}

// CreateJournal makes a new journal at path. It fails with an error wrapping fs.ErrExist when there is a file already,
// so that a wrong path never begins a run again that has begun elsewhere.
func CreateJournal(path string) (*Journal, error) {
	return CreateJournalIn(context.Background(), JournalFile(path))
}

// OpenJournal opens the journal at path for running, resuming, undoing or resolving. It fails with an error wrapping
// fs.ErrNotExist when there is none, with ErrJournalBusy when another process has it open, and with ErrJournalDamaged
// when the file is not a journal or was altered. It changes nothing. A last line that was cut off while it was written
// is dropped with the next record: nothing followed from it.
func OpenJournal(path string) (*Journal, error) {
	return OpenJournalFrom(context.Background(), JournalFile(path))
}

// ReadJournal reads the journal at path without opening it for writing, also while another process runs with it.
func ReadJournal(path string) (*Journal, error) {
	return ReadJournalFrom(context.Background(), JournalFile(path))
}

// CreateJournalIn is CreateJournal for any store.
func CreateJournalIn(ctx context.Context, store Store) (*Journal, error) {
	j := &Journal{store: store, holder: thisProcess(), fold: newFold()}
	w, err := store.Create(ctx, j.holder)
	if err != nil {
		return nil, err
	}
	j.writer = w
	h := header{Format: journalFormat, ID: rand.Text(), At: time.Now().UTC()}
	raw, err := json.Marshal(h)
	if err == nil {
		var line []byte
		line, j.last = seal(raw)
		err = w.Append(line)
	}
	if err != nil {
		_ = w.Close()
		return nil, journalError("create journal", store.String(), "remove what was made of it and create it again", err)
	}
	j.head, j.lines = h, 1
	j.fold.lastAt = h.At
	return j, nil
}

// OpenJournalFrom is OpenJournal for any store.
func OpenJournalFrom(ctx context.Context, store Store) (*Journal, error) {
	j := &Journal{store: store, holder: thisProcess(), fold: newFold()}
	w, err := store.Open(ctx, j.holder)
	if err != nil {
		return nil, err
	}
	if err := j.parse(w.Lines()); err != nil {
		_ = w.Close()
		return nil, err
	}
	j.writer, j.opened = w, j.lines
	return j, nil
}

// ReadJournalFrom is ReadJournal for any store.
func ReadJournalFrom(ctx context.Context, store Store) (*Journal, error) {
	lines, err := store.Read(ctx)
	if err != nil {
		return nil, err
	}
	j := &Journal{store: store, fold: newFold()}
	if err := j.parse(lines); err != nil {
		return nil, err
	}
	return j, nil
}

// Watch returns nil as soon as the journal has more records than when j was opened, and an error when ctx ends. Read it
// again then.
func (j *Journal) Watch(ctx context.Context) error {
	j.mu.Lock()
	store, lines := j.store, j.lines
	j.mu.Unlock()
	return store.Watch(ctx, lines)
}

// InUse reports whether a process, this one included, has the journal open for writing now. A report of a run under way
// says "interrupted", or "in-doubt" while a change is made, since a journal cannot know whether its run will write
// again; this tells them apart.
func (j *Journal) InUse(ctx context.Context) (bool, error) {
	j.mu.Lock()
	store, open := j.store, j.writer != nil && !j.closed
	j.mu.Unlock()
	if open {
		return true, nil
	}
	return store.InUse(ctx)
}

// Path says where the journal lies.
func (j *Journal) Path() string { return j.store.String() }

// ID returns what tells the journal from every other one, copies excepted.
func (j *Journal) ID() string { return j.head.ID }

// Procedure returns the name and the definition hash of the procedure the journal belongs to; both are empty while
// no run has begun.
func (j *Journal) Procedure() (name, definition string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	def := j.fold.def()
	return def.Name, def.Hash
}

// Close gives the journal free for other holders. While a run uses it, it fails with ErrJournalBusy.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed || j.writer == nil {
		return nil
	}
	if j.running { // the next holder would take what is under way for what was left
		return journalError("close journal", j.store.String(), "wait for the run that uses it to end", ErrJournalBusy)
	}
	j.closed = true
	return j.writer.Close()
}

func (j *Journal) parse(lines [][]byte) error {
	damaged := func(line int, err error) error {
		return journalError("read journal", j.store.String(), restoreHint,
			fmt.Errorf("%w: line %d: %w", ErrJournalDamaged, line, err))
	}
	if len(lines) == 0 {
		return journalError("read journal", j.store.String(), "name a journal; nothing was changed",
			fmt.Errorf("%w: it is not a journal", ErrJournalDamaged))
	}
	raw, sum, err := unseal(lines[0], nil)
	if err == nil {
		err = decode(raw, &j.head)
	}
	switch {
	case err == nil && j.head.Format == journalFormat && j.head.ID != "":
	case err != nil && !looksLikeJournal(lines[0]):
		return journalError("read journal", j.store.String(), "name a journal; nothing was changed",
			fmt.Errorf("%w: it is not a journal", ErrJournalDamaged))
	case err == nil:
		return damaged(1, fmt.Errorf("format %q, want %q", Printable(j.head.Format), journalFormat))
	default:
		return damaged(1, err)
	}
	j.lines, j.fold.lastAt = 1, j.head.At
	last := sum
	var rec record
	for i, line := range lines[1:] {
		rec = record{}
		if raw, sum, err = unseal(line, raw); err == nil {
			err = decode(raw, &rec)
		}
		switch {
		case err != nil:
		case rec.N != i+1:
			err = fmt.Errorf("record number %d, want %d", rec.N, i+1)
		case rec.Prev != string(last):
			err = errors.New("it does not follow from the line before")
		default:
			err = rec.check(j.fold.steps)
		}
		if err != nil {
			return damaged(i+2, err)
		}
		j.fold.apply(&rec)
		last, j.lines = sum, i+2
	}
	j.last = string(last)
	return nil
}

func looksLikeJournal(line []byte) bool {
	var h struct {
		Format string `json:"format"`
	}
	return json.Unmarshal(line, &h) == nil && len(h.Format) >= 9 && h.Format[:9] == journalFormat[:9]
}

// append writes one record and returns when it is durable. The fold takes what was written, so that it says the same
// when the journal is read back.
func (j *Journal) append(rec record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.writer == nil:
		return journalError("write journal", j.store.String(), "open it with OpenJournal", errors.New("opened for reading"))
	case j.closed:
		return journalError("write journal", j.store.String(), "open it again", errors.New("it is closed"))
	}
	rec.N, rec.Prev, rec.At = j.lines, j.last, time.Now().UTC()
	raw, err := json.Marshal(&rec)
	var written record
	if err == nil {
		err = decode(raw, &written)
	}
	if err == nil {
		err = written.check(j.fold.steps)
	}
	if err != nil {
		return journalError("write journal", j.store.String(), "report this as a bug", err)
	}
	line, sum := seal(raw)
	if err := j.write(line); err != nil {
		return journalError("write journal", j.store.String(),
			"find out why it cannot be written, then run again with the same journal", err)
	}
	j.last, j.lines = sum, j.lines+1
	j.fold.apply(&written)
	return nil
}

// write keeps a panic of the store inside.
func (j *Journal) write(line []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("append to the store: %w", ErrPanicked)
		}
	}()
	return j.writer.Append(line)
}

// begin ties a fresh journal to the procedure, or checks that it belongs to it. Another version of the program may go
// on when it still has every step that was touched.
func (j *Journal) begin(def definition) error {
	j.mu.Lock()
	known, err := j.fold.fits(def)
	j.mu.Unlock()
	if err != nil {
		return journalError("open journal", j.store.String(), NextOf(err), err)
	}
	if known {
		return nil
	}
	return j.append(record{Type: recProcedure, Def: &def})
}

// with is the journal as it would be read with a procedure, for a plan. It writes nothing.
func (j *Journal) with(def definition) (*Journal, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	known, err := j.fold.fits(def)
	if err != nil || known || len(j.fold.defs) == 0 {
		return j, err
	}
	f := *j.fold
	f.defs, f.outages = slices.Clip(f.defs), map[string]*outageState{}
	f.define(def)
	return &Journal{store: j.store, head: j.head, fold: &f}, nil
}

func (p Procedure) definition() definition {
	def := definition{Name: p.Name, Hash: p.Definition(), Parameters: p.Parameters, Steps: p.info()}
	if info, ok := debug.ReadBuildInfo(); ok {
		def.Program = info.Path + " " + info.Main.Version
		def.Library = moduleVersion(info)
	}
	return def
}

func moduleVersion(info *debug.BuildInfo) string {
	const module = "github.com/01b61c5c/failover"
	for _, dep := range info.Deps {
		if dep.Path == module {
			return dep.Version
		}
	}
	if info.Main.Path == module {
		return info.Main.Version
	}
	return ""
}

// fits reports whether the newest procedure of the journal is this very one. It refuses one that could not go on.
func (f *fold) fits(def definition) (bool, error) {
	old := f.def()
	if len(f.defs) == 0 {
		return false, nil
	}
	if old.Hash == def.Hash {
		return true, nil
	}
	wrong := func(next, format string, args ...any) error {
		return &Error{Op: "compare the procedure", Target: def.Name, Outcome: NotApplied, Next: next,
			Err: fmt.Errorf("%w: "+format, append([]any{ErrWrongJournal}, args...)...)}
	}
	if old.Name != def.Name {
		return false, wrong("name the journal of this procedure, or create one", "it was begun for %s, this is %s",
			old.Name, def.Name)
	}
	if !slices.Equal(old.Parameters, def.Parameters) {
		return false, wrong("resume with the parameters the journal was begun with", "%s",
			differing(old.Parameters, def.Parameters))
	}
	for _, was := range old.Steps {
		if !f.step(was.ID).touched() {
			continue
		}
		at := slices.IndexFunc(def.Steps, func(s StepInfo) bool { return s.ID == was.ID })
		switch {
		case at < 0:
			return false, wrong("go on, or undo, with the version of the program that has the step",
				"the step %s was begun, and this version of the procedure has no such step", was.ID)
		case def.Steps[at].Kind != was.Kind || def.Steps[at].Target != was.Target:
			return false, wrong("go on, or undo, with the version of the program that began it",
				"the step %s was begun as a %s on %s, and is a %s on %s in this version", was.ID, was.Kind, was.Target,
				def.Steps[at].Kind, def.Steps[at].Target)
		}
	}
	return false, nil
}

func differing(old, now []Parameter) string {
	values := map[string]string{}
	for _, p := range now {
		values[p.Name] = p.Value
	}
	for _, p := range old {
		if v, ok := values[p.Name]; !ok || v != p.Value {
			return fmt.Sprintf("the parameter %s was %q and is %q now", p.Name, p.Value, v)
		}
		delete(values, p.Name)
	}
	for name, value := range values {
		return fmt.Sprintf("the parameter %s was not there and is %q now", name, value)
	}
	return "it was begun with other parameters"
}

// Resolve settles a step whose outcome is in doubt by a person's word: Applied lets the run go on behind it, NotApplied
// lets it be applied again. For an undo in doubt, Applied says that the change was taken back. It refuses a step that
// is not in doubt, and it refuses NotApplied for a Once that is proven to have taken effect. While a run uses the
// journal it fails with ErrJournalBusy.
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
	if err := j.enter(); err != nil { // what is under way looks like what is in doubt
		return err
	}
	defer j.leave()
	refused := func(next, why string) error {
		return &Error{Op: "resolve", Target: step, Outcome: NotApplied, Next: next,
			Err: fmt.Errorf("%w: %s", ErrPrecondition, why)}
	}
	st := j.state(step)
	switch {
	case st.effect == effectPartly && !st.undoOpen:
	case st.status() != StatusInDoubt:
		return refused("resolve only what status shows as in doubt", "the step is not in doubt")
	case st.effect == effectFired && !st.undoOpen && outcome == NotApplied:
		return refused("resolve it as applied when the target is as it should be", "it is proven that the step took effect")
	}
	return j.append(record{Type: recResolve, Step: step, Outcome: &outcome, Actor: actor, Reason: reason, From: j.from()})
}

// Confirm records a person's word that a Manual step is done. The run must have come to the step and wait there. The
// next run verifies the word by the step's observation, where there is one; a word that was not borne out has to be
// given again. It refuses every other step: a Check is waived and a doubt is resolved.
func (j *Journal) Confirm(step string, s Statement) error {
	if err := s.Validate("Confirm"); err != nil {
		return err
	}
	known, err := j.knows(step)
	if err != nil {
		return err
	}
	if known.Kind != Manual {
		return Invalid("step "+step, "is a "+known.Kind.String()+" and not done by hand",
			"confirm manual steps only; resolve what is in doubt, waive a check when running")
	}
	if st := j.state(step); st.status() != StatusWaiting && st.status() != StatusFailed {
		return &Error{Op: "confirm", Target: step, Outcome: NotApplied,
			Next: "run first: the run says when it waits for this step",
			Err:  fmt.Errorf("%w: the run has not come to the step, or is past it", ErrPrecondition)}
	}
	return j.append(record{Type: recConfirm, Step: step, Actor: s.By, Found: s.Says, Reason: s.Reason, From: j.from()})
}

func (j *Journal) from() string { return j.holder.from() }

// from names the place a decision came from.
func (h Holder) from() string {
	switch {
	case h.User == "":
		return h.Host
	case h.Host == "":
		return h.User
	}
	return h.User + "@" + h.Host
}

func (j *Journal) knows(step string) (StepInfo, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	steps := j.fold.def().Steps
	if i := slices.IndexFunc(steps, func(s StepInfo) bool { return s.ID == step }); i >= 0 {
		return steps[i], nil
	}
	return StepInfo{}, unknownStep("the procedure of "+j.store.String(), step)
}

func (j *Journal) state(step string) stepState {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fold.step(step)
}

// mayLack reports whether the step may have been begun once more than the journal knows: one that was opened may have
// lost its end.
func (j *Journal) mayLack(st stepState) bool { return st.intent < j.opened }

// enter lets one run or undo of this process write at a time; the store keeps other holders out.
func (j *Journal) enter() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running {
		return journalError("use journal", j.store.String(), "wait for the run that uses it to end", ErrJournalBusy)
	}
	j.running = true
	return nil
}

func (j *Journal) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.running = false
}

func (j *Journal) claim(o RunOptions) Claim {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := Claim{ID: j.holder.Token, Journal: j.head.ID, Holder: j.holder, Epoch: j.fold.epoch, Owner: o.Actor,
		Purpose: j.fold.def().Name + ": " + o.Reason, Since: j.head.At}
	if j.writer != nil {
		c.Place = j.writer.Place()
	}
	return c
}

func hashLine(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}
