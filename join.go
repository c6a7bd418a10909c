package failover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Part is one procedure of a joined one.
type Part struct {
	Name      string    // unique within the joined procedure; stands in front of the part's step IDs, facts and parameters
	Procedure Procedure // as it would be run alone
	After     []string  // names of parts that must have completed before this one begins; they stand before it
}

// JoinOptions says how parts run together.
type JoinOptions struct {
	Name  string // of the joined procedure
	Limit int    // how many parts run side by side; 0 means all that can
}

// part is what a joined procedure keeps of a Part.
type part struct {
	name     string
	after    []string
	from, to int // its steps
}

// Join makes one procedure of several. Independent parts run side by side, each in its own order; a part begins when
// the parts in its After have completed. The checks at the head of all parts come before the first change of any; a part
// that had to wait looks at its own again. Step IDs, facts, parameters and outages are each part's own. All locks are
// taken in the order of the parts, under one claim, before anything is changed, and given back together.
//
// A part that stops keeps those from beginning that come after it, and nothing else: the others run to their end, and
// Run returns the errors as [Targets], one per part. Undo goes back in the reverse order, one step at a time. The
// report is one, with the part of each step.
func Join(o JoinOptions, parts ...Part) (Procedure, error) {
	joined := Procedure{Name: o.Name, flat: true, limit: o.Limit}
	if len(parts) == 0 {
		return Procedure{}, Invalid("Join", "has no parts", "name at least one")
	}
	if o.Limit < 0 {
		return Procedure{}, Invalid("JoinOptions.Limit", "is negative", "use zero for no limit")
	}
	var locks []Lock
	seen := map[string]bool{}
	for n, p := range parts {
		if err := p.validate(seen); err != nil {
			return Procedure{}, err
		}
		seen[p.Name] = true
		inner := p.Procedure.flatten()
		if len(inner.parts) > 0 {
			return Procedure{}, Invalid("part "+p.Name, "is itself joined", "name its parts here")
		}
		from := len(joined.steps)
		for i, s := range inner.steps {
			s.ID = p.Name + "/" + s.ID
			if s.Guards != "" {
				s.Guards = p.Name + "/" + s.Guards
			}
			joined.steps = append(joined.steps, s)
			joined.down, joined.in = append(joined.down, inner.down[i]), append(joined.in, n)
		}
		joined.Parameters = append(joined.Parameters, Parameter{Name: p.Name, Value: inner.Name})
		for _, param := range inner.Parameters {
			joined.Parameters = append(joined.Parameters, Parameter{Name: p.Name + "/" + param.Name, Value: param.Value})
		}
		if inner.Lock != nil {
			locks = append(locks, inner.Lock)
		}
		joined.parts = append(joined.parts,
			part{name: p.Name, after: slices.Clone(p.After), from: from, to: len(joined.steps)})
	}
	if len(locks) > 0 {
		joined.Lock = Locks(locks...)
	}
	return joined, joined.Validate()
}

func (p Part) validate(before map[string]bool) error {
	if err := checkName("Part.Name", p.Name); err != nil {
		return err
	}
	switch {
	case strings.Contains(p.Name, "/"):
		return Invalid("part "+p.Name, "has a slash in its name", "the slash stands between part and stage")
	case before[p.Name]:
		return Invalid("part "+p.Name, "appears twice", "give each part its own name")
	}
	for _, name := range p.After {
		if !before[name] {
			return Invalid("part "+p.Name+".After", name+" is no part before it", "name parts that stand before it")
		}
	}
	return p.Procedure.Validate()
}

// part is the name of the part a step belongs to, or "".
func (p Procedure) part(i int) string {
	if len(p.parts) == 0 {
		return ""
	}
	return p.parts[p.in[i]].name
}

// lane is what a run knows of a part.
type lane struct {
	from, to int
	begun    int   // index of the last step that was begun before this run, or -1
	pending  int   // index of the last step that was not done before this run, Checks excepted, or -1
	looked   int64 // run.waits when its standing Checks were looked at last
}

func (p Procedure) lanes() []lane {
	if len(p.parts) == 0 {
		return []lane{{to: len(p.steps), begun: -1, pending: -1}}
	}
	lanes := make([]lane, len(p.parts))
	for n, part := range p.parts {
		lanes[n] = lane{from: part.from, to: part.to, begun: -1, pending: -1}
	}
	return lanes
}

// head lists the checks at the head of all parts, which are made before anything else.
func (r *run) head() (checks []int) {
	for _, lane := range r.lanes {
		for i := range r.checksFrom(lane.from, lane.to) {
			checks = append(checks, lane.from+i)
		}
	}
	return checks
}

// parts makes the checks at the head of all parts, then runs the parts, each behind those it depends on.
func (r *run) parts(ctx context.Context) error {
	if err := r.together(ctx, r.head()); err != nil {
		return err
	}
	limit := r.p.limit
	if limit == 0 {
		limit = len(r.p.parts)
	}
	place := make(chan struct{}, limit)
	ended := make(map[string]chan struct{}, len(r.p.parts))
	for _, part := range r.p.parts {
		ended[part.name] = make(chan struct{})
	}
	results := make(Targets, len(r.p.parts))
	failed := map[string]error{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for n, part := range r.p.parts {
		all.Go(func() {
			defer close(ended[part.name])
			err := r.one(ctx, n, place, ended, func(name string) error {
				mu.Lock()
				defer mu.Unlock()
				return failed[name]
			})
			mu.Lock()
			defer mu.Unlock()
			results[n], failed[part.name] = TargetResult{Target: part.name, Err: err}, err
		})
	}
	all.Wait()
	return results.Err()
}

// one runs a part when its turn has come.
func (r *run) one(ctx context.Context, n int, place chan struct{}, ended map[string]chan struct{},
	failed func(string) error) error {
	part, lane := r.p.parts[n], &r.lanes[n]
	for _, name := range part.after {
		<-ended[name] // every part ends, soon after ctx has
		if stop := failed(name); stop != nil {
			next := cmp.Or(NextOf(stop), "run again with the same journal once it can go on")
			if !errors.Is(stop, errBefore) { // what it waits for stands in its own text
				next = "for the part " + name + ": " + next
			}
			return &Error{Op: "begin", Target: part.name, Outcome: NotApplied, Next: next,
				Err: fmt.Errorf("%w: not begun, since the part %s has stopped", errBefore, name)}
		}
	}
	waits := len(part.after) > 0
	select {
	case place <- struct{}{}:
	default:
		waits = true
		place <- struct{}{}
	}
	defer func() { <-place }()
	if waits { // its checks were looked at before the first part began
		lane.looked = -1
	}
	return r.between(ctx, part.from, part.to)
}

// errBefore marks a part that was not begun because of another one.
var errBefore = errors.New("waits for another part")
