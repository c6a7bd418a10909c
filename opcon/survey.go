package opcon

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
)

// surveyAge is how old a whole reading may be where only new schedules are looked for. Who ties a job to the machine in a
// schedule that is known already is found by the next whole reading, at the latest right before the machine goes down.
const surveyAge = 10 * time.Minute

// survey is what the jobs of all machines, read as a whole, say about one machine. The server has no call for it, and
// what its filters match is not documented: one that gave the same once may miss the next job.
type survey struct {
	at      time.Time           // of the whole reading
	grouped time.Time           // when the groups were read
	groups  map[string]bool     // of the machine, in lower case
	jobs    map[JobID]Job       // of the machine
	read    map[ScheduleID]int  // how many jobs were read of each schedule
	young   map[ScheduleID]bool // read once, perhaps in the middle of being built
}

func (s *survey) clone() *survey {
	c := *s
	c.jobs, c.read, c.young = maps.Clone(s.jobs), maps.Clone(s.read), maps.Clone(s.young)
	return &c
}

// surveyOf returns the last survey of a machine, or nil.
func (c *Client) surveyOf(machine int64) *survey {
	v, _ := c.surveys.Load(machine)
	s, _ := v.(*survey)
	return s
}

// jobsOf returns the machine's jobs, read at most age ago but for those of new schedules, and its groups.
func (c *Client) jobsOf(ctx context.Context, m Machine, sc scope, age time.Duration) ([]Job, map[string]bool, error) {
	var s *survey
	var err error
	if old := c.surveyOf(m.ID); old != nil && time.Since(old.at) <= age {
		if s, err = c.addNew(ctx, m, sc, old.clone()); refusedContent(err) {
			s, err = nil, nil
		}
	}
	if s == nil && err == nil {
		s, err = c.readWhole(ctx, m, sc)
	}
	if err != nil {
		return nil, nil, err
	}
	c.surveys.Store(m.ID, s)
	return slices.Collect(maps.Values(s.jobs)), s.groups, nil
}

// addNew adds the jobs of schedules that the survey does not know. A nil survey means that everything has to be read.
func (c *Client) addNew(ctx context.Context, m Machine, sc scope, s *survey) (*survey, error) {
	var ids []ScheduleID
	for id, x := range sc.schedules {
		if _, known := s.read[id]; slices.Contains(sc.dates, x.Date) && (!known || s.young[id]) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for chunk := range slices.Chunk(ids, batchSize) {
		jobs, err := rowsBy(ctx, c, dailyJobs, "scheduleIds", chunk, nil)
		if err != nil {
			return nil, err
		}
		rows := map[ScheduleID]int{}
		for _, j := range jobs {
			if slices.Contains(chunk, j.Schedule) {
				rows[j.Schedule]++
				s.note(m, j)
			}
		}
		if len(rows) == 0 {
			return nil, nil // schedules without jobs are rare: the parameter may have been read in another way
		}
		for _, id := range chunk {
			before, known := s.read[id]
			s.read[id], s.young[id] = rows[id], !known || before != rows[id]
		}
	}
	return s, nil
}

func (s *survey) note(m Machine, j Job) {
	if j.runsOn(m, s.groups) {
		s.jobs[j.ID] = j
	}
}

// readWhole reads the jobs of all machines.
func (c *Client) readWhole(ctx context.Context, m Machine, sc scope) (*survey, error) {
	now := time.Now()
	s := &survey{at: now, grouped: now, jobs: map[JobID]Job{}, read: map[ScheduleID]int{}, young: map[ScheduleID]bool{}}
	var err error
	if old := c.surveyOf(m.ID); old != nil && time.Since(old.grouped) <= surveyAge {
		s.groups, s.grouped = old.groups, old.grouped
	} else if s.groups, err = c.groupsOf(ctx, m); err != nil {
		return nil, err
	}
	size := datesPerCall
	if c.small.Load() {
		size = 1 // many pages each: side by side
	}
	var mu sync.Mutex
	err = failover.EachTarget(ctx, maxRequests, slices.Collect(slices.Chunk(sc.dates, size)), joinIDs,
		func(ctx context.Context, chunk []Date) error {
			jobs, err := rowsBy(ctx, c, dailyJobs, "dates", chunk, nil)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, j := range jobs {
				if j.Date == "" || slices.Contains(chunk, j.Date) {
					s.read[j.Schedule]++
					s.note(m, j)
				}
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	for id, x := range sc.schedules {
		if slices.Contains(sc.dates, x.Date) {
			s.read[id] += 0
		}
	}
	return s, nil
}
