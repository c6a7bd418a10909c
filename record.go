package failover

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/01b61c5c/failover/internal/enum"
)

// recordType says what a line of the journal records.
type recordType int

const (
	recProcedure   recordType = iota + 1 // the procedure the journal belongs to, or another version of it
	recRun                               // a run began
	recUndo                              // an undo began
	recObserved                          // a step needed nothing, a Check was looked at, a person is waited for
	recIntent                            // the effect follows
	recOutcome                           // what is known of the effect
	recFact                              // a value for a later step
	recConsent                           // a person or a policy agreed to what was shown
	recReject                            // a person or a policy refused it
	recWaive                             // a person waived a Check for this run
	recConfirm                           // a person did a Manual step
	recResolve                           // a person settled a doubt
	recTakeOver                          // the lock was taken over, or that was tried
	recUndoIntent                        // the step's change is being taken back
	recUndoOutcome                       // what is known of that
	recEnd                               // a run or an undo ended
)

var recordNames = []string{0: "", recProcedure: "procedure", recRun: "run", recUndo: "undo", recObserved: "observed",
	recIntent:  "intent",
	recOutcome: "outcome", recFact: "fact", recConsent: "consent", recReject: "reject", recWaive: "waive",
	recConfirm: "confirm",
	recResolve: "resolve", recTakeOver: "take-over", recUndoIntent: "undo-intent", recUndoOutcome: "undo-outcome",
	recEnd: "end"}

func (t recordType) String() string               { return enum.Name(recordNames, t) }
func (t recordType) MarshalText() ([]byte, error) { return enum.Marshal(recordNames, t) }
func (t *recordType) UnmarshalText(text []byte) error {
	return enum.Parse(recordNames, text, t)
}

// proof says what an outcome rests on.
type proof int

const (
	proofAnswer   proof = iota // what the call itself said
	proofObserved              // the wanted state was seen
	proofProbed                // the step's Probe says so
	proofReverted              // what the call itself said: not applied any more
)

var proofNames = []string{proofAnswer: "answer", proofObserved: "observed", proofProbed: "probed",
	proofReverted: "reverted"}

func (p proof) MarshalText() ([]byte, error)     { return enum.Marshal(proofNames, p) }
func (p *proof) UnmarshalText(text []byte) error { return enum.Parse(proofNames, text, p) }

// record is one line of the journal behind the first.
type record struct {
	N       int             `json:"n"`
	Prev    string          `json:"prev"` // hash of the line before
	At      time.Time       `json:"at"`
	Type    recordType      `json:"type"`
	Step    string          `json:"step,omitempty"`
	Status  StepStatus      `json:"status,omitempty"`
	Outcome *Outcome        `json:"outcome,omitempty"`
	Proof   proof           `json:"proof,omitempty"`
	Found   string          `json:"found,omitempty"`
	Would   string          `json:"would,omitempty"`
	Note    string          `json:"note,omitempty"`
	Items   []Item          `json:"items,omitempty"`
	Targets []TargetOutcome `json:"targets,omitempty"`
	Error   string          `json:"error,omitempty"`
	Next    string          `json:"next,omitempty"`
	Actor   string          `json:"actor,omitempty"`
	From    string          `json:"from,omitempty"` // where an answer came from
	Reason  string          `json:"reason,omitempty"`
	Hash    PlanHash        `json:"hash,omitempty"`  // what a consent or an approval was given for
	Shown   []shownStep     `json:"shown,omitempty"` // what was shown
	Undo    bool            `json:"undo,omitempty"`  // the consent is for the undo
	Fact    string          `json:"fact,omitempty"`
	Key     string          `json:"key,omitempty"` // of an entry of the fact
	Value   json.RawMessage `json:"value,omitempty"`
	Said    []string        `json:"said,omitempty"` // the newest progress lines
	Result  Result          `json:"result,omitempty"`
	Holder  *Holder         `json:"holder,omitempty"`
	Epoch   int             `json:"epoch,omitempty"`
	Def     *definition     `json:"procedure,omitempty"`
}

// definition is what a journal keeps of its procedure: what is needed to tell about it without it, and to see which of
// its steps another version of the program still has.
type definition struct {
	Name       string      `json:"name"`
	Hash       string      `json:"hash"`
	Parameters []Parameter `json:"parameters,omitempty"`
	Steps      []StepInfo  `json:"steps"`
	Program    string      `json:"program,omitempty"` // main module and version of the program
	Library    string      `json:"library,omitempty"` // version of this module
}

// shownStep is one line of what somebody agreed to.
type shownStep struct {
	Step   string     `json:"step"`
	Action PlanAction `json:"action"`
	Found  string     `json:"found,omitempty"`
	Would  string     `json:"would,omitempty"`
	Items  []Item     `json:"items,omitempty"`
}

// forStep reports whether records of this type are about a step.
func (t recordType) forStep() bool {
	switch t {
	case recObserved, recIntent, recOutcome, recReject, recWaive, recConfirm, recResolve, recUndoIntent, recUndoOutcome:
		return true
	case recProcedure, recRun, recUndo, recFact, recConsent, recTakeOver, recEnd:
	}
	return false
}

// check refuses a record that this program would not have written.
func (rec *record) check(steps map[string]*stepState) error {
	var kind Kind
	st, known := steps[rec.Step]
	if known {
		kind = st.kind
	}
	changes := kind == Change || kind == Once
	settles := rec.Type == recOutcome || rec.Type == recResolve || rec.Type == recUndoOutcome
	switch {
	case rec.Type == 0:
		return errors.New("a record without a type")
	case len(steps) == 0 && rec.Type != recProcedure:
		return fmt.Errorf("a record of type %s before the procedure", rec.Type)
	case rec.Type == recProcedure && (rec.Def == nil || len(rec.Def.Steps) == 0):
		return errors.New("a procedure without steps")
	case rec.Type.forStep() && rec.Step == "":
		return fmt.Errorf("a record of type %s without a step", rec.Type)
	case rec.Step != "" && !known:
		return fmt.Errorf("the step %s is not part of the procedure", Printable(rec.Step))
	case settles && rec.Outcome == nil:
		return fmt.Errorf("a record of type %s without an outcome", rec.Type)
	case (rec.Type == recIntent || rec.Type == recOutcome || rec.Type == recUndoIntent || rec.Type == recUndoOutcome) &&
		!changes:
		return fmt.Errorf("a record of type %s for a %s", rec.Type, kind)
	case rec.Type == recWaive && kind != Check, rec.Type == recConfirm && kind != Manual:
		return fmt.Errorf("a record of type %s for a %s", rec.Type, kind)
	case rec.Type == recObserved && !observable(rec.Status):
		return fmt.Errorf("an observation with the status %s", rec.Status)
	case (rec.Type == recRun || rec.Type == recUndo) && rec.Holder == nil:
		return fmt.Errorf("a record of type %s without a holder", rec.Type)
	}
	return nil
}

func observable(s StepStatus) bool {
	return s == StatusAlready || s == StatusFailed || s == StatusConfirmed || s == StatusWaiting
}

// Every line ends with the hash of itself, and every line but the first names the hash of the one before.
const (
	sumField  = `,"sum":"`
	sumLength = 64
	sumEnd    = `"}`
)

// seal puts the hash of a marshaled record at its end.
func seal(raw []byte) (line []byte, sum string) {
	sum = hashLine(raw)
	return append(append(raw[:len(raw)-1:len(raw)-1], sumField+sum...), sumEnd...), sum
}

// unseal checks the hash at the end of a line and returns what it was made of, in the memory of buf, and the hash, in
// that of the line.
func unseal(line, buf []byte) (raw, sum []byte, err error) {
	at := len(line) - len(sumField) - sumLength - len(sumEnd)
	if at < 1 || !bytes.HasSuffix(line, []byte(sumEnd)) || !bytes.HasPrefix(line[at:], []byte(sumField)) {
		return buf, nil, errors.New("it does not end with a hash of itself")
	}
	raw = append(append(buf[:0], line[:at]...), '}')
	sum = line[at+len(sumField) : len(line)-len(sumEnd)]
	hash := sha256.Sum256(raw)
	var text [sumLength]byte
	if hex.Encode(text[:], hash[:]); !bytes.Equal(text[:], sum) {
		return raw, nil, errors.New("it is not what its own hash was made of")
	}
	return raw, sum, nil
}

// decode reads a marshaled record, strictly. It keeps nothing of raw.
func decode[T any](raw []byte, into *T) error {
	if rec, ok := any(into).(*record); ok && rec.plain(string(raw)) {
		return nil
	}
	*into = *new(T)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if dec.InputOffset() != int64(len(raw)) {
		return errors.New("text behind the record")
	}
	return nil
}
