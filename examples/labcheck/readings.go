package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover/idm"
)

// The questions whose answers more than one place writes down.
const (
	askFraming  = "arguments of an operation with several: concatenated or in a SEQUENCE"
	askPolarity = "which value of the flag of operation 9 means \"do not synchronize\""
)

// operations are the DirXML operations the library's procedures need.
var operations = []int{1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 33, 35, 39, 41, 53, 59, 67, 69, 71, 73, 75, 77,
	79, 81, 101}

// unpublished reports whether nobody has published what the operation, or the response, with this number is.
func unpublished(n int) bool { return n > 84 && !slices.Contains([]int{89, 90, 91, 92, 101, 102}, n) }

const prefix = "2.16.840.1.113719.1.14.100."

// check asks everything of the list that can be asked. The result is returned also with an error, with what was found
// so far.
func check(ctx context.Context, path, write string) (r *result, err error) {
	l, err := readLab(path, write)
	if err != nil {
		return nil, err
	}
	conf, err := l.Server.Config("server")
	if err != nil {
		return nil, err
	}
	server, err := idm.Dial(ctx, conf)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	r = &result{Server: server.DN(), Vendor: server.RootDSE().Vendor}
	defer r.finish()
	r.extensions(server)
	r.shapes(ctx, server, l.Driver)
	if err := r.framing(ctx, conf, l.Driver); err != nil {
		return r, err
	}
	r.codes(ctx, conf, server, l)
	r.passwords(ctx, server, l.Driver)
	r.schema(ctx, server)
	r.transport(ctx, l.Server)
	r.rest()
	if write == "" {
		r.add(4, askPolarity, untried, "-write-to-scratch-driver finds it out on a driver nobody needs")
		r.add(7, "setting passwords", untried, "-write-to-scratch-driver sets and clears them on a driver nobody needs")
		return r, ctx.Err()
	}
	return r, r.scratch(ctx, conf, l)
}

// extensions is item 1: what the root DSE lists.
func (r *result) extensions(server *idm.Server) {
	const question = "DirXML operations in supportedExtension"
	dse := server.RootDSE()
	var missing, more []string
	for _, n := range operations {
		if !dse.HasExtension(prefix + strconv.Itoa(n)) {
			missing = append(missing, strconv.Itoa(n))
		}
	}
	listed := 0
	for _, oid := range dse.Extensions {
		number, ok := strings.CutPrefix(oid, prefix)
		if !ok {
			continue
		}
		listed++
		if n, err := strconv.Atoi(number); err != nil || unpublished(n) {
			more = append(more, number)
		}
	}
	switch {
	case listed == 0:
		r.add(1, question, open, "none: the DirXML LDAP extension is not loaded here, or the server does not list it")
	case len(missing) > 0:
		r.add(1, question, differs, "%d listed; missing of those the library needs: %s; numbers without a published name: %s",
			listed, listOf(missing), listOf(more))
	default:
		r.add(1, question, expected, "%d listed, all that the library needs; numbers without a published name: %s", listed,
			listOf(more))
	}
}

// shapes is items 1 and 2: what the operations that only read answer.
func (r *result) shapes(ctx context.Context, server *idm.Server, driver string) {
	one := ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, driver, "").Bytes()
	for _, q := range []struct {
		item, number int
		what         string
		value        []byte
		typed        func() (string, error)
	}{
		{1, 11, "GetVersion", nil, func() (string, error) { v, err := server.EngineVersion(ctx); return v.String(), err }},
		{1, 1, "GetDriverSet", nil, func() (string, error) { dn, err := server.AssociatedDriverSet(ctx); return dn, err }},
		{2, 13, "GetDriverState with a bare OCTET STRING", one,
			func() (string, error) { s, err := server.State(ctx, driver); return s.String(), err }},
		{2, 7, "GetDriverStartOption with a bare OCTET STRING", one,
			func() (string, error) { o, err := server.StartOption(ctx, driver); return o.String(), err }},
	} {
		question := fmt.Sprintf("%s (%d)", q.what, q.number)
		answer, err := server.Extended(ctx, prefix+strconv.Itoa(q.number), q.value)
		if err != nil {
			r.add(q.item, question, open, "%s", inWords(err))
			continue
		}
		name := "no responseName"
		if answer.Name != "" {
			name = "responseName " + answer.Name
		}
		read, err := q.typed()
		if err != nil {
			r.add(q.item, question, differs, "answers %s, %s; the library: %v", shape(answer.Value), name, err)
			continue
		}
		r.add(q.item, question, expected, "answers %s, %s: %s", shape(answer.Value), name, read)
	}
}

// framing is item 3: the statistics are read both ways, which changes nothing.
func (r *result) framing(ctx context.Context, conf idm.Config, driver string) error {
	const concatenated, sequence = idm.FramingConcatenated, idm.FramingSequence
	took := map[idm.Framing]error{}
	var stats idm.Stats
	for _, f := range []idm.Framing{concatenated, sequence} {
		conf.Dialect.Framing = f
		server, err := idm.Dial(ctx, conf)
		if err != nil {
			return err
		}
		s, err := server.Stats(ctx, driver)
		if took[f] = err; err == nil {
			stats = s
		}
		if err := server.Close(); err != nil {
			return err
		}
	}
	found := fmt.Sprintf("concatenated: %s\nsequence: %s", inWords(took[concatenated]), inWords(took[sequence]))
	switch {
	case took[concatenated] == nil:
		r.Framing = concatenated.String()
		r.add(3, askFraming, expected, "%s\nGetDriverStats (19) of %s on %s: %d bytes wait", found, stats.DriverDN,
			stats.ServerDN, stats.CacheBytes)
	case took[sequence] == nil:
		r.Framing = sequence.String()
		r.add(3, askFraming, learned, "%s\nGetDriverStats (19) of %s on %s: %d bytes wait", found, stats.DriverDN,
			stats.ServerDN, stats.CacheBytes)
	default:
		r.add(3, askFraming, open, "%s\nname a driver that the engine of this server serves, and a user with the rights",
			found)
	}
	return nil
}

// codes is the part of item 5 that changes nothing: what the server says when it refuses.
func (r *result) codes(ctx context.Context, conf idm.Config, server *idm.Server, l lab) {
	ask := func(question string, want error, s *idm.Server, driver string) {
		_, err := s.StartOption(ctx, driver)
		v := differs
		if errors.Is(err, want) {
			v = expected
		}
		r.add(5, question, v, "%s", inWords(err))
	}
	ask("start option of a driver that is not there", idm.ErrNoEntry, server,
		"cn=labcheck-no-such-driver,"+idm.ParentDN(l.Driver))
	const unserved, limited = "start option of a driver this server does not serve",
		"start option as a user without rights"
	if l.UnservedDriver == "" {
		r.add(5, unserved, untried, "unserved_driver of the file is empty")
	} else {
		ask(unserved, idm.ErrNotServed, server, l.UnservedDriver)
	}
	if l.LimitedUser.DN == "" {
		r.add(5, limited, untried, "limited_user of the file is empty")
		return
	}
	conf.UserDN, conf.Password = l.LimitedUser.DN, l.LimitedUser.Password.Func()
	poor, err := idm.Dial(ctx, conf)
	if err != nil {
		r.add(5, limited, open, "%v", err)
		return
	}
	ask(limited, idm.ErrNoAccess, poor, l.Driver)
	_ = poor.Close()
}

// passwords is item 8: layouts of what is answered about passwords. Texts are shown by their length only.
func (r *result) passwords(ctx context.Context, server *idm.Server, driver string) {
	one := ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, driver, "").Bytes()
	const list, state = "ListNamedPasswords (81): layout", "GetPasswordsState (45): layout"
	answer, err := server.Extended(ctx, prefix+"81", one)
	switch names, typed := server.NamedPasswords(ctx, driver); {
	case err != nil:
		r.add(8, list, open, "%s", inWords(err))
	case typed != nil:
		r.add(8, list, differs, "answers %s; the library: %v", shape(answer.Value), typed)
	default:
		v := expected
		if len(names) == 0 {
			v = learned
		}
		r.add(8, list, v, "answers %s: %d named passwords", shape(answer.Value), len(names))
	}
	raw, err := server.PasswordsState(ctx, driver)
	if err != nil {
		r.add(8, state, learned, "%s", inWords(err))
		return
	}
	r.add(8, state, learned, "answers %s", shape(raw))
}

// schema is item 9 as far as the schema says it.
func (r *result) schema(ctx context.Context, server *idm.Server) {
	const question = "which attributes are per server, as the schema says (the trace attributes among them)"
	s, err := server.Schema(ctx)
	switch {
	case err != nil:
		r.add(9, question, open, "%s", inWords(err))
	case !s.Read:
		r.add(9, question, open, "the schema marks nothing X-NDS_NEVER_SYNC; the library's table counts")
	case len(s.Differences) > 0:
		r.add(9, question, learned, "the server's word counts:\n%s", strings.Join(s.Differences, "\n"))
	default:
		r.add(9, question, expected, "as in the library's table")
	}
}

// rest is what no program should do by itself.
func (r *result) rest() {
	r.add(6, "operations 3 and 5 (join and leave a driver set)", byHand,
		"on a scratch driver set without drivers: join, read DirXML-ServerList and a start option at once and after a "+
			"restart of ndsd; "+
			"leave, and look whether DirXML-ConfigValues of the set is still there")
	r.add(10, "per-server values differ between two servers", byHand,
		"write DirXML-ConfigValues of a scratch driver on one server and read it on both")
	r.add(11, "a server that comes back starts its Auto drivers", byHand,
		"set a scratch driver to Auto, restart ndsd, read its state")
}

func listOf(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// inWords gives the codes of a refusal, or what else went wrong.
func inWords(err error) string {
	if err == nil {
		return "accepted"
	}
	if refused, ok := errors.AsType[*idm.ResultError](err); ok {
		return "refused: " + refused.Error()
	}
	return err.Error()
}

// shape describes the layout of an answer; texts only by their length, because they may be anything.
func shape(value []byte) string {
	if len(value) == 0 {
		return "no value"
	}
	var parts []string
	for rest := value; len(rest) > 0; {
		p, err := ber.DecodePacketErr(rest)
		if err != nil {
			return fmt.Sprintf("%d bytes that are no BER", len(value))
		}
		n := len(p.Bytes())
		parts, rest = append(parts, element(p)), rest[min(n, len(rest)):]
	}
	return strings.Join(parts, " ")
}

func element(p *ber.Packet) string {
	if p.TagType == ber.TypeConstructed {
		var inner []string
		for _, c := range p.Children {
			inner = append(inner, element(c))
		}
		name := "SEQUENCE"
		if p.ClassType != ber.ClassUniversal || p.Tag != ber.TagSequence {
			name = fmt.Sprintf("[class %d tag %d]", p.ClassType, p.Tag)
		}
		return name + "{" + strings.Join(inner, ", ") + "}"
	}
	if n, ok := p.Value.(int64); ok && p.ClassType == ber.ClassUniversal {
		return fmt.Sprintf("INTEGER %d", n)
	}
	if p.ClassType == ber.ClassUniversal && p.Tag == ber.TagOctetString {
		return fmt.Sprintf("OCTET STRING of %d", p.Data.Len())
	}
	return fmt.Sprintf("[class %d tag %d] of %d", p.ClassType, p.Tag, p.Data.Len())
}

// noObjectOf reports an object that carries an association with the driver, "" when none does.
func noObjectOf(ctx context.Context, server *idm.Server, driver string) (string, error) {
	for state := range 5 {
		filter := fmt.Sprintf("(DirXML-Associations=%s#%d#*)", ldap.EscapeFilter(driver), state)
		for e, err := range server.Entries(ctx,
			idm.Query{Scope: idm.ScopeSubtree, Filter: filter, Attributes: []string{"1.1"}}) {
			return e.DN, err
		}
	}
	return "", nil
}
