package idmtest

import (
	"bufio"
	"crypto/tls"
	"errors"

	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// conn is one client connection. Requests are handled one after the other.
type conn struct {
	srv    *Server
	number int
	down   chan struct{}
	raw    net.Conn
	nc     net.Conn
	r      *bufio.Reader
	secure bool
	gone   atomic.Bool

	// Guarded by tree.mu.
	bound   *node
	pages   map[string]savedSearch
	cookies int
}

func newConn(s *Server, raw net.Conn, number int, down chan struct{}) *conn {
	return &conn{srv: s, raw: raw, nc: raw, number: number, down: down, r: bufio.NewReader(raw)}
}

// cut ends the connection without a goodbye.
func (c *conn) cut() {
	c.gone.Store(true)
	_ = c.raw.Close()
}

func (c *conn) newCookie() string {
	c.cookies++
	return strconv.Itoa(c.number) + "." + strconv.Itoa(c.cookies)
}

// handshakeTime bounds a client that connects and says nothing to the TLS handshake.
const handshakeTime = 10 * time.Second

func (c *conn) serve(secure bool) {
	defer func() {
		c.cut()
		c.srv.tree.mu.Lock()
		delete(c.srv.conns, c)
		c.srv.tree.mu.Unlock()
	}()
	if secure && !c.handshake() {
		return
	}
	for !c.gone.Load() {
		frame, err := readFrame(c.r)
		if err != nil {
			if errors.Is(err, errMalformed) {
				c.disconnectNotice(err)
			}
			return
		}
		m, err := decodeMessage(frame)
		if err != nil {
			c.disconnectNotice(err)
			return
		}
		if !c.handle(m) {
			return
		}
	}
}

func (c *conn) handshake() bool {
	secured := tls.Server(c.raw, c.srv.tlsConfig())
	if c.raw.SetDeadline(time.Now().Add(handshakeTime)) != nil || secured.Handshake() != nil ||
		c.raw.SetDeadline(time.Time{}) != nil {
		return false
	}
	c.nc, c.secure, c.r = secured, true, bufio.NewReader(secured)
	return true
}

// disconnectNotice is the unsolicited notification of RFC 4511 §4.4.1.
func (c *conn) disconnectNotice(err error) {
	r := refused(codeProtocolError, err.Error())
	r.name = "1.3.6.1.4.1.1466.20036"
	_ = c.send(encodeResult(0, tagExtResponse, r))
}

func (c *conn) send(b []byte) error {
	_, err := c.nc.Write(b)
	return err
}

// pause waits unless the server goes down first.
func (c *conn) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.down:
		return false
	}
}

// handle does one request and tells whether the connection goes on.
func (c *conn) handle(m *message) bool {
	t := c.srv.tree
	if _, ok := m.op.(unbindRequest); ok {
		t.mu.Lock()
		t.record(c.describe(m))
		t.mu.Unlock()
		return false
	}
	req := c.describe(m)
	t.mu.Lock()
	if c.bound != nil {
		req.Bound = c.bound.String()
	}
	f := t.takeFault(req)
	t.mu.Unlock()
	if f != nil && !c.faultBefore(f, req) {
		return f.Kind == FaultMuteRequest // a mute server still reads
	}
	a, alive := c.execute(m, req, f)
	if !alive {
		return false
	}
	if a == nil { // abandon has no answer
		return true
	}
	if f != nil {
		return c.faultAfter(f, m, a)
	}
	if c.answer(m, a) != nil {
		return false
	}
	if a.after != nil {
		return a.after()
	}
	return true
}

// answer sends everything the operation has to say.
func (c *conn) answer(m *message, a *answered) error {
	if a.found != nil {
		if err := c.sendFound(m.id, a.found, -1); err != nil {
			return err
		}
	}
	return c.send(a.final(m.id))
}

// answered is the finished operation.
type answered struct {
	tag    int
	result *result
	found  *found
	after  func() bool // runs when the answer has been sent
}

func (a *answered) final(id int64) []byte { return encodeResult(id, berTag(a.tag), a.result) }

// sendFound sends the entries of a search, at most limit when it is not negative.
func (c *conn) sendFound(id int64, f *found, limit int) error {
	w := bufio.NewWriterSize(c.nc, 64<<10)
	t := c.srv.tree
	sent := 0
	put := func(b []byte) error {
		if limit >= 0 && sent >= limit {
			return nil
		}
		sent++
		_, err := w.Write(b)
		return err
	}
	for _, v := range f.virtual {
		if err := put(encodeEntry(id, v.name, v.pick(f.pick), f.typesOnly)); err != nil {
			return err
		}
	}
	for _, to := range f.nodes {
		t.mu.Lock()
		if t.nodes[to.n.id] != to.n {
			t.mu.Unlock()
			continue
		}
		view := readable{t: t, to: to, caller: c.bound, super: t.supervisor(c.bound, to.n)}
		name, attrs := to.n.String(), view.attributes(f.pick)
		t.mu.Unlock()
		if err := put(encodeEntry(id, name, attrs, f.typesOnly)); err != nil {
			return err
		}
	}
	for _, urls := range f.references {
		if err := put(encodeReference(id, urls)); err != nil {
			return err
		}
	}
	return w.Flush()
}

// execute performs the operation under the tree's lock. alive is false when the server died before it could.
func (c *conn) execute(m *message, req *Request, f *armedFault) (*answered, bool) {
	t := c.srv.tree
	t.lock()
	defer t.mu.Unlock()
	if !c.srv.up || !c.srv.reachable || t.closed {
		return nil, false
	}
	a := &answered{tag: responseTag(m.op), result: &result{}}
	switch {
	case f != nil && f.Kind == FaultRefusal:
		a.result = f.refusal()
	case f != nil && f.Kind == FaultEmptySuccess:
	default:
		c.perform(m, a)
	}
	if a.tag < 0 {
		t.record(req)
		return nil, true
	}
	req.Result, req.NDS = a.result.code, a.result.nds
	if a.found != nil {
		req.Entries = len(a.found.nodes) + len(a.found.virtual)
	}
	t.record(req)
	t.commit()
	return a, true
}

func responseTag(op any) int {
	switch op.(type) {
	case bindRequest:
		return tagBindResponse
	case searchRequest:
		return tagSearchDone
	case modifyRequest:
		return tagModifyResponse
	case addRequest:
		return tagAddResponse
	case deleteRequest:
		return tagDelResponse
	case modifyDNRequest:
		return tagModDNResponse
	case compareRequest:
		return tagCompareResponse
	case extendedRequest:
		return tagExtResponse
	}
	return -1
}

func (c *conn) perform(m *message, a *answered) {
	for _, ctl := range m.controls {
		if ctl.critical && !c.srv.supportsControl(ctl.oid) {
			a.result = refused(codeCriticalExtension, "critical control "+ctl.oid+" is not supported")
			return
		}
	}
	switch op := m.op.(type) {
	case bindRequest:
		a.result = c.bind(op)
	case searchRequest:
		a.found = c.search(op, m.controls)
		a.result = a.found.done
	case modifyRequest:
		a.result = c.modify(op)
	case addRequest:
		a.result = c.add(op)
	case deleteRequest:
		a.result = c.remove(op)
	case modifyDNRequest:
		a.result = c.modifyDN(op)
	case compareRequest:
		a.result = c.compare(op)
	case extendedRequest:
		a.result, a.after = c.extended(op)
	}
}

func (c *conn) bind(req bindRequest) *result {
	c.bound = nil
	switch {
	case req.version != 3:
		return refused(codeProtocolError, "LDAP version 3 only")
	case !req.simple:
		return refused(codeAuthMethod, "SASL mechanism "+req.sasl+" is not offered")
	case len(req.password) == 0:
		return &result{} // anonymous, whatever the name says: the trap of an empty password
	case !c.secure:
		return refused(codeConfidentiality, "NDS error: confidentiality required (-6089)")
	}
	to, r := c.resolve(req.dn)
	if r != nil {
		return r
	}
	if to.n.password == "" || to.n.password != digest("bind", req.password) {
		return nds(-669)
	}
	c.bound = to.n
	return &result{}
}

func (c *conn) referralURL(other *Server, name string) string {
	scheme, which := "ldap://", clearPort
	if c.secure {
		scheme, which = "ldaps://", tlsPort
	}
	return scheme + other.address(which) + "/" + url.PathEscape(name)
}

func (s *Server) supportsControl(oid string) bool {
	switch oid {
	case oidPaging:
		return !s.tree.cfg.NoPaging
	case oidManageDSA, oidTypedName:
		return true
	}
	return false
}
