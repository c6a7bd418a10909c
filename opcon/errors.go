package opcon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/01b61c5c/failover"
)

// Sentinels of this package, beside those of package failover. Test with errors.Is.
var (
	// ErrAuth: the server does not take the login or the token, also after one renewal.
	ErrAuth      = errors.New("login or token refused")
	ErrForbidden = errors.New("the service account may not do this") // it lacks a privilege
	// ErrNotFound: nothing has that exact name or id, or the account may not see it.
	ErrNotFound  = errors.New("not found")
	ErrAmbiguous = errors.New("more than one match") // more than one thing has that exact name
	// ErrActionFailed: the server took the action and reported that it failed; see [ActionError].
	ErrActionFailed = errors.New("action failed")
	ErrUnavailable  = errors.New("OpCon does not answer") // the API, or its scheduling engine
)

// APIError is an answer other than 2xx. The server has two shapes for it, a list and a problem object, and whatever
// stands before it has HTML (documented, seen in client code); all end here.
type APIError struct {
	Status  int    // HTTP status
	Codes   []int  // OpCon's own codes, where it gave some
	Message string // its text, at most a few hundred bytes, secrets removed

	own bool // the answer has the form of the API's errors, so it is the API that answers
}

// Error returns the status and the message.
func (e *APIError) Error() string {
	text := fmt.Sprintf("HTTP %d", e.Status)
	if e.Message != "" {
		text += ": " + e.Message
	}
	if len(e.Codes) > 0 {
		text += fmt.Sprintf(" (code %d)", e.Codes[0])
	}
	return text
}

// Is makes 401 in the API's own words, 403 and 404 match ErrAuth, ErrForbidden and ErrNotFound, and 5xx ErrUnavailable.
func (e *APIError) Is(target error) bool {
	switch target { //nolint:errorlint // sentinels
	case ErrAuth:
		return e.Status == http.StatusUnauthorized && e.own
	case ErrForbidden:
		return e.Status == http.StatusForbidden
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrUnavailable:
		return e.Status >= 500
	}
	return false
}

// refusedContent reports whether the server refused a request for what it asks, so that nothing of it was done.
func refusedContent(err error) bool {
	api, ok := errors.AsType[*APIError](err)
	return ok && slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict,
		http.StatusUnprocessableEntity}, api.Status)
}

// ActionError is one item of an action that the server reported as failed.
type ActionError struct {
	Action  string // hold, release, down, …
	Item    string // the schedule, job or machine
	Result  string // the server's word: failed, error, …
	Message string // the server's reason
}

// Error names item, action and reason.
func (e *ActionError) Error() string {
	text := fmt.Sprintf("%s of %s: the server reports %q", e.Action, e.Item, e.Result)
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Is makes it match ErrActionFailed.
func (e *ActionError) Is(target error) bool { return target == ErrActionFailed } //nolint:errorlint // sentinel

func because(kind error, text string) error { return fmt.Errorf("%w: %s", kind, text) }

// fail builds the package's error. Secrets are cut from the cause's text by whoever read it from the wire.
func fail(op, target string, outcome failover.Outcome, next string, err error) error {
	//nolint:errorlint // only the outermost may repeat what this one says
	if inner, ok := err.(*failover.Error); ok && inner.Op == op && inner.Target == target {
		err = inner.Err
	}
	return &failover.Error{Op: op, Target: target, Outcome: outcome, Next: next, Err: err}
}

// unchanged is fail where it is proven that nothing was done, and inDoubt where something may have been.
func unchanged(op, target, next string, err error) error {
	return fail(op, target, failover.NotApplied, next, err)
}
func inDoubt(op, target, next string, err error) error {
	return fail(op, target, failover.InDoubt, next, err)
}

// notDone reports whether err proves that nothing was done.
func notDone(err error) bool { return failover.OutcomeOf(err) == failover.NotApplied }

// unreadable builds the error for an answer that is JSON and not what a record looks like.
func unreadable(op, target string, err error) error {
	return unchanged(op, target, "report the server's version and this text: its records have another form", err)
}

const maxMessage = 400

// apiError reads an answer other than 2xx: list, object, raw text, in this order.
func (c *Client) apiError(status int, body []byte) *APIError {
	e := &APIError{Status: status, Message: http.StatusText(status)}
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf")))
	var list []json.RawMessage
	if json.Unmarshal(body, &list) != nil {
		list = []json.RawMessage{body}
	}
	var texts []string
	for _, raw := range list {
		o := readObject(raw)
		var bad error
		if code := o.number(&bad, "code"); code != 0 {
			e.Codes = append(e.Codes, int(code))
		}
		about := o.text("name")
		if about != "" {
			about = strings.TrimSpace(o.text("resource") + " " + about)
		}
		says := []string{o.text("title"), o.text("detail"), o.text("message")}
		e.own = e.own || strings.Join(says, "") != ""
		parts := slices.Concat([]string{about}, says, []string{o.text("errors")})
		texts = append(texts, strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": "))
	}
	switch {
	case e.own:
		e.Message = strings.Join(texts, "; ")
	case len(body) > 0:
		e.Message = strings.Join(strings.Fields(string(body)), " ")
	}
	e.Message = shorten(c.redact(e.Message), maxMessage)
	return e
}

// shorten cuts text to at most n bytes at a rune border, and drops what no terminal should be sent.
func shorten(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}
