package opcon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/waiting"
)

// batchSize is how many schedules, jobs or ids go into one call. Servers before 26.1 limit a request's size
// (documented); 25 is far below it (inferred).
const batchSize = 25

// verb is an action's name in the spelling of the vendor's typed client. The ones that kill a job are not here: a
// killed RSJ job leaves ghost logons and may damage data (documented). Bulk job actions on a schedule are not here
// either: one without a list of states would rerun finished jobs too.
type verb string

const (
	verbUp      verb = "up"
	verbLimited verb = "limited"
	verbDown    verb = "down"

	verbHold    verb = "hold"
	verbRelease verb = "release"

	verbRestart        verb = "restart"
	verbRestartOnHold  verb = "restartOnHold"
	verbForceRestart   verb = "forceRestart"
	verbMarkFailed     verb = "markFailed"
	verbMarkFinishedOK verb = "markFinishedOk"
	verbCancel         verb = "cancel"
)

// actionKind is one of the three collections actions are posted to.
type actionKind struct {
	path  string
	items string // name of the list of items
	noun  string
}

var (
	machineActions  = actionKind{"/api/machineactions", "machines", "machine"}
	scheduleActions = actionKind{"/api/scheduleactions", "scheduleActionItems", "schedule"}
	jobActions      = actionKind{"/api/jobactions", "jobs", "job"}
)

// actionItem is one target of an action.
type actionItem struct {
	id   string
	name string         // for errors
	sent map[string]any // the target as the server wants it
}

// act posts one action and follows it until no item is under way. It returns one entry per item: nil when the server
// reports success, otherwise an error with the outcome that is proven. Success is the server's word only; whoever calls
// act reads the state afterwards. Only the documented words "failed" and "error" prove that an item was not done. Every
// other word, and none, is under way, and in doubt when the wait ends.
func (c *Client) act(ctx context.Context, kind actionKind, v verb, reason string, items []actionItem) map[string]error {
	op := string(v) + " " + kind.noun
	results := make(map[string]error, len(items))
	// rest gives the items without a result what is known of all of them.
	rest := func(o failover.Outcome, next string, err error) map[string]error {
		for _, it := range items {
			if _, ok := results[it.id]; !ok {
				results[it.id] = fail(op, it.name, o, next, err)
			}
		}
		return results
	}
	body := map[string]any{"action": string(v), kind.items: convert(items, func(it actionItem) any { return it.sent })}
	if kind.noun != "machine" {
		body["reason"] = reason // mandatory by the policy of some sites (inferred)
	}
	rep, err := c.do(ctx, call{op: op, target: items[0].name, method: http.MethodPost, path: kind.path, body: body})
	if err != nil {
		outcome, next := failover.OutcomeOf(err), failover.NextOf(err)
		if fe, ok := errors.AsType[*failover.Error](err); ok {
			err = fe.Err // what it says of the whole request, each item says of itself
		}
		return rest(outcome, next, err)
	}
	answer := readObject(rep.body)
	id := answer.text("id")
	if id == "" {
		return rest(failover.InDoubt, nextLook,
			errors.New("the answer to the action is not one: "+shorten(c.redact(string(rep.body)), 120)))
	}
	began, wait := time.Now(), c.conf.Poll
	for looks := 1; ; looks++ {
		p := c.readResults(kind, op, v, answer, items, results)
		if len(p.open) == 0 {
			return results
		}
		limit := c.conf.ActionTimeout
		if !p.submitted {
			limit = c.settleTime() // only the state can tell, and the caller reads it
		}
		var lost error
		if p.over || (looks >= minLooks && time.Since(began) >= limit) {
			words := slices.Compact(slices.Sorted(slices.Values(p.open)))
			lost = fmt.Errorf("the server's word for action %s is still %s after %v", id, strings.Join(words, ", "), limit)
		} else if err := waiting.For(ctx, wait); err != nil {
			lost = fmt.Errorf("action %s was still under way: %w", id, err)
		} else if rep, err = c.do(ctx, call{op: op, target: items[0].name, path: kind.path + "/" + segment(id)}); err != nil {
			// The record may be gone (404) or the API out of reach: only the state tells.
			lost = fmt.Errorf("the result of action %s was lost: %w", id, err)
		}
		if lost != nil {
			return rest(failover.InDoubt, "check that OpCon's scheduling engine (SAM) runs, look at the state in OpCon, then "+
				"run again, which looks first", fmt.Errorf("%w: %w", failover.ErrInDoubt, lost))
		}
		wait = min(wait*3/2, c.conf.MaxPoll)
		if next := readObject(rep.body); next != nil {
			answer = next
		}
	}
}

// nextLook is the way out of every doubt that reading the state settles.
const nextLook = "look at the state in OpCon, or run again, which looks first"

// progress is how far an action has come.
type progress struct {
	open      []string // the server's words for the items without a result
	submitted bool     // the server says in a documented word that it is still at work
	over      bool     // the whole action has ended, so nothing more will be said about the items
}

// readResults fills results from the action's record and returns what is still under way. The word for the whole action
// counts for an item without a word of its own only where that word can mean nothing else: success, or the refusal of
// an action with this one item.
func (c *Client) readResults(kind actionKind, op string, v verb, answer object, items []actionItem,
	results map[string]error) progress {
	overall, overallText := answer.text("result"), c.redact(answer.text("message"))
	byID := map[string]object{}
	var ignored error // without a list the overall result counts
	for _, raw := range answer.rows(&ignored, kind.items) {
		o := readObject(raw)
		byID[cmp.Or(o.text("id"), o.object(kind.noun).text("id"))] = o
	}
	p := progress{over: isSuccess(overall) || isRefusal(overall)}
	for _, it := range items {
		result, text := byID[it.id].text("result"), c.redact(byID[it.id].text("message"))
		if result == "" && (isSuccess(overall) || (isRefusal(overall) && len(items) == 1)) {
			result = overall
		}
		delete(results, it.id)
		switch {
		case isSuccess(result):
			results[it.id] = nil
		case isRefusal(result):
			results[it.id] = unchanged(op, it.name, "read the server's reason, clear it or decide otherwise, then run again",
				&ActionError{Action: string(v), Item: it.name, Result: plain(result),
					Message: shorten(cmp.Or(text, overallText), maxMessage)})
		default:
			word := cmp.Or(result, overall)
			p.open = append(p.open, fmt.Sprintf("%q", shorten(c.redact(word), 60)))
			p.submitted = p.submitted || plain(word) == "submitted"
		}
	}
	return p
}

// isSuccess and isRefusal know the documented and seen words for an end. No other word proves anything.
func isSuccess(word string) bool { return plain(word) == "success" }
func isRefusal(word string) bool { return plain(word) == "failed" || plain(word) == "error" }

func cleanReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return failover.Invalid("Reason", "is empty",
			"say why, for example the change number; OpCon keeps it with every action")
	}
	if len(reason) > 255 {
		return failover.Invalid("Reason", "is longer than 255 bytes", "shorten it")
	}
	return nil
}
