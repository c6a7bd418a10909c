package failover

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
)

// Parameter is one setting of a procedure that changes what it does. Parameters are part of the definition hash, so
// a journal cannot be resumed with others. They never hold secrets.
type Parameter struct {
	Name  string `json:"name"`  // unique within the procedure
	Value string `json:"value"` // as it is shown and hashed; no secret
}

// Stage is a named part of a procedure: steps that belong together and follow each other.
type Stage struct {
	Name   string // for example prepare; the ID of its step "clear" is prepare/clear
	Outage bool   // the service is down for its users while the stage runs
	Steps  []Step // in order; their IDs are unique within the stage
}

// Procedure is an ordered list of stages and the lock under which their steps run. It is a value: copy it, insert steps
// of your own, run it.
type Procedure struct {
	Name       string      // for example symitar.Switchover; part of the definition hash; shows itself, at most 200 bytes
	Parameters []Parameter // part of the definition hash; names are unique
	Stages     []Stage     // in order; the ID of a step is its stage's name, a slash and its own ID
	Lock       Lock        // nil: nothing to lock, for example in a single-operator lab

	parts []part // of a joined procedure
	limit int    // how many parts run side by side
	flat  bool   // what follows is filled in
	steps []Step // of all stages and parts, under their whole IDs
	down  []bool // per step: the service is down while it runs
	in    []int  // per step: the part it belongs to
}

// flatten puts the steps of all stages into one list.
func (p Procedure) flatten() Procedure {
	if p.flat {
		return p
	}
	p.flat = true
	for _, stage := range p.Stages {
		for _, s := range stage.Steps {
			if s.Guards != "" && slices.ContainsFunc(stage.Steps, func(g Step) bool { return g.ID == s.Guards }) {
				s.Guards = stage.Name + "/" + s.Guards
			}
			s.ID = stage.Name + "/" + s.ID
			p.steps, p.down = append(p.steps, s), append(p.down, stage.Outage)
		}
	}
	p.in = make([]int, len(p.steps))
	return p
}

// AllSteps returns the steps of all stages and parts in order, under their whole IDs: what a plan lists.
func (p Procedure) AllSteps() []Step { return slices.Clone(p.flatten().steps) }

// Validate refuses a procedure the engine could not run safely: a step without a way to observe it, a name that would
// not stay the same in a journal, an ID, parameter or fact used twice, a guard that names no step.
func (p Procedure) Validate() error {
	if err := checkName("Procedure.Name", p.Name); err != nil {
		return err
	}
	if err := validateStages(p.Stages); err != nil {
		return err
	}
	p = p.flatten()
	if len(p.steps) == 0 {
		return Invalid("Procedure.Stages", "have no steps", "add steps")
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
	for i, s := range p.steps {
		if err := s.validate(); err != nil {
			return err
		}
		if _, twice := index[s.ID]; twice {
			return Invalid("step "+s.ID, "appears twice", "give each step its own ID")
		}
		index[s.ID] = i
		for _, name := range s.Writes {
			scoped := p.part(i) + "/" + name
			if first := writer[scoped]; first != "" {
				return Invalid("fact "+name, "is written by "+first+" and by "+s.ID,
					"give each its own name, or name it in Shares of the second step")
			}
			writer[scoped] = s.ID
		}
	}
	for i, s := range p.steps {
		if at, known := index[s.Guards]; s.Guards != "" && (!known || at <= i) {
			return Invalid("step "+s.ID+".Guards", s.Guards+" is no step behind it", "name a step that comes later")
		}
	}
	return nil
}

func validateStages(stages []Stage) error {
	seen := map[string]bool{}
	for _, stage := range stages {
		if err := checkName("Stage.Name", stage.Name); err != nil {
			return err
		}
		switch {
		case strings.Contains(stage.Name, "/"):
			return Invalid("stage "+stage.Name, "has a slash in its name", "the slash stands between stage and step")
		case seen[stage.Name]:
			return Invalid("stage "+stage.Name, "appears twice", "give each stage its own name")
		}
		seen[stage.Name] = true
		for _, s := range stage.Steps {
			if err := checkName("Step.ID", s.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// Definition is the hash over everything that makes an approval mean something: name, parameters, and of every step its
// ID, kind, target, limits, whether it is firm, what it guards, whether it can be undone and whether it lies in the
// outage.
func (p Procedure) Definition() string {
	type stepDefinition struct {
		ID, Target, Guards, Part string
		Kind                     Kind
		Firm, Entry, Wait        bool
		Attempts                 int
		Timeout                  string
		CanUndo, Outage          bool
	}
	def := struct {
		Name       string
		Parameters []Parameter
		Steps      []stepDefinition
		After      map[string][]string
	}{Name: p.Name, Parameters: p.Parameters, After: map[string][]string{}}
	p = p.flatten()
	for i, s := range p.steps {
		def.Steps = append(def.Steps,
			stepDefinition{ID: s.ID, Target: s.Target, Guards: s.Guards, Part: p.part(i), Kind: s.Kind, Firm: s.Firm,
				Entry: s.Entry, Wait: s.Wait, Attempts: s.attempts(), Timeout: s.timeout().String(), CanUndo: s.canUndo(),
				Outage: p.down[i]})
	}
	for _, part := range p.parts {
		def.After[part.name] = part.after
	}
	return hashJSON(def)
}

// InsertBefore returns a copy of the procedure with steps put before the step called id, into the same stage.
func (p Procedure) InsertBefore(id string, steps ...Step) (Procedure, error) {
	return p.edit(id, func(list []Step, at int) []Step { return slices.Insert(list, at, steps...) })
}

// InsertAfter returns a copy of the procedure with steps put after the step called id, into the same stage.
func (p Procedure) InsertAfter(id string, steps ...Step) (Procedure, error) {
	return p.edit(id, func(list []Step, at int) []Step { return slices.Insert(list, at+1, steps...) })
}

// Replace returns a copy of the procedure in which step takes the place of the step called id.
func (p Procedure) Replace(id string, step Step) (Procedure, error) {
	return p.edit(id, func(list []Step, at int) []Step {
		list[at] = step
		return list
	})
}

func (p Procedure) edit(id string, change func(list []Step, at int) []Step) (Procedure, error) {
	if len(p.parts) > 0 {
		return p, Invalid("Procedure", p.Name+" is joined", "insert the steps into its part before it is joined")
	}
	stageName, stepID, _ := strings.Cut(id, "/")
	for n, stage := range p.Stages {
		at := slices.IndexFunc(stage.Steps, func(s Step) bool { return s.ID == stepID })
		if stage.Name != stageName || at < 0 {
			continue
		}
		p.Stages = slices.Clone(p.Stages)
		p.Stages[n].Steps = change(slices.Clone(stage.Steps), at)
		return p, nil
	}
	return p, unknownStep(p.Name, id)
}

func (p Procedure) index(id string) int {
	return slices.IndexFunc(p.flatten().steps, func(s Step) bool { return s.ID == id })
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
