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
	Name       string      // for example symitar.Switchover; part of the definition hash
	Parameters []Parameter // part of the definition hash
	Steps      []Step      // in order; IDs are unique
	Outage     Window      // zero: users notice nothing
	Lock       Lock        // nil: nothing to lock, for example in a single-operator lab
}

// Validate refuses a procedure the engine could not run safely: a step without a way to observe it, an ID used
// twice, an outage window that names no step.
func (p Procedure) Validate() error {
	if p.Name == "" {
		return Invalid("Procedure.Name", "is empty", "name the procedure, for example symitar.Switchover")
	}
	if len(p.Steps) == 0 {
		return Invalid("Procedure.Steps", "is empty", "add steps")
	}
	seen := map[string]bool{}
	for _, s := range p.Steps {
		if err := s.validate(); err != nil {
			return err
		}
		if seen[s.ID] {
			return Invalid("step "+s.ID, "appears twice", "give each step its own ID")
		}
		seen[s.ID] = true
	}
	if p.Outage != (Window{}) {
		from, to := p.index(p.Outage.From), p.index(p.Outage.To)
		if from < 0 || to < 0 || from > to {
			return Invalid("Procedure.Outage", "does not name two steps in order", "name the first and the last step of the outage")
		}
	}
	return nil
}

// Definition is the hash over name, parameters and every step's ID, kind and target. It ties a journal to the
// procedure that wrote it.
func (p Procedure) Definition() string {
	type stepID struct {
		ID, Target string
		Kind       Kind
	}
	def := struct {
		Name       string
		Parameters []Parameter
		Steps      []stepID
	}{Name: p.Name, Parameters: p.Parameters}
	for _, s := range p.Steps {
		def.Steps = append(def.Steps, stepID{s.ID, s.Target, s.Kind})
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

// inOutage reports whether the step at index i lies in the outage window.
func (p Procedure) inOutage(i int) bool {
	return p.Outage != (Window{}) && i >= p.index(p.Outage.From) && i <= p.index(p.Outage.To)
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
