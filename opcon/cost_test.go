package opcon_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// busy adds 20 schedules with 12,000 jobs on three dates, most of them of other machines.
func (s *site) busy() {
	for i := range 5 {
		s.AddMachine(&opcontest.Machine{Name: fmt.Sprintf("OTHER%d", i)})
	}
	for i := range 20 {
		x := s.AddSchedule(&opcontest.Schedule{Name: fmt.Sprintf("SYM BUSY %02d", i),
			Date: fmt.Sprintf("2026-08-%d", 21+i%3), Status: opcontest.ScheduleInProcess})
		for n := range jobsPerSchedule {
			j := &opcontest.Job{Name: fmt.Sprintf("JOB %03d", n), Schedule: x, Primary: fmt.Sprintf("OTHER%d", n%5)}
			switch n % 20 {
			case 0:
				j.Primary = "SYMAIX1"
			case 1:
				j.Primary, j.Group = "", "SYM_PRIMARY"
			case 2:
				j.Alternates = []string{"OTHER3", "SYMAIX1"}
			}
			s.AddJob(j)
		}
	}
}

// cost is what a run of both halves took: requests, and bytes of answers.
type cost struct{ quiesce, resume, bytes int }

func (s *site) cost(t testing.TB, q opcon.QuiesceOptions) cost {
	t.Helper()
	q.HoldTimeout, q.DrainTimeout = 5*time.Minute, 5*time.Minute
	rec, err := s.client.Quiesce(context.Background(), q)
	require.NoError(t, err)
	require.Len(t, rec.Held, 24)
	c := cost{quiesce: len(s.Requests())}
	s.swap()
	r := resumed()
	r.HoldTimeout, r.UpTimeout = 5*time.Minute, 5*time.Minute
	_, err = s.client.Resume(context.Background(), rec, r)
	require.NoError(t, err)
	require.Equal(t, 24, s.Count("release", ""))
	c.resume, c.bytes = len(s.Requests())-c.quiesce, s.Bytes()
	return c
}

// TestCost: with 12,000 jobs on three dates, reading everything for each pass took 434 requests for an unplanned
// quiesce, 490 for a planned one and 316 for the resume.
func TestCost(t *testing.T) {
	for name, tc := range map[string]struct {
		options opcon.QuiesceOptions
		quiesce int // a tenth of what it was
	}{"unplanned": {unplanned(), 43}, "planned": {planned(), 49}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, opcontest.Config{}, withTimeouts(time.Minute, time.Minute))
			s.quiet()
			s.busy()
			c := s.cost(t, tc.options)
			t.Logf("%+v", c)
			require.LessOrEqual(t, c.quiesce, tc.quiesce)
			require.LessOrEqual(t, c.resume, 31)
			s.lawful(t)
		})
	}
}

// BenchmarkQuiesceAndResume counts requests and bytes.
func BenchmarkQuiesceAndResume(b *testing.B) {
	for b.Loop() {
		s := newSite(b, opcontest.Config{}, withTimeouts(time.Minute, time.Minute))
		s.quiet()
		s.busy()
		c := s.cost(b, unplanned())
		b.ReportMetric(float64(c.quiesce), "requests/quiesce")
		b.ReportMetric(float64(c.resume), "requests/resume")
		b.ReportMetric(float64(c.bytes), "bytes/run")
	}
}

// TestJobsAreReadAsAWhole: whatever the parameters that name a machine match, and whether the server knows them, the same
// schedules are held; a job that is tied to the machine later in a schedule that was read already is found before it
// goes down.
func TestJobsAreReadAsAWhole(t *testing.T) {
	for name, conf := range map[string]opcontest.Config{
		"primary only": {}, "any": {MachineFilter: opcontest.FilterAny}, "ignored": {MachineFilter: opcontest.FilterIgnored},
		"refused":     {MachineFilter: opcontest.FilterRefused},
		"small pages": {MaxPage: 40}, "large pages refused": {RefuseAbove: 1000}, "no count": {NoCount: true,
			MaxPage: 300},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, conf, withTimeouts(time.Minute, time.Minute))
			s.agents["LONER"] = true
			s.AddMachine(&opcontest.Machine{Name: "LONER"})
			foreign := s.AddSchedule(&opcontest.Schedule{Name: "FOREIGN", Status: opcontest.ScheduleInProcess})
			for i, j := range []*opcontest.Job{{Primary: "LONER"}, {Primary: "WINFTP", Alternates: []string{"LONER"}},
				{Primary: "WINFTP", Alternates: []string{"SYMSPARE", "WINFTP", "loner"}},
				{Primary: "WINFTP", StartedOn: "LONER", Status: opcontest.JobRunning}} {
				j.Name, j.Schedule = "TIED", s.AddSchedule(&opcontest.Schedule{Name: fmt.Sprintf("TIED %d", i),
					Status: opcontest.ScheduleInProcess})
				s.AddJob(j)
			}
			for i := range jobsPerSchedule {
				s.AddJob(&opcontest.Job{Name: fmt.Sprintf("OTHER %d", i), Schedule: foreign, Primary: "WINFTP"})
			}
			late := s.AddSchedule(&opcontest.Schedule{Name: "LATE", Status: opcontest.ScheduleInProcess})
			s.AddJob(&opcontest.Job{Name: "FIRST", Schedule: late, Primary: "WINFTP"})
			s.Before("POST", "/api/scheduleactions", "hold", 0,
				func() { s.AddJob(&opcontest.Job{Name: "ADDED", Schedule: late, Primary: "LONER"}) })
			q := unplanned()
			q.Machine, q.HoldTimeout = "LONER", 5*time.Minute
			rec, err := s.client.Quiesce(context.Background(), q)
			require.NoError(t, err)
			require.Empty(t, s.Violations())
			var held []string
			for _, h := range rec.Held {
				held = append(held, h.Name)
			}
			require.Equal(t, []string{"LATE", "TIED 0", "TIED 1", "TIED 2", "TIED 3"}, held)
			require.Len(t, rec.Running, 1)
			whole := 0
			for _, r := range s.Requests() {
				if !strings.Contains(r.Query, "categories") && !strings.Contains(r.Query, "scheduleIds") &&
					strings.HasPrefix(r.Path, "/api/dailyjobs") && strings.Contains(r.Query, "offset=0&") {
					whole++
				}
			}
			require.LessOrEqual(t, whole, 6,
				"the check, and right before the machine goes down; date by date where a large page was refused")
			t.Log(whole, "whole readings,", len(s.Requests()), "requests")
		})
	}
}

// TestAJobThatTheFilterMissedIsFound: as long as only primary machines were named, the server's filter gave all jobs of
// the machine. A job that is sent there as an alternate since is noted before the machine goes down all the same.
func TestAJobThatTheFilterMissedIsFound(t *testing.T) {
	s := newSite(t, opcontest.Config{})
	s.AddMachine(&opcontest.Machine{Name: "LONER"})
	work := s.AddSchedule(&opcontest.Schedule{Name: "WORK", Status: opcontest.ScheduleInProcess})
	s.AddJob(&opcontest.Job{Name: "OWN", Schedule: work, Primary: "LONER"})
	for i := range 50 {
		s.AddJob(&opcontest.Job{Name: fmt.Sprintf("OTHER %d", i), Schedule: work, Primary: "WINFTP"})
	}
	s.Before("POST", "/api/scheduleactions", "hold", 0, func() {
		s.AddJob(&opcontest.Job{Name: "SENT", Schedule: work, Primary: "WINFTP", Alternates: []string{"LONER"},
			StartedOn: "LONER", Status: opcontest.JobRunning})
	})
	q := unplanned()
	q.Machine = "LONER"
	rec, err := s.client.Quiesce(context.Background(), q)
	require.NoError(t, err)
	require.Len(t, rec.Running, 1)
	require.Equal(t, "SENT", rec.Running[0].Name)
}
