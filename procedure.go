package failover

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Parameter is one setting of a procedure that changes what it does. Parameters are part of the definition hash, so
// a journal cannot be resumed with others. They never hold secrets.
type Parameter struct {
	Name  string `json:"name"`  // unique within the procedure
	Value string `json:"value"` // as it is shown and hashed; no secret
}

// Window names the first and the last step during which the service is down for its users.
type Window struct {
	From string `json:"from"` // ID of the step with which it begins
	To   string `json:"to"`   // ID of the step at whose end it ends
}

// Procedure is an ordered list of steps and the lock under which they run. It is a value: copy it, insert steps of
// your own, run it.
type Procedure struct {
	Name       string      // for example symitar.Switchover; part of the definition hash; shows itself, at most 200 bytes
	Parameters []Parameter // part of the definition hash; names are unique
	Steps      []Step      // in order; IDs are unique
	Outage     Window      // zero: users notice nothing
	Lock       Lock        // nil: nothing to lock, for example in a single-operator lab
}

// Validate refuses a procedure the engine could not run safely: a step without a way to observe it, a name that would not
// stay the same in a journal, an ID, parameter or fact used twice, an outage window or a guard that names no step.
func (p Procedure) Validate() error {
	if err := checkName("Procedure.Name", p.Name); err != nil {
		return err
	}
	if len(p.Steps) == 0 {
		return Invalid("Procedure.Steps", "is empty", "add steps")
	}
	parameters := map[string]bool{}
	for _, param := range p.Parameters {
		if err := checkName("Parameter.Name", param.Name); err != nil {
			return err
		}
		if parameters[param.Name] {
			return Invalid("parameter "+param.Name, "appears twice", "give each parameter its own name")
		}
		parameters[param.Name] = true
	}
	index, writer := map[string]int{}, map[string]string{}
	for i, s := range p.Steps {
		if err := s.validate(); err != nil {
			return err
		}
		if _, twice := index[s.ID]; twice {
			return Invalid("step "+s.ID, "appears twice", "give each step its own ID")
		}
		index[s.ID] = i
		for _, name := range s.Writes {
			if first := writer[name]; first != "" {
				return Invalid("fact "+name, "is written by "+first+" and by "+s.ID, "give each its own name, or name it in Shares of the second step")
			}
			writer[name] = s.ID
		}
	}
	for i, s := range p.Steps {
		if at, known := index[s.Guards]; s.Guards != "" && (!known || at <= i) {
			return Invalid("step "+s.ID+".Guards", s.Guards+" is no step behind it", "name a step that comes later")
		}
	}
	if p.Outage != (Window{}) {
		from, knowsFrom := index[p.Outage.From]
		to, knowsTo := index[p.Outage.To]
		if !knowsFrom || !knowsTo || from > to {
			return Invalid("Procedure.Outage", "does not name two steps in order", "name the first and the last step of the outage")
		}
	}
	return nil
}

// Definition is the hash over everything that makes an approval mean something: name, parameters, and of every step its
// ID, kind, target, limits, whether it is firm, what it guards, whether it can be undone and whether it lies in the outage.
func (p Procedure) Definition() string {
	type stepDefinition struct {
		ID, Target, Guards string
		Kind               Kind
		Firm, Entry, Wait  bool
		Attempts           int
		Timeout            string
		CanUndo, Outage    bool
	}
	def := struct {
		Name       string
		Parameters []Parameter
		Steps      []stepDefinition
	}{Name: p.Name, Parameters: p.Parameters}
	outage := p.outageSteps()
	for i, s := range p.Steps {
		def.Steps = append(def.Steps, stepDefinition{ID: s.ID, Target: s.Target, Guards: s.Guards, Kind: s.Kind, Firm: s.Firm, Entry: s.Entry,
			Wait: s.Wait, Attempts: s.attempts(), Timeout: s.timeout().String(), CanUndo: s.canUndo(), Outage: outage[i]})
	}
	return hashJSON(def)
}

// InsertBefore returns a copy of the procedure with steps put before the step called id.
func (p Procedure) InsertBefore(id string, steps ...Step) (Procedure, error) {
	return p.insert(id, 0, steps)
}

// InsertAfter returns a copy of the procedure with steps put after the step called id.
func (p Procedure) InsertAfter(id string, steps ...Step) (Procedure, error) {
	return p.insert(id, 1, steps)
}

// Replace returns a copy of the procedure in which step takes the place of the step called id.
func (p Procedure) Replace(id string, step Step) (Procedure, error) {
	at := p.index(id)
	if at < 0 {
		return p, unknownStep(p.Name, id)
	}
	p.Steps = slices.Clone(p.Steps)
	p.Steps[at] = step
	return p, nil
}

func (p Procedure) insert(id string, offset int, steps []Step) (Procedure, error) {
	at := p.index(id)
	if at < 0 {
		return p, unknownStep(p.Name, id)
	}
	p.Steps = slices.Insert(slices.Clone(p.Steps), at+offset, steps...)
	return p, nil
}

func (p Procedure) index(id string) int {
	return slices.IndexFunc(p.Steps, func(s Step) bool { return s.ID == id })
}

// outageSteps says of each step whether it lies in the outage window.
func (p Procedure) outageSteps() []bool {
	in, inside := make([]bool, len(p.Steps)), false
	for i, s := range p.Steps {
		inside = inside || s.ID == p.Outage.From && p.Outage.From != ""
		in[i] = inside
		inside = inside && s.ID != p.Outage.To
	}
	return in
}

func unknownStep(procedure, id string) error {
	return Invalid("step "+id, "is not part of "+procedure, "use an ID the plan lists")
}

func hashJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		// Only our own plain structs come here; they always marshal.
		raw = []byte(err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
