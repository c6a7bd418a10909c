package idmtest

import (
	"fmt"
	"slices"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// Operation is the kind of a request.
type Operation int

// The kinds of requests.
const (
	OperationBind Operation = iota + 1
	OperationUnbind
	OperationSearch
	OperationModify
	OperationAdd
	OperationDelete
	OperationModifyDN
	OperationCompare
	OperationAbandon
	OperationExtended
)

var operationNames = []string{"", "bind", "unbind", "search", "modify", "add", "delete", "modify DN", "compare",
	"abandon", "extended"}

// String names the operation.
func (o Operation) String() string {
	if o > 0 && int(o) < len(operationNames) {
		return operationNames[o]
	}
	return fmt.Sprintf("Operation(%d)", int(o))
}

// Request is what a server was asked and what it answered. It holds no password.
type Request struct {
	Seq        int
	At         time.Time
	Server     string
	Connection int
	Secure     bool   // over TLS
	Bound      string // name the connection was bound as, "" for anonymous
	Op         Operation
	DN         string   // entry named; for an extended operation its first name argument
	OID        string   // extended operations
	Extended   int      // N of 2.16.840.1.113719.1.14.100.N
	Arguments  []string // extended operations: what follows the name, passwords as "[redacted]"
	Attributes []string // asked for, compared, added or modified
	Controls   []string
	Result     int // LDAP result code
	NDS        int // NDS error behind it, 0 for none
	Entries    int // search: entries found
	Fault      FaultKind
	Unanswered bool // a fault took the request before it had an effect
}

func (c *conn) describe(m *message) *Request {
	req := &Request{Server: c.srv.name, Connection: c.number, Secure: c.secure}
	for _, ctl := range m.controls {
		req.Controls = append(req.Controls, ctl.oid)
	}
	switch op := m.op.(type) {
	case bindRequest:
		req.Op, req.DN = OperationBind, op.dn
	case unbindRequest:
		req.Op = OperationUnbind
	case searchRequest:
		req.Op, req.DN, req.Attributes = OperationSearch, op.base, op.attrs
	case modifyRequest:
		req.Op, req.DN = OperationModify, op.dn
		for _, ch := range op.changes {
			req.Attributes = append(req.Attributes, ch.name)
		}
	case addRequest:
		req.Op, req.DN = OperationAdd, op.dn
		for _, a := range op.attrs {
			req.Attributes = append(req.Attributes, a.name)
		}
	case deleteRequest:
		req.Op, req.DN = OperationDelete, op.dn
	case modifyDNRequest:
		req.Op, req.DN = OperationModifyDN, op.dn
	case compareRequest:
		req.Op, req.DN, req.Attributes = OperationCompare, op.dn, []string{op.attr}
	case abandonRequest:
		req.Op = OperationAbandon
	case extendedRequest:
		req.Op, req.OID = OperationExtended, op.oid
		c.srv.describeExtended(op, req)
	}
	return req
}

// record keeps a request and numbers it.
func (t *Tree) record(req *Request) {
	t.seq++
	req.Seq, req.At = t.seq, t.now()
	if len(t.requests) >= t.cfg.KeepRequests {
		t.requests = slices.Delete(t.requests, 0, len(t.requests)-t.cfg.KeepRequests+1)
	}
	t.requests = append(t.requests, *req)
	t.cfg.Logger.Debug("request", "server", req.Server, "op", req.Op.String(), "dn", req.DN, "oid", req.OID, "result",
		req.Result, "nds", req.NDS)
}

// Requests returns what the servers were asked, oldest first.
func (t *Tree) Requests() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.requests)
}

// Asked returns the requests for which keep is true.
func (t *Tree) Asked(keep func(Request) bool) []Request {
	var list []Request
	for _, r := range t.Requests() {
		if keep(r) {
			list = append(list, r)
		}
	}
	return list
}

// ForgetRequests empties the record.
func (t *Tree) ForgetRequests() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests = nil
}

func berTag(n int) ber.Tag { return ber.Tag(n) } //nolint:gosec // n is one of our own small constants
