package opcon

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
)

// scope is what concerns a machine at one moment. The server has no such join; it is computed from the daily jobs of
// every built date.
type scope struct {
	machine   Machine
	dates     []Date
	schedules map[ScheduleID]Schedule
	jobs      []Job                     // jobs that touch the machine
	rootOf    map[ScheduleID]ScheduleID // schedules that hold such jobs, and the outermost schedule of each
	roots     []ScheduleID              // those outermost schedules, sorted by date and name
	running   map[ScheduleID]bool       // roots under which one of the jobs runs or may run
	groups    map[string]bool           // the machine's groups, in lower case
}

// runningJobs returns the jobs that run on the machine or may.
func (sc *scope) runningJobs() []Job {
	return slices.DeleteFunc(slices.Clone(sc.jobs), func(j Job) bool { return !j.mayRunOn(sc.machine, sc.groups) })
}

// scopeFor reads the scope of the record's machine, on the record's dates too. Where schedules were seen before and none
// is shown any more, that is no proof that nothing can start.
func (c *Client) scopeFor(ctx context.Context, r Record, extra []Date, age time.Duration) (scope, error) {
	extra = slices.Clone(extra)
	for _, s := range r.Schedules {
		extra = append(extra, s.Date)
	}
	sc, err := c.scopeOf(ctx, r.Machine, extra, age)
	if err == nil && len(sc.roots) == 0 && len(r.Schedules) > 0 {
		c.surveys.Delete(r.Machine.ID) // what it rests on is not believed
		err = unchanged("read daily schedules of", r.Machine.Name,
			"check the service account's schedule and department access, then run again",
			fmt.Errorf("%w: OpCon shows none, and there were %d", ErrNotFound, len(r.Schedules)))
	}
	return sc, err
}

// scopeOf reads the scope. All built dates count. Of a date before yesterday the jobs are read only when one of its
// schedules is unfinished: a finished one starts nothing. Dates and schedules are read every time. The jobs are those
// of the last survey if it is no older than age, with the jobs of schedules that are new since; see [Client.jobsOf].
func (c *Client) scopeOf(ctx context.Context, m Machine, extra []Date, age time.Duration) (scope, error) {
	dates, err := c.allDates(ctx, extra)
	if err != nil {
		return scope{}, err
	}
	list, err := c.Schedules(ctx, dates)
	if err != nil {
		return scope{}, err
	}
	yesterday := Date(c.serverNow().AddDate(0, 0, -1).Format(time.DateOnly))
	open := map[Date]bool{}
	sc := scope{machine: m, schedules: map[ScheduleID]Schedule{}, rootOf: map[ScheduleID]ScheduleID{},
		running: map[ScheduleID]bool{}}
	for _, s := range list {
		sc.schedules[s.ID] = s
		if s.State != ScheduleFinished {
			open[s.Date] = true
		}
	}
	for _, d := range dates {
		if d >= yesterday || open[d] || slices.Contains(extra, d) {
			sc.dates = append(sc.dates, d)
		}
	}
	if sc.jobs, sc.groups, err = c.jobsOf(ctx, m, sc, age); err != nil {
		return scope{}, unchanged("read daily jobs of", m.Name, failover.NextOf(err), err)
	}
	slices.SortFunc(sc.jobs, func(a, b Job) int { return cmp.Compare(a.ID, b.ID) })
	err = c.climb(ctx, &sc)
	return sc, err
}

// climb finds the schedules of the jobs and their outermost schedules.
func (c *Client) climb(ctx context.Context, sc *scope) error {
	if err := c.fill(ctx, sc, convert(sc.jobs, func(j Job) ScheduleID { return j.Schedule })); err != nil {
		return err
	}
	for _, j := range sc.jobs {
		s, ok := sc.schedules[j.Schedule]
		if !ok {
			return unchanged("read daily schedules of", sc.machine.Name, "check the service account's schedule access",
				fmt.Errorf("%w: job %s belongs to schedule %s, which cannot be read", ErrNotFound, j, j.Schedule))
		}
		root, err := c.rootOf(ctx, sc, s)
		if err != nil {
			return err
		}
		sc.rootOf[s.ID] = root
		if j.Category == JobRunning || j.Category == JobUnknown {
			sc.running[root] = true
		}
	}
	sc.roots = slices.Compact(sc.sorted(maps.Values(sc.rootOf)))
	return nil
}

// sorted returns ids in the order of date and name.
func (sc *scope) sorted(ids iter.Seq[ScheduleID]) []ScheduleID {
	return slices.SortedFunc(ids, func(a, b ScheduleID) int {
		x, y := sc.schedules[a], sc.schedules[b]
		return cmp.Or(cmp.Compare(x.Date, y.Date), cmp.Compare(x.Name, y.Name), cmp.Compare(a, b))
	})
}

// fill reads the schedules that were not read with their dates.
func (c *Client) fill(ctx context.Context, sc *scope, ids []ScheduleID) error {
	slices.Sort(ids)
	ids = slices.DeleteFunc(slices.Compact(ids), func(id ScheduleID) bool {
		_, known := sc.schedules[id]
		return known || id == ""
	})
	more, err := c.schedulesByID(ctx, ids)
	maps.Copy(sc.schedules, more)
	return err
}

// recent is what was read last. Each step may take it once within a second, instead of reading the same again: to hold
// what it has just looked at, to see what its own change saw at its end, or to begin where the step before has ended.
type recent[T any] struct {
	mu    sync.Mutex
	value T
	at    time.Time
	whole bool // of a scope: the jobs were read with it
	taken map[string]bool
}

func (r *recent[T]) put(value T, at time.Time, age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value, r.at, r.whole, r.taken = value, at, age == 0, map[string]bool{}
}

func (r *recent[T]) take(step string, age time.Duration) (T, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) > time.Second || r.taken[step] || (age == 0 && !r.whole) {
		var none T
		return none, false
	}
	r.taken[step] = true
	return r.value, true
}

// get takes what was read last, or reads it.
func (r *recent[T]) get(step string, age time.Duration, read func() (T, error)) (T, error) {
	value, ok := r.take(step, age)
	if ok {
		return value, nil
	}
	began := time.Now()
	value, err := read()
	if err == nil {
		r.put(value, began, age)
	}
	return value, err
}

// forget is called before a change: what was read before says nothing of how things stand behind it.
func (r *recent[T]) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = time.Time{}
}

func (c *Client) rootOf(ctx context.Context, sc *scope, s Schedule) (ScheduleID, error) {
	const depth = 32 // how many containers deep a subschedule may lie
	for range depth {
		parent, ok, err := c.parentOf(ctx, sc, s)
		if err != nil {
			return "", err
		}
		if !ok {
			return s.ID, nil
		}
		s = parent
	}
	return "", unchanged("find the outermost schedule of", s.Name,
		"report the server's version: its container ids have another form", fmt.Errorf("no end after %d containers", depth))
}

// parentOf finds the schedule around s: the one whose id, with a bar, begins the container job's id; where a release
// gives no container job, the one whose name with an underscore begins the subschedule's name, which is how OpCon
// names subschedules (documented), or whose path begins its path (inferred).
func (c *Client) parentOf(ctx context.Context, sc *scope, s Schedule) (Schedule, bool, error) {
	if s.Container != "" {
		if p, ok := sc.longest(func(p Schedule) (int, bool) {
			return len(p.ID), p.ID != s.ID && strings.HasPrefix(s.Container, string(p.ID)+"|")
		}); ok {
			return p, true, nil
		}
		cut := strings.LastIndexByte(s.Container, '|')
		if cut <= 0 {
			return Schedule{}, false, nil
		}
		id := ScheduleID(s.Container[:cut])
		if err := c.fill(ctx, sc, []ScheduleID{id}); err != nil {
			return Schedule{}, false, err
		}
		p, ok := sc.schedules[id]
		return p, ok && p.ID != s.ID, nil
	}
	if open := strings.IndexByte(s.Name, '['); open > 0 {
		if p, ok := sc.longest(func(p Schedule) (int, bool) {
			return len(p.Name), p.ID != s.ID && p.Date == s.Date && len(p.Name) < len(s.Name) &&
				strings.HasPrefix(s.Name, p.Name+"_")
		}); ok {
			return p, true, nil
		}
	}
	if s.Path != "" && s.Path != s.Name {
		p, ok := sc.longest(func(p Schedule) (int, bool) {
			return len(p.Path), p.ID != s.ID && p.Path != "" && p.Date == s.Date && len(p.Path) < len(s.Path) &&
				(strings.HasPrefix(s.Path, p.Path+`\`) || strings.HasPrefix(s.Path, p.Path+"/"))
		})
		return p, ok, nil
	}
	return Schedule{}, false, nil
}

func (sc *scope) longest(match func(Schedule) (int, bool)) (Schedule, bool) {
	var best Schedule
	most := 0
	for _, p := range sc.schedules {
		if n, ok := match(p); ok && (n > most || (n == most && p.ID < best.ID)) {
			best, most = p, n
		}
	}
	return best, most > 0
}

// toHold returns what still has to be held so that no job of the machine starts: its root schedules, and below a root
// that is held or finished the subschedules that can start jobs. The vendor's pages differ on which subschedules follow
// their parent's hold, so none is trusted to, and a name alone may make one look like a subschedule.
func (sc *scope) toHold() []Schedule {
	var list []Schedule
	for _, id := range sc.roots {
		if s := sc.schedules[id]; needsHold(s.State, sc.running[id]) {
			list = append(list, s)
		}
	}
	for _, id := range sc.sorted(maps.Keys(sc.rootOf)) {
		s, root := sc.schedules[id], sc.schedules[sc.rootOf[id]]
		if id != root.ID && !needsHold(root.State, sc.running[root.ID]) &&
			(s.State == ScheduleRunning || s.State == ScheduleWaiting || s.State == ScheduleUnknown) {
			list = append(list, s)
		}
	}
	return list
}

func needsHold(s ScheduleState, jobRuns bool) bool {
	switch s {
	case ScheduleHeld, ScheduleParentHeld:
		return false
	case ScheduleFinished:
		return jobRuns
	}
	return true
}

// runningOn returns the jobs that OpCon shows running on m now. It asks for the category and checks on this side. A job
// whose category is not known, or that waits to be sent to a group, is not among them: see scope.runningJobs.
func (c *Client) runningOn(ctx context.Context, m Machine, extra []Date) ([]Job, error) {
	dates, err := c.allDates(ctx, extra)
	if err != nil {
		return nil, err
	}
	jobs, err := rowsBy(ctx, c, dailyJobs, "dates", dates, url.Values{"categories": {"Running"}})
	jobs = slices.DeleteFunc(jobs, func(j Job) bool { return !j.mayRunOn(m, nil) })
	slices.SortFunc(jobs, func(a, b Job) int { return cmp.Compare(a.ID, b.ID) })
	return jobs, err
}
