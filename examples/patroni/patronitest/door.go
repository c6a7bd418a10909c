// Package patronitest puts a door in front of the REST API of a real Patroni, which can be told to fail.
package patronitest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// Ending says how a procedure ends that meets a fault once.
type Ending int

// Endings of a procedure.
const (
	Completes Ending = iota + 1 // in this run
	Refused                     // nothing is changed
)

// Fault is one nasty thing a door can do to the next order that passes it: a POST or a PATCH.
type Fault struct {
	Name   string
	Title  string // what happens, in one sentence
	Ending Ending
}

// Faults lists what [Door.Arm] takes.
func Faults() []Fault {
	return []Fault{
		{"lost-reply", "the order takes effect and the line drops before the answer", Completes},
		{"lost-request", "the line drops before the order arrives, and nobody can tell from the line", Completes},
		{"unclear", "the order takes effect and the answer is 503, status unknown", Completes},
		{"garbage", "the order takes effect and the answer is no answer", Completes},
		{"conflict", "somebody else changes the configuration at the same time", Completes},
		{"refused", "Patroni says that the cluster is not in a state for the order", Refused},
	}
}

// Door is an HTTP server on 127.0.0.1 in front of one member's API.
type Door struct {
	URL string

	target string
	mu     sync.Mutex
	armed  map[string]string // fault by method
	orders int
}

// Open puts a door in front of the API at target and closes it when the test is over.
func Open(tb testing.TB, target string) *Door {
	tb.Helper()
	d := &Door{target: target, armed: map[string]string{}}
	server := httptest.NewServer(d)
	tb.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

// Arm lets the next request with the method meet the fault: POST for a switchover, PATCH for the lock.
func (d *Door) Arm(method, name string) error {
	if !slices.ContainsFunc(Faults(), func(f Fault) bool { return f.Name == name }) {
		return fmt.Errorf("patronitest: no fault is called %q", name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed[method] = name
	return nil
}

// Orders counts the POST requests that have reached the member.
func (d *Door) Orders() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.orders
}

// ServeHTTP passes a request on, through the fault that is armed.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	fault := d.armed[r.Method]
	delete(d.armed, r.Method)
	if fault == "" || fault == "lost-reply" || fault == "unclear" || fault == "garbage" {
		if r.Method == http.MethodPost {
			d.orders++
		}
	}
	d.mu.Unlock()
	switch fault {
	case "lost-request":
		panic(http.ErrAbortHandler)
	case "refused":
		http.Error(w, "leader name does not match", http.StatusPreconditionFailed)
		return
	case "conflict":
		http.Error(w, "conflict", http.StatusConflict)
		return
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, d.target+r.URL.RequestURI(), r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	out.Header, out.ContentLength = r.Header.Clone(), r.ContentLength
	answer, err := http.DefaultTransport.RoundTrip(out)
	if err != nil || fault == "lost-reply" {
		if err == nil {
			_ = answer.Body.Close()
		}
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = answer.Body.Close() }()
	switch fault {
	case "unclear":
		http.Error(w, "Switchover status unknown", http.StatusServiceUnavailable)
	case "garbage":
		_, _ = io.WriteString(w, "\x00<html>")
	default:
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	}
}
