// Package patronitest puts a door in front of the REST API of a Patroni, which can be told to fail.
package patronitest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
)

// Fault is one nasty thing a door can do to the next order that passes it: a POST or a PATCH.
type Fault struct {
	Name   string
	Title  string // what happens, in one sentence
	Order  bool   // the order reaches Patroni
	Status int    // of the answer, which means nothing otherwise; 0 when the line drops instead
}

// Faults lists what [Door.Arm] takes.
func Faults() []Fault {
	return []Fault{{"lost-reply", "the order takes effect and the line drops before the answer", true, 0},
		{"lost-request", "the line drops before the order arrives, and nobody can tell from the line", false, 0},
		{"unclear", "the order takes effect and the answer is 503, status unknown", true, http.StatusServiceUnavailable},
		{"garbage", "the order takes effect and the answer is no answer", true, http.StatusOK},
		{"conflict", "somebody else changes the configuration at the same time", false, http.StatusConflict},
		{"refused", "Patroni says that the cluster is not in a state for the order", false, http.StatusPreconditionFailed},
	}
}

// Door is an API with a fault in front of it. It is safe for concurrent use.
type Door struct {
	API    http.Handler // of a real Patroni: an httputil.ReverseProxy
	Orders atomic.Int32 // POST requests that have reached it
	armed  atomic.Pointer[armed]
}

type armed struct {
	Fault
	method string
}

// Arm lets the next request with the method meet the fault: POST for a switchover, PATCH for the lock.
func (d *Door) Arm(method, name string) error {
	i := slices.IndexFunc(Faults(), func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return fmt.Errorf("patronitest: no fault is called %q", name)
	}
	d.armed.Store(&armed{Faults()[i], method})
	return nil
}

// ServeHTTP passes a request on, through the fault that is armed.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := d.armed.Load()
	struck := fault != nil && fault.method == r.Method && d.armed.CompareAndSwap(fault, nil)
	if r.Method == http.MethodPost && (!struck || fault.Order) {
		d.Orders.Add(1)
	}
	switch {
	case !struck:
		d.API.ServeHTTP(w, r)
		return
	case fault.Order:
		d.API.ServeHTTP(httptest.NewRecorder(), r)
	}
	if fault.Status == 0 {
		panic(http.ErrAbortHandler)
	}
	http.Error(w, "\x00<html>", fault.Status)
}
