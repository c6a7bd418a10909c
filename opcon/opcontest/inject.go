package opcontest

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
)

// InjectionKind says what goes wrong.
type InjectionKind int

// The kinds.
const (
	// InjectionCutBefore cuts the connection before the request takes effect.
	InjectionCutBefore InjectionKind = iota + 1
	// InjectionCutAfter lets the request take effect and cuts the connection before the reply.
	InjectionCutAfter
	// InjectionCutMidReply lets it take effect and cuts the connection within the reply.
	InjectionCutMidReply
	// InjectionStatus answers Injection.Code with Injection.Body and no effect.
	InjectionStatus
	// InjectionStatusAfter lets it take effect and answers Injection.Code with Injection.Body, as a proxy that lost
	// patience.
	InjectionStatusAfter
	// InjectionMute never answers and has no effect; the connection stays open until the client gives up.
	InjectionMute
	// InjectionMuteAfter lets it take effect and never answers.
	InjectionMuteAfter
	// InjectionExpireTokens makes every token invalid just before the request.
	InjectionExpireTokens
	// InjectionLoseRecord lets the action take effect and then answers 404 for its record.
	InjectionLoseRecord
	// InjectionNeverEnds keeps the action submitted for ever, without effect.
	InjectionNeverEnds
	// InjectionOtherWord lets the action take effect three requests later, and gives Injection.Body as the result of the
	// action and of its items all along; an empty Body leaves the result out.
	InjectionOtherWord
	// InjectionOtherWordNever gives Injection.Body in the same way and has no effect.
	InjectionOtherWordNever
)

// Injection is something that goes wrong with matching requests.
type Injection struct {
	Kind   InjectionKind
	Method string // "" matches all
	Path   string // prefix of the escaped path
	Verb   string // action named in the body; "" matches all
	Skip   int    // let so many matching requests pass first
	Times  int    // how many requests it hits; 0 means one, negative all
	Code   int    // InjectionStatus, StatusAfter
	Body   string // InjectionStatus, StatusAfter: the answer; OtherWord, OtherWordNever: the result

	actions bool // only posted actions
}

// Inject adds a fault.
func (s *Server) Inject(f Injection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	s.injections = append(s.injections, &f)
}

// Heal takes every injection away.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injections = nil
}

type itemFault struct {
	verb, name, message string
	times               int
}

// FailItem makes an action fail for the named machine, schedule or job, so many times; negative means always.
func (s *Server) FailItem(verb, name, message string, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.itemFaults = append(s.itemFaults, &itemFault{verb, name, message, times})
}

type trigger struct {
	method, path, verb string
	skip               int
	run                func()
	done               bool
}

// Before runs f once, just before the matching request number skip+1 is looked at. It may call every method of the
// server.
func (s *Server) Before(method, path, verb string, skip int, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = append(s.before, &trigger{method: method, path: path, verb: verb, skip: skip, run: f})
}

func (s *Server) triggered(method, path string, body []byte) []func() {
	var run []func()
	for _, t := range s.before {
		if t.done || !matches(t.method, t.path, t.verb, method, path, body) {
			continue
		}
		if t.skip > 0 {
			t.skip--
			continue
		}
		t.done = true
		run = append(run, t.run)
	}
	return run
}

func matches(wantMethod, wantPath, wantVerb, method, path string, body []byte) bool {
	return (wantMethod == "" || wantMethod == method) &&
		strings.HasPrefix(strings.ToLower(path), strings.ToLower(wantPath)) &&
		(wantVerb == "" || strings.Contains(string(body), `"action":"`+wantVerb+`"`))
}

func (s *Server) fault(method, path string, body []byte) *Injection {
	for _, f := range s.injections {
		if f.Times == 0 || (f.actions && !strings.Contains(path, "actions")) ||
			!matches(f.Method, f.Path, f.Verb, method, path, body) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		switch f.Kind {
		case InjectionExpireTokens:
			s.expireTokens()
		case InjectionLoseRecord, InjectionNeverEnds, InjectionOtherWord, InjectionOtherWordNever:
			s.nextAction.fault = f
		}
		return f
	}
	return nil
}

// early carries out the part of a fault that comes before the effect.
func (f *Injection) early(s *Server, w http.ResponseWriter, r *http.Request) bool {
	if f == nil {
		return false
	}
	switch f.Kind {
	case InjectionCutBefore:
		cut(w, "")
	case InjectionStatus:
		f.answer(w)
	case InjectionMute:
		s.wait(r)
	default:
		return false
	}
	return true
}

// late carries out the part of a fault that comes after the effect.
func (f *Injection) late(s *Server, w http.ResponseWriter, r *http.Request) bool {
	if f == nil {
		return false
	}
	switch f.Kind {
	case InjectionCutAfter:
		cut(w, "")
	case InjectionCutMidReply:
		cut(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"id\":88")
	case InjectionStatusAfter:
		f.answer(w)
	case InjectionMuteAfter:
		s.wait(r)
	default:
		return false
	}
	return true
}

func (f *Injection) answer(w http.ResponseWriter) {
	w.WriteHeader(f.Code)
	_, _ = w.Write([]byte(f.Body)) // a client that is gone is its own affair
}

func (s *Server) wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.quit:
	}
}

// cut sends text and resets the connection.
func cut(w http.ResponseWriter, text string) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte(text)) // it is cut anyway
	if t, ok := conn.(*tls.Conn); ok {
		if tcp, ok := t.NetConn().(*net.TCPConn); ok && text == "" {
			_ = tcp.SetLinger(0)
		}
		_ = t.NetConn().Close()
		return
	}
	_ = conn.Close()
}
