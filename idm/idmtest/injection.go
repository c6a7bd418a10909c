package idmtest

import (
	"fmt"
	"time"
)

// FaultKind is what goes wrong.
type FaultKind int

const (
	// FaultSlowRequest waits Delay before the effect. The effect comes even when the client has gone by then.
	FaultSlowRequest FaultKind = iota + 1
	// FaultSlowReply has the effect at once and waits Delay before it answers.
	FaultSlowReply
	// FaultDropRequest closes the connection without effect.
	FaultDropRequest
	// FaultDropReply has the effect and closes the connection instead of answering.
	FaultDropReply
	// FaultMuteRequest has no effect and never answers; the connection stays open.
	FaultMuteRequest
	// FaultMuteReply has the effect and never answers; the connection stays open.
	FaultMuteReply
	// FaultRefusal answers Code, or the LDAP code that belongs to NDS, without effect.
	FaultRefusal
	// FaultGarbage has the effect and answers bytes that are no BER, then closes the connection.
	FaultGarbage
	// FaultWrongMessageID has the effect and answers under an id nobody asked with.
	FaultWrongMessageID
	// FaultTruncated has the effect, sends half of the answer and closes the connection.
	FaultTruncated
	// FaultDuplicate has the effect and answers twice.
	FaultDuplicate
	// FaultEmptySuccess answers success, without value or entries, and has no effect.
	FaultEmptySuccess
	// FaultKillRequest kills the server before the effect.
	FaultKillRequest
	// FaultKillReply kills the server after the effect, before the answer.
	FaultKillReply
	// FaultUnknownReply has the effect and answers a result code that nobody has published.
	FaultUnknownReply
)

var faultNames = map[FaultKind]string{
	FaultSlowRequest: "slow request", FaultSlowReply: "slow reply", FaultDropRequest: "drop request",
	FaultDropReply:   "drop reply",
	FaultMuteRequest: "mute request", FaultMuteReply: "mute reply", FaultRefusal: "refusal", FaultGarbage: "garbage",
	FaultWrongMessageID: "wrong message id", FaultTruncated: "truncated", FaultDuplicate: "duplicate",
	FaultEmptySuccess: "empty success",
	FaultKillRequest:  "kill before effect", FaultKillReply: "kill after effect", FaultUnknownReply: "unknown reply",
}

// String names the fault.
func (k FaultKind) String() string {
	if k == 0 {
		return "none"
	}
	if name, ok := faultNames[k]; ok {
		return name
	}
	return fmt.Sprintf("FaultKind(%d)", int(k))
}

// FaultKinds lists all faults, for tests that go through each of them.
func FaultKinds() []FaultKind {
	kinds := make([]FaultKind, 0, len(faultNames))
	for k := FaultSlowRequest; k <= FaultUnknownReply; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// Injection says which request goes wrong and how. Fields left zero match everything.
type Injection struct {
	Kind FaultKind

	Server   string             // short name of the server
	Op       Operation          // kind of request
	Extended int                // number N of the DirXML operation 2.16.840.1.113719.1.14.100.N; implies Op OpExtended
	DN       string             // entry the request names
	If       func(Request) bool // any further condition; it must not call the tree

	Skip  int           // let this many matching requests pass first
	Times int           // how many requests to hit; 0 means one, a negative number all
	Delay time.Duration // FaultSlowRequest and SlowReply: how long; for every other kind a wait before the effect
	Code  int           // FaultRefusal: LDAP result code; 0 means the one of NDS, or 80
	NDS   int           // FaultRefusal: NDS error, negative
	Text  string        // FaultRefusal: diagnostic text instead of the usual one

	Hold <-chan struct{} // FaultSlowRequest: instead of Delay, waits until it is closed

	// Do runs after the effect has been made durable and before the answer. With Kind 0 nothing else goes wrong, which
	// leaves a place to kill the process from.
	Do func()
}

// codeUnknown is a result code that no RFC assigns.
const codeUnknown = 79

type armedFault struct {
	Injection
	left int
	hits int
}

// Injected is a fault that has been armed.
type Injected struct {
	tree *Tree
	a    *armedFault
}

// Inject arms a fault. Several can be armed; the first one that matches is taken.
func (t *Tree) Inject(f Injection) *Injected {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &armedFault{Injection: f, left: f.Times}
	if f.Times == 0 {
		a.left = 1
	}
	t.faults = append(t.faults, a)
	return &Injected{tree: t, a: a}
}

// Hits is how often the fault has happened.
func (i *Injected) Hits() int {
	i.tree.mu.Lock()
	defer i.tree.mu.Unlock()
	return i.a.hits
}

// Remove disarms the fault.
func (i *Injected) Remove() {
	i.tree.mu.Lock()
	defer i.tree.mu.Unlock()
	i.a.left = 0
}

// takeFault finds the fault for a request and counts it down.
func (t *Tree) takeFault(req *Request) *armedFault {
	for _, a := range t.faults {
		if a.left == 0 || !a.matches(req) {
			continue
		}
		if a.Skip > 0 {
			a.Skip--
			continue
		}
		if a.left > 0 {
			a.left--
		}
		a.hits++
		req.Fault = a.Kind
		return a
	}
	return nil
}

func (a *armedFault) matches(req *Request) bool {
	switch {
	case a.Server != "" && foldCase(a.Server) != foldCase(req.Server),
		a.Op != 0 && a.Op != req.Op,
		a.Extended != 0 && a.Extended != req.Extended,
		a.DN != "" && dnKey(a.DN) != dnKey(req.DN):
		return false
	}
	return a.If == nil || a.If(*req)
}

func (a *armedFault) refusal() *result {
	r := &result{code: codeOther, text: "refused"}
	if a.NDS != 0 {
		r = nds(a.NDS)
	}
	if a.Code != 0 {
		r.code = a.Code
	}
	if a.Text != "" {
		r.text = a.Text
	}
	return r
}

// faultBefore does what comes before the effect and tells whether the effect happens.
func (c *conn) faultBefore(a *armedFault, req *Request) bool {
	if a.Delay > 0 && a.Kind != FaultSlowReply && !c.pause(a.Delay) {
		return false
	}
	if a.Hold != nil {
		select {
		case <-a.Hold:
		case <-c.down:
			return false
		}
	}
	switch a.Kind {
	case FaultDropRequest, FaultMuteRequest, FaultKillRequest:
		t := c.srv.tree
		t.lock()
		req.Unanswered = true
		t.record(req)
		if a.Kind == FaultKillRequest {
			c.srv.kill()
		}
		t.commit()
		t.mu.Unlock()
		return false
	}
	return true
}

// faultAfter answers, or not, after the effect and tells whether the connection goes on.
func (c *conn) faultAfter(a *armedFault, m *message, ans *answered) bool {
	if a.Do != nil {
		a.Do()
	}
	switch a.Kind {
	case FaultSlowReply:
		if !c.pause(a.Delay) {
			return false
		}
	case FaultDropReply:
		return false
	case FaultMuteReply:
		return true
	case FaultKillReply:
		t := c.srv.tree
		t.lock()
		c.srv.kill()
		t.commit()
		t.mu.Unlock()
		return false
	case FaultGarbage:
		_ = c.send([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x17, 0x2a})
		return false
	case FaultWrongMessageID:
		return c.answer(&message{id: m.id + 100000, op: m.op}, ans) == nil
	case FaultTruncated:
		if ans.found != nil {
			half := (len(ans.found.nodes) + len(ans.found.virtual)) / 2
			if c.sendFound(m.id, ans.found, half) != nil {
				return false
			}
		}
		b := ans.final(m.id)
		_ = c.send(b[:len(b)/2])
		return false
	case FaultUnknownReply:
		ans.found, ans.result = nil, refused(codeUnknown, "what happened has no name")
	case FaultDuplicate:
		if c.answer(m, ans) != nil {
			return false
		}
	}
	if c.answer(m, ans) != nil {
		return false
	}
	return ans.after == nil || ans.after()
}
