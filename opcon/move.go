package opcon

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
)

// setMachine asks the machine up, limited or down and reads the record until what was asked for stands there. Asking
// for what is asked for already sends nothing.
func (c *Client) setMachine(ctx context.Context, id int64, want MachineState) error {
	m, err := c.Machine(ctx, id)
	if err == nil {
		_, err = c.setState(ctx, m, want)
	}
	return err
}

// setState is setMachine for a machine that was just read. It returns the machine as it was read last.
func (c *Client) setState(ctx context.Context, m Machine, want MachineState) (Machine, error) {
	v := map[MachineState]verb{MachineUp: verbUp, MachineLimited: verbLimited, MachineDown: verbDown}[want]
	if v == "" {
		return m, failover.Invalid("state", want.String(), "use MachineUp, MachineLimited or MachineDown")
	}
	if m.Asked == want {
		return m, nil
	}
	op, key := string(v)+" machine", strconv.FormatInt(m.ID, 10)
	res := c.act(ctx, machineActions, v, "", []actionItem{{id: key, name: m.Name, sent: map[string]any{"id": m.ID}}})[key]
	now, err := watch(ctx, c, func() (Machine, error) { return c.Machine(ctx, m.ID) },
		func(now Machine) bool { return now.Asked == want || notDone(res) })
	switch {
	case err != nil:
		return m, notSeen(op, m.Name, res, err)
	case now.Asked == want:
		return now, nil
	case notDone(res):
		return now, res
	case res == nil:
		res = fmt.Errorf("%w: the server reported success and the machine is still asked %s", failover.ErrNotObserved,
			now.Asked)
	}
	return now, inDoubt(op, m.Name, cmp.Or(failover.NextOf(res), nextLook), res)
}

// checkAddress refuses an address with both or neither of its parts.
func checkAddress(a Address) error {
	fqdn, ip := strings.TrimSpace(a.FQDN), strings.TrimSpace(a.IP)
	switch {
	case fqdn == "" && ip == "":
		return failover.Invalid("Address", "is empty", "give the new host's name or its IP address")
	case fqdn != "" && ip != "":
		return failover.Invalid("Address", "has both a name and an IP address, and OpCon would look at the name only",
			"give one of them")
	case ip != "" && net.ParseIP(ip) == nil:
		return failover.Invalid("Address.IP", fmt.Sprintf("%q is not an IP address", ip),
			"give an IP address, or a name as FQDN")
	case fqdn != "" && (strings.ContainsAny(fqdn, " \t\r\n/:<>\"") || net.ParseIP(fqdn) != nil):
		return failover.Invalid("Address.FQDN", fmt.Sprintf("%q is not a host name", fqdn),
			"give a host name, or an address as IP")
	}
	return nil
}

// setAddress writes the address into the machine's record. The machine must be asked down: an edit is only known to
// work then (documented for the desktop client). The record goes back byte for byte but for the two address fields;
// a typed record would drop what this package does not know. It returns the machine as it was read last.
func (c *Client) setAddress(ctx context.Context, id int64, to Address) (Machine, error) {
	const op = "repoint machine"
	m, err := c.Machine(ctx, id)
	if err != nil {
		return m, err
	}
	want := Address{FQDN: orUnset(to.FQDN), IP: orUnset(to.IP)}
	if m.Address.equal(want) {
		return m, nil
	}
	if m.Asked != MachineDown {
		return m, unchanged(op, m.Name, "take the machine down first; its record can only be edited then",
			fmt.Errorf("%w: the machine is asked %s", failover.ErrPrecondition, m.Asked))
	}
	raw, err := editRecord(m.raw, want)
	if err != nil {
		return m, unchanged(op, m.Name, "edit the address in the record by hand, then run again", err)
	}
	_, putErr := c.do(ctx, call{op: op, target: m.Name, method: http.MethodPut, path: "/api/machines/" +
		strconv.FormatInt(id, 10), raw: raw})
	if notDone(putErr) {
		return m, putErr
	}
	now, err := watch(ctx, c, func() (Machine, error) { return c.Machine(ctx, id) },
		func(now Machine) bool { return now.Address.equal(want) || putErr != nil })
	switch {
	case err == nil && now.Address.equal(want):
		return now, nil
	case err == nil:
		err = fmt.Errorf("%w: its address is still %s", failover.ErrNotObserved, now.Address)
	}
	return now, inDoubt(op, m.Name, "look at the machine's address in OpCon, or run again, which looks first; where the "+
		"server takes no edit, edit the record by hand", errors.Join(putErr, err))
}

// editRecord replaces the two address fields in a machine's record and leaves every other byte as it is. It refuses a
// record that lacks one of them, names one twice or says "type": null, which some releases take as an order
// (documented).
func editRecord(raw json.RawMessage, to Address) ([]byte, error) {
	fields, err := fieldsOf(raw)
	if err != nil {
		return nil, err
	}
	values := map[string]string{"fullyqualifieddomainname": to.FQDN, "tcpipaddress": to.IP}
	found := map[string]bool{}
	var out []byte
	at := 0
	for _, f := range fields {
		key := strings.ToLower(f.name)
		if key == "type" && string(raw[f.from:f.to]) == "null" {
			return nil, errors.New("the record says type null; sending that back would damage it")
		}
		value, ok := values[key]
		if !ok {
			continue
		}
		if found[key] {
			return nil, fmt.Errorf("the record names %s twice", f.name)
		}
		found[key] = true
		out = append(append(out, raw[at:f.from]...), quoteJSON(value)...)
		at = f.to
	}
	for key := range values {
		if !found[key] {
			return nil, fmt.Errorf("the record lacks %s: the account may not see it, or the release names it otherwise", key)
		}
	}
	return append(out, raw[at:]...), nil
}

type field struct {
	name     string
	from, to int // the value's bytes
}

// fieldsOf finds the values of an object's own fields.
func fieldsOf(raw json.RawMessage) ([]field, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("the record is not an object")
	}
	var fields []field
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		end := int(dec.InputOffset())
		fields = append(fields, field{name: name, from: end - len(value), to: end})
	}
	return fields, nil
}

// quoteJSON writes a string without escaping < and >, which the server's own "<Default>" holds.
func quoteJSON(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSpace(b.Bytes())
}
