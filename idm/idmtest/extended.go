package idmtest

import (
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

const (
	dirxmlPrefix = "2.16.840.1.113719.1.14.100."
	ndsPrefix    = "2.16.840.1.113719.1.27.100."
	oidStartTLS  = "1.3.6.1.4.1.1466.20037"
)

// argument is one element of a request value.
type argument struct {
	number int64
	octets []byte
}

func (a argument) text() string { return string(a.octets) }

// extOp is one DirXML operation. The letters of args are: n distinguished name, i number, o octets, p password, s SET
// OF number. A "?" makes the rest optional.
type extOp struct {
	args  string
	right string // rights attribute the caller must hold write on; "" none
	on    string // class the name must be of: driver, set, job, holder (of named passwords) or ""
	run   func(*call) *result
}

// call is one extended operation being done.
type call struct {
	c    *conn
	srv  *Server
	tree *Tree
	n    *node
	args []argument
	d    *engineDriver // for operations on a driver the engine serves
}

var extOps = map[int]extOp{
	1:   {args: "", right: "", run: getDriverSet},
	3:   {args: "n", right: "DirXML-AccessConfigure", on: "set", run: setDriverSet},
	5:   {args: "", right: "", run: clearDriverSet},
	7:   {args: "n", right: "DirXML-AccessConfigure", on: "driver", run: getStartOption},
	9:   {args: "nii", right: "DirXML-AccessConfigure", on: "driver", run: setStartOption},
	11:  {args: "", run: getVersion},
	13:  {args: "n", right: "DirXML-AccessRun", on: "driver", run: getState},
	15:  {args: "n", right: "DirXML-AccessRun", on: "driver", run: start},
	17:  {args: "n", right: "DirXML-AccessRun", on: "driver", run: stop},
	19:  {args: "nii", right: "DirXML-AccessManage", on: "driver", run: getStats},
	21:  {args: "n", right: "DirXML-AccessMigrate", on: "driver", run: getSchema},
	23:  {args: "ni", right: "DirXML-AccessMigrate", on: "driver", run: resyncSince},
	27:  {args: "no", right: "DirXML-AccessSubmitCommand", on: "driver", run: queueEvent},
	33:  {args: "iii", run: getChunk},
	35:  {args: "i", run: closeChunk},
	39:  {args: "n", right: "DirXML-AccessConfigure", on: "driver", run: initDriver},
	41:  {args: "niiii", right: "DirXML-AccessManage", on: "driver", run: viewCache},
	43:  {args: "niioi", right: "DirXML-AccessManage", on: "driver", run: deleteCache},
	53:  {args: "n", right: "DirXML-AccessConfigure", on: "job", run: updateJob},
	55:  {args: "n", right: "DirXML-AccessRun", on: "job", run: startJob},
	57:  {args: "n", right: "DirXML-AccessRun", on: "job", run: abortJob},
	59:  {args: "n", right: "DirXML-AccessRun", on: "job", run: jobState},
	67:  {args: "np", right: "DirXML-AccessConfigure", on: "driver", run: setAppPassword},
	69:  {args: "n", right: "DirXML-AccessConfigure", on: "driver", run: clearAppPassword},
	71:  {args: "np", right: "DirXML-AccessConfigure", on: "driver", run: setRemotePassword},
	73:  {args: "n", right: "DirXML-AccessConfigure", on: "driver", run: clearRemotePassword},
	75:  {args: "noop", right: "DirXML-AccessConfigure", on: "holder", run: setNamedPassword},
	77:  {args: "no", right: "DirXML-AccessConfigure", on: "holder", run: removeNamedPassword},
	79:  {args: "n", right: "DirXML-AccessConfigure", on: "holder", run: removeNamedPasswords},
	81:  {args: "n", right: "DirXML-AccessConfigure", on: "holder", run: listNamedPasswords},
	101: {args: "n", right: "DirXML-AccessRun", on: "driver", run: restart},
}

// dirxmlNumber is N of 2.16.840.1.113719.1.14.100.N, 0 for any other operation.
func dirxmlNumber(oid string) int {
	rest, ok := strings.CutPrefix(oid, dirxmlPrefix)
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func (c *conn) extended(req extendedRequest) (*result, func() bool) {
	switch {
	case req.oid == oidStartTLS:
		return c.startTLS(req)
	case strings.HasPrefix(req.oid, ndsPrefix):
		return c.ndsOperation(req), nil
	}
	number := dirxmlNumber(req.oid)
	op, ok := extOps[number]
	if !ok || c.srv.engine.Mode == EngineAbsent {
		return refused(codeProtocolError, "unrecognized extended operation "+req.oid), nil
	}
	r := c.dirxml(number, op, req)
	if !c.srv.tree.cfg.OmitResponseName {
		r.name = dirxmlPrefix + strconv.Itoa(number+1)
	}
	return r, nil
}

func (c *conn) dirxml(number int, op extOp, req extendedRequest) *result {
	t := c.srv.tree
	args, err := decodeArguments(req.value, op.args, t.cfg.Framing)
	if err != nil {
		return refused(codeProtocolError, err.Error())
	}
	k := &call{c: c, srv: c.srv, tree: t, args: args}
	switch {
	case c.bound == nil:
		return nds(-672)
	case number == 11: // the version is answered by an engine in any condition
		return op.run(k)
	case c.srv.engine.Mode == EngineNotInitialized || c.srv.engine.Lost:
		return nds(-783)
	}
	if strings.HasPrefix(op.args, "n") {
		if r := k.findEntry(op); r != nil {
			return r
		}
		k.args = args[1:]
	}
	return op.run(k)
}

// findEntry looks up the entry an operation names and checks class, rights and whether the engine serves it.
func (k *call) findEntry(op extOp) *result {
	name, err := parseDN(k.args[0].text())
	if err != nil {
		return nds(-610)
	}
	n, deepest := k.tree.lookup(name)
	if !k.srv.holdsData(deepest.partitionRoot()) {
		return nds(-781) // these operations are never chained
	}
	if n == nil || n == k.tree.root {
		return nds(-601)
	}
	k.n = n
	var fits bool
	switch op.on {
	case "driver":
		fits = isDriver(n)
	case "set":
		fits = n.isA("DirXML-DriverSet")
	case "job":
		fits = n.isA("DirXML-Job")
	case "holder":
		fits = isDriver(n) || n.isA("DirXML-DriverSet") || n.isA("DirXML-Job") || n.isA("DirXML-Resource")
	}
	if !fits {
		return nds(-641)
	}
	if op.right != "" && !k.tree.mayWrite(k.c.bound, n, op.right) {
		return nds(-672)
	}
	return nil
}

// served is for operations that need a driver the engine works for.
func (k *call) served() *result {
	if k.d = k.srv.engine.serving(k.n); k.d == nil {
		return nds(-603)
	}
	return nil
}

// configures tells whether the caller may configure the driver sets of this server.
func (k *call) configures() bool {
	return k.tree.mayWrite(k.c.bound, k.tree.find(k.srv.dn), "DirXML-AccessConfigure")
}

// decodeArguments reads the elements of a request value and checks them against the pattern, to the last byte.
func decodeArguments(value []byte, pattern string, framing Framing) ([]argument, error) {
	if pattern == "" {
		if len(value) > 0 {
			return nil, malformed("the operation takes no arguments")
		}
		return nil, nil
	}
	if err := checkNesting(value, 0); err != nil {
		return nil, err
	}
	var elements []*ber.Packet
	for rest := value; len(rest) > 0; {
		p, err := ber.DecodePacketErr(rest)
		if err != nil {
			return nil, malformed("argument %d: %v", len(elements)+1, err)
		}
		elements = append(elements, p)
		rest = rest[elementLength(rest):]
	}
	if framing == FramingSequence && len(pattern) > 1 {
		if len(elements) != 1 || !is(elements[0], ber.ClassUniversal, ber.TagSequence) {
			return nil, malformed("the arguments are not in a SEQUENCE")
		}
		elements = elements[0].Children
	}
	if len(elements) != len(pattern) {
		return nil, malformed("%d arguments, not %d", len(pattern), len(elements))
	}
	args := make([]argument, len(elements))
	for i, p := range elements {
		var err error
		if pattern[i] == 'i' {
			args[i].number, err = integer(p, ber.TagInteger)
		} else {
			args[i].octets, err = octets(p)
		}
		if err != nil {
			return nil, malformed("argument %d: %v", i+1, err)
		}
	}
	return args, nil
}

// elementLength is the length of the first element of data, which checkNesting has accepted.
func elementLength(data []byte) int {
	length, used := int(data[1]), 2
	if data[1] >= 0x80 {
		n := int(data[1] & 0x7f)
		length = 0
		for _, b := range data[2 : 2+n] {
			length = length<<8 | int(b)
		}
		used += n
	}
	return used + length
}

// describeExtended fills in what the record shows of an extended operation.
func (s *Server) describeExtended(op extendedRequest, req *Request) {
	number := dirxmlNumber(op.oid)
	req.Extended = number
	known, ok := extOps[number]
	if !ok {
		return
	}
	args, err := decodeArguments(op.value, known.args, s.tree.cfg.Framing)
	if err != nil {
		return
	}
	for i, a := range args {
		switch known.args[i] {
		case 'n':
			req.DN = a.text()
		case 'i':
			req.Arguments = append(req.Arguments, strconv.FormatInt(a.number, 10))
		case 'p':
			req.Arguments = append(req.Arguments, "[redacted]")
		default:
			req.Arguments = append(req.Arguments, a.text())
		}
	}
}

func (c *conn) startTLS(req extendedRequest) (*result, func() bool) {
	r := &result{name: oidStartTLS}
	if c.secure || len(req.value) > 0 || c.r.Buffered() > 0 {
		r.code, r.text = 1, "TLS is on already or the request is not alone"
		return r, nil
	}
	c.bound = nil
	return r, c.handshake
}

// valueOf wraps the elements of an answer in the SEQUENCE the engine sends.
func valueOf(elements ...*ber.Packet) *result {
	return &result{value: newSequence(elements...).Bytes()}
}
