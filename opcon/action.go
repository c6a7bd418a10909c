package opcon

import (
	"cmp"
	"context"
	"encoding/json"
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
	item  func(actionItem) map[string]any
}

var (
	machineActions = actionKind{"/api/machineactions", "machines", "machine", func(it actionItem) map[string]any {
		return map[string]any{"id": json.Number(it.id)}
	}}
	scheduleActions = actionKind{"/api/scheduleactions", "scheduleActionItems", "schedule",
		func(it actionItem) map[string]any { return map[string]any{"id": it.id} }}
	jobActions = actionKind{"/api/jobactions", "jobs", "job", func(it actionItem) map[string]any {
		item := map[string]any{"id": it.id, "step": nil, "rebuildOnRestartIfContainer": false}
		if it.step != "" {
			item["step"] = it.step
		}
		return item
	}}
)

// actionItem is one target of an action.
type actionItem struct {
	id   string
	name string // for errors
	step string // jobs: restart on this step
}

// act posts one action and follows it until no item is under way. It returns one entry per item: nil when the server
// reports success, otherwise an error with the outcome that is proven. Success is the server's word only; whoever calls
// act reads the state afterwards. Only the documented words "failed" and "error" prove that an item was not done. Every
// other word, and none, is under way, and in doubt when the wait ends.
func (c *Client) act(ctx context.Context, kind actionKind, v verb, reason string, items []actionItem) map[string]error {
	op := string(v) + " " + kind.noun
	results := make(map[string]error, len(items))
	all := func(err error) map[string]error {
		for _, it := range items {
			results[it.id] = c.retarget(err, op, it.name)
		}
		return results
	}
	var targets []any
	for _, it := range items {
		targets = append(targets, kind.item(it))
	}
	body := map[string]any{"action": string(v), kind.items: targets}
	if kind.noun != "machine" {
		body["reason"] = reason // mandatory by the policy of some sites (inferred)
	}
	rep, err := c.do(ctx, call{op: op, target: items[0].name, method: http.MethodPost, path: kind.path, body: body})
	if err != nil {
		return all(err)
	}
	answer := readObject(rep.body)
	id := answer.text("id")
	if answer == nil || id == "" {
		return all(inDoubt(op, c.host, nextLook,
			errors.New("the answer to the action is not one: "+shorten(c.redact(string(rep.body)), 120))))
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
			lost = fmt.Errorf("the server's word for action %s is still %s after %v", id, p.words(), limit)
		} else if err := waiting.For(ctx, wait); err != nil {
			lost = fmt.Errorf("action %s was still under way: %w", id, err)
		} else if rep, err = c.do(ctx, call{op: op, target: items[0].name, method: http.MethodGet,
			path: kind.path + "/" + segment(id)}); err != nil {
			// The record may be gone (404) or the API out of reach: only the state tells.
			lost = fmt.Errorf("the result of action %s was lost: %w", id, err)
		}
		if lost != nil {
			return c.underWay(op, items, results, fmt.Errorf("%w: %w", failover.ErrInDoubt, lost))
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

func (p progress) words() string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(p.open))), ", ")
}

// readResults fills results from the action's record and returns what is still under way. The word for the whole action
// counts for an item without a word of its own only where that word can mean nothing else: success, or the refusal of
// an action with this one item.
func (c *Client) readResults(kind actionKind, op string, v verb, answer object, items []actionItem,
	results map[string]error) progress {
	overall, overallText := answer.text("result"), c.redact(answer.text("message"))
	byID := map[string]object{}
	var list []json.RawMessage
	_ = json.Unmarshal(answer.get(kind.items), &list) // absent: the overall result counts
	for _, raw := range list {
		o := readObject(raw)
		id := o.text("id")
		if id == "" {
			id = o.object(kind.noun).text("id")
		}
		byID[id] = o
	}
	var p progress
	p.over = isSuccess(overall) || isRefusal(overall)
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
			results[it.id] = unchanged(op, it.name,
				"read the server's reason, clear it or decide otherwise, then run again",
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

// underWay marks the items without a result as in doubt.
func (c *Client) underWay(op string, items []actionItem, results map[string]error, cause error) map[string]error {
	for _, it := range items {
		if _, ok := results[it.id]; !ok {
			results[it.id] = inDoubt(op, it.name,
				"check that OpCon's scheduling engine (SAM) runs, look at the state in OpCon, then run again, which looks first",
				cause)
		}
	}
	return results
}

// retarget gives an error that concerns a whole request the name of one of its items.
func (c *Client) retarget(err error, op, target string) error {
	if fe, ok := errors.AsType[*failover.Error](err); ok {
		return fail(op, target, failover.OutcomeOf(err), fe.Next, fe.Err)
	}
	return fail(op, target, failover.OutcomeOf(err), "", err)
}

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
