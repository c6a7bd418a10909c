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

// Fault is one nasty thing a door can do to the next order that passes it: a POST or a PATCH.
type Fault struct {
	Name  string
	Title string // what happens, in one sentence
	Order bool   // the order reaches Patroni
}

// Faults lists what [Door.Arm] takes.
func Faults() []Fault {
	return []Fault{
		{"lost-reply", "the order takes effect and the line drops before the answer", true},
		{"lost-request", "the line drops before the order arrives, and nobody can tell from the line", false},
		{"unclear", "the order takes effect and the answer is 503, status unknown", true},
		{"garbage", "the order takes effect and the answer is no answer", true},
		{"conflict", "somebody else changes the configuration at the same time", false},
		{"refused", "Patroni says that the cluster is not in a state for the order", false},
	}
}

// Door is an HTTP server on 127.0.0.1 in front of one member's API.
type Door struct {
	URL string

	target string
	mu     sync.Mutex
	armed  map[string]Fault // by method
	orders int
}

// Open puts a door in front of the API at target, host:port, and closes it when the test is over.
func Open(tb testing.TB, target string) *Door {
	tb.Helper()
	d := &Door{target: target, armed: map[string]Fault{}}
	server := httptest.NewServer(d)
	tb.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

// Arm lets the next request with the method meet the fault: POST for a switchover, PATCH for the lock.
func (d *Door) Arm(method, name string) error {
	i := slices.IndexFunc(Faults(), func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return fmt.Errorf("patronitest: no fault is called %q", name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed[method] = Faults()[i]
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
	fault, armed := d.armed[r.Method]
	delete(d.armed, r.Method)
	if r.Method == http.MethodPost && (!armed || fault.Order) {
		d.orders++
	}
	d.mu.Unlock()
	switch fault.Name {
	case "lost-request":
		panic(http.ErrAbortHandler)
	case "refused":
		http.Error(w, "leader name does not match", http.StatusPreconditionFailed)
		return
	case "conflict":
		http.Error(w, "conflict", http.StatusConflict)
		return
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = "http", d.target
	answer, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = answer.Body.Close() }()
	switch fault.Name {
	case "lost-reply":
		panic(http.ErrAbortHandler)
	case "unclear":
		http.Error(w, "Switchover status unknown", http.StatusServiceUnavailable)
	case "garbage":
		_, _ = io.WriteString(w, "\x00<html>")
	default:
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	}
}
