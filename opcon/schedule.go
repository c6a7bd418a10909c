package opcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover/internal/enum"
)

// ScheduleState is a daily schedule's status, reduced to what decides about a hold.
type ScheduleState int

const (
	ScheduleUnknown ScheduleState = iota // the server said something this package does not know
	ScheduleWaiting                      // built, not started
	// ScheduleWaitsForContainer: a subschedule whose container job starts it; it can be neither held nor started.
	ScheduleWaitsForContainer
	ScheduleRunning    // in process
	ScheduleHeld       // held on its own; a release frees it
	ScheduleParentHeld // held through its parent; only the parent's release frees it
	ScheduleFinished   // completed
)

var scheduleWords = []string{ScheduleUnknown: "unknown", ScheduleWaiting: "waiting",
	ScheduleWaitsForContainer: "waits for its container", ScheduleRunning: "running", ScheduleHeld: "held",
	ScheduleParentHeld: "held by its parent", ScheduleFinished: "finished"}

// String returns the state in words.
func (s ScheduleState) String() string { return enum.Name(scheduleWords, s) }

// MarshalText writes the state in words.
func (s ScheduleState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the state in words; others are ScheduleUnknown.
func (s *ScheduleState) UnmarshalText(text []byte) error {
	return placeOf(scheduleWords, text, s, sameName)
}

// parentHoldID is the one status number that is public (seen in client code).
const parentHoldID = 15

// readScheduleState decides by category and description, tolerantly, since the numbers are not public.
func readScheduleState(status object, bad *error) ScheduleState {
	category, text := plain(status.text("category")), plain(status.text("description"))
	switch {
	case text == "parenthold" || status.number(bad, "id") == parentHoldID:
		return ScheduleParentHeld
	case text == "onhold" || category == "held":
		return ScheduleHeld
	case text == "waitcontainerjob":
		return ScheduleWaitsForContainer
	case category == "finishedok" || strings.HasPrefix(text, "completed"):
		return ScheduleFinished
	case category == "running" || text == "inprocess" || text == "starting" || strings.HasPrefix(text, "startedby"):
		return ScheduleRunning
	case category == "waiting" || text == "waittostart":
		return ScheduleWaiting
	}
	return ScheduleUnknown
}

// plain reduces a status word to its letters and digits in lower case, since documentation and wire differ in blanks,
// colons and semicolons.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, text)
}

// ScheduleID is the server's id of a daily schedule. It is opaque: reuse it, never build it.
type ScheduleID string

// Schedule is one daily schedule: a schedule built for one date.
type Schedule struct {
	ID ScheduleID `json:"id"` // the server's
	// Name: a subschedule's is its container's with a suffix (documented)
	Name        string        `json:"name"`
	Date        Date          `json:"date"`                  // it was built for
	State       ScheduleState `json:"state"`                 // what decides about a hold
	Description string        `json:"description,omitempty"` // the server's own words for the state
	Path        string        `json:"path,omitempty"`        // place among containers, where the server tells it
	Container   string        `json:"container,omitempty"`   // id of the container job of a subschedule

	hidden bool // OpCon does not show it any more
}

// words returns the state, and the server's own words where this package does not know them.
func (s Schedule) words() string {
	if s.hidden {
		return "not shown by OpCon: it was deleted, or the service account may not see it"
	}
	if s.State == ScheduleUnknown {
		return fmt.Sprintf("in a state this program does not know: %q", s.Description)
	}
	return s.State.String()
}

// String returns date and name.
func (s Schedule) String() string { return strings.TrimSpace(string(s.Date) + " " + s.Name) }

// readSchedule reads a row. A row without an id or a date, or with a number that cannot be read, is an error.
func readSchedule(raw json.RawMessage) (Schedule, error) {
	o := readObject(raw)
	status := o.object("status", "state")
	var bad error
	s := Schedule{ID: ScheduleID(o.text("id")), Name: o.text("name", "scheduleName"),
		State:       readScheduleState(status, &bad),
		Description: status.text("description"), Path: o.text("path"), Container: o.text("containerJobId")}
	s.Date = o.date(&bad, "date", "scheduleDate")
	if bad == nil && (s.ID == "" || s.Date == "") {
		bad = errors.New("a daily schedule has no id or no date: " + shorten(string(raw), 120))
	}
	return s, bad
}

// BuiltDates returns the dates that have built schedules, in order. Changes nothing. Errors: ErrAuth, ErrForbidden,
// ErrUnavailable; NotApplied always.
func (c *Client) BuiltDates(ctx context.Context) ([]Date, error) {
	const op = "read the built dates of"
	rep, err := c.do(ctx, call{op: op, path: "/api/dailyschedules/dates"})
	if err != nil {
		return nil, err
	}
	rows, err := c.readList(op, c.host, rep.body)
	if err != nil {
		return nil, err
	}
	var dates []Date
	for _, row := range rows {
		text := rawText(row)
		if o := readObject(row); o != nil {
			text = o.text("date", "scheduleDate")
		}
		d, ok := parseDate(text)
		if !ok {
			return nil, unchanged(op, c.host,
				"report the server's version: its dates have another form", errors.New("cannot read the date "+shorten(text, 60)))
		}
		dates = append(dates, d)
	}
	slices.Sort(dates)
	return slices.Compact(dates), nil
}

// allDates returns the built dates and others, in order. Yesterday, today and tomorrow are among them whatever the server
// lists: how long its list may be is not documented.
func (c *Client) allDates(ctx context.Context, others []Date) ([]Date, error) {
	dates, err := c.BuiltDates(ctx)
	dates = append(dates, others...)
	for days := -1; days <= 1; days++ {
		dates = append(dates, Date(c.serverNow().AddDate(0, 0, days).Format(time.DateOnly)))
	}
	slices.Sort(dates)
	return slices.Compact(dates), err
}

// Schedules returns every daily schedule of the dates. Dates must be given: leaving them out is not documented to
// mean all. Rows the account may not see are absent. Changes nothing. Errors: ErrAuth, ErrForbidden, ErrUnavailable;
// NotApplied always.
func (c *Client) Schedules(ctx context.Context, dates []Date) ([]Schedule, error) {
	all, err := rowsBy(ctx, c, dailySchedules, "dates", dates, nil)
	return slices.DeleteFunc(all, func(s Schedule) bool { return !slices.Contains(dates, s.Date) }), err
}

// schedulesByID reads the named schedules again.
func (c *Client) schedulesByID(ctx context.Context, ids []ScheduleID) (map[ScheduleID]Schedule, error) {
	list, err := rowsBy(ctx, c, dailySchedules, "ids", ids, nil)
	found := map[ScheduleID]Schedule{}
	for _, s := range list {
		found[s.ID] = s
	}
	return found, err
}
