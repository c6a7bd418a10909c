package idm_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// patience ends a run that waits for the effect of a lie. It has looked for it and asked for it often enough then; the
// limit of the step, which would end the wait otherwise, is a matter of time.
type patience struct {
	lied, over      atomic.Bool
	looks, requests atomic.Int32
	end             context.CancelFunc

	late func() // lets a late effect come, once, and waits for it; nil when none is on its way
}

const (
	looksAtALie    = 3
	requestsAtALie = 200
)

// patient returns the context of the run and what ends it.
func patient(t *testing.T) (context.Context, *patience) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, &patience{end: cancel}
}

// lie is the fault of a server that says success and does nothing.
func (w *patience) lie(f idmtest.Injection) idmtest.Injection {
	is := f.If
	f.Kind, f.Times = idmtest.FaultEmptySuccess, -1
	f.If = func(r idmtest.Request) bool {
		if is != nil && !is(r) {
			return false
		}
		w.lied.Store(true)
		return true
	}
	return f
}

// asked is no fault: it sees the requests that come behind the lie, also those of a step that waits by itself.
func (w *patience) asked() idmtest.Injection {
	return idmtest.Injection{Times: -1, If: func(idmtest.Request) bool {
		w.count(&w.requests, requestsAtALie)
		return false
	}}
}

func (w *patience) count(n *atomic.Int32, most int32) {
	if w.lied.Load() && !w.over.Load() && n.Add(1) == most {
		w.end()
	}
}

// watch counts how often the step is looked at. A late effect comes right after the first look at it.
func (w *patience) watch(p failover.Procedure, id string) failover.Procedure {
	return changed(p, id, func(s *failover.Step) {
		see := s.Observe
		s.Observe = func(ctx context.Context) (failover.Observation, error) {
			w.count(&w.looks, looksAtALie)
			if w.late == nil {
				return see(ctx)
			}
			found, err := see(ctx)
			w.late()
			return found, err
		}
	})
}
