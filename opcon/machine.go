package opcon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/enum"
)

// MachineState is what OpCon says about its line to an agent (documented).
type MachineState int

const (
	MachineUnknown         MachineState = iota // the server said something this package does not know
	MachineUp                                  // communicating
	MachineLimited                             // communicating, and no job is started
	MachineDown                                // communication stopped by an operator; running jobs carry on unheard
	MachineWaitingForAgent                     // asked up, and the agent has not answered yet; it passes
	MachineNotResponding                       // asked up, and the agent does not answer
)

var machineLetters = []string{MachineUnknown: "", MachineUp: "U", MachineLimited: "L", MachineDown: "D",
	MachineWaitingForAgent: "W", MachineNotResponding: "E"}
var machineWords = []string{MachineUnknown: "unknown", MachineUp: "up", MachineLimited: "limited", MachineDown: "down",
	MachineWaitingForAgent: "waiting for the agent", MachineNotResponding: "not responding"}

// String returns the state in words.
func (s MachineState) String() string { return enum.Name(machineWords, s) }

// MarshalText writes the API's letter.
func (s MachineState) MarshalText() ([]byte, error) { return enum.Marshal(machineLetters, s) }

// UnmarshalText reads the API's letter; one it does not know is MachineUnknown.
func (s *MachineState) UnmarshalText(text []byte) error {
	return placeOf(machineLetters, text, s, sameName)
}

// Address is where OpCon looks for the agent: the FQDN field, then the TCP/IP field, then the machine's name
// (documented). An unset field reads "<Default>".
type Address struct {
	FQDN string `json:"fqdn,omitempty"` // looked at first
	IP   string `json:"ip,omitempty"`   // looked at where FQDN is unset
}

// unset is the literal the server keeps in an address field that is not used.
const unset = "<Default>"

// String returns the address OpCon will use.
func (a Address) String() string {
	for _, s := range []string{a.FQDN, a.IP} {
		if s != "" && s != unset {
			return s
		}
	}
	return "the machine's name"
}

func (a Address) equal(b Address) bool {
	return sameName(orUnset(a.FQDN), orUnset(b.FQDN)) && sameName(orUnset(a.IP), orUnset(b.IP))
}

func orUnset(s string) string {
	if strings.TrimSpace(s) == "" {
		return unset
	}
	return s
}

// Machine is one machine record: OpCon's view of an agent.
type Machine struct {
	ID   int64  `json:"id"`   // the server's
	Name string `json:"name"` // at most 24 characters (documented)
	// 6 is UNIX, which Symitar hosts are (seen in client code)
	TypeID int64        `json:"type"`
	State  MachineState `json:"state"` // the line as it is
	Asked  MachineState `json:"asked"` // what was asked for: Up, Limited or Down
	// CurrentJobs: nil: not told; may stay above 0 for ever after a crash, since only a desktop client recounts it
	CurrentJobs     *int64  `json:"currentJobs,omitempty"`
	Address         Address `json:"address"`      // empty unless the whole record was read
	AgentVersion    string  `json:"agentVersion"` // version of the agent that last answered
	AllowKill       bool    `json:"allowKill"`    // should be false for RSJ hosts
	SpecialFeatures string  `json:"features"`     // on Symitar hosts it names RSJ and its version
	// Host: name of its host as the agent reports it; "" when the server does not tell
	Host string `json:"host,omitempty"`
	// TLS: the line to the agent uses TLS, whose certificate differs per host
	TLS bool `json:"tls,omitempty"`

	raw json.RawMessage // the record byte for byte, for the round trip of a PUT
}

// readMachine reads a record. A record without an id, or with a number that cannot be read, is an error.
func readMachine(raw json.RawMessage) (Machine, error) {
	o := readObject(raw)
	status := o.object("status", "state")
	var bad error
	m := Machine{
		ID: o.number(&bad, "id"), Name: o.text("name"), TypeID: o.object("type").number(&bad, "id"),
		Address:      Address{FQDN: o.text("fullyQualifiedDomainName"), IP: o.text("tcpIpAddress")},
		AgentVersion: o.text("version", "agentVersion"), AllowKill: o.truth("allowKillJob"),
		SpecialFeatures: o.text("agentSpecialFeatures"), Host: strings.TrimSpace(o.text("hostname")),
		TLS: o.truth("useTLSforSchedulingCommunications"),
		raw: raw,
	}
	if o.get("currentJobs") != nil {
		n := o.number(&bad, "currentJobs")
		m.CurrentJobs = &n
	}
	state, asked := status.text("state"), status.text("operationStatus")
	if status == nil { // some releases give the letter alone
		state = o.text("status", "state")
	}
	_ = m.State.UnmarshalText([]byte(state)) // another letter is MachineUnknown
	if _ = m.Asked.UnmarshalText([]byte(asked)); m.Asked == MachineUnknown {
		_ = m.Asked.UnmarshalText([]byte(o.text("operationStatus")))
	}
	if bad == nil && m.ID <= 0 {
		bad = errors.New("a machine record has no id")
	}
	return m, bad
}

// jobs says how many jobs OpCon counts on the machine.
func (m Machine) jobs() string {
	if m.CurrentJobs == nil {
		return "does not tell how many jobs run"
	}
	return fmt.Sprintf("counts %d jobs", *m.CurrentJobs)
}

// FindMachine returns the machine of exactly that name, case and surrounding blanks aside, with its whole record. The
// server's name filter knows wildcards and may return others; they are dropped here. Changes nothing.
//
// Errors: ErrNotFound (also when the account may not see it), ErrAmbiguous.
func (c *Client) FindMachine(ctx context.Context, name string) (Machine, error) {
	const op = "find machine"
	// Brackets misbehave in a name filter, and scripts replace them by the wildcard for one character (seen in client
	// code). The exact match follows on this side.
	filter := strings.NewReplacer("[", "?", "]", "?").Replace(strings.TrimSpace(name))
	if err := checkMachineName(name); err != nil {
		return Machine{}, err
	}
	rows, err := c.list(ctx, op, "/api/machines", "name", url.Values{"name": {filter}, "extendedProperties": {"true"}})
	if err != nil {
		return Machine{}, err
	}
	var hits []Machine
	for _, row := range rows {
		m, err := readMachine(row)
		if sameName(m.Name, name) {
			if err != nil {
				return Machine{}, unreadable(op, name, err)
			}
			hits = append(hits, m)
		}
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		return Machine{}, unchanged(op, name, "check the name and the service account's machine access",
			fmt.Errorf("%w: no machine has this exact name (%d resemble it)", ErrNotFound, len(rows)))
	}
	return Machine{}, unchanged(op, name, "give the machines distinct names",
		fmt.Errorf("%w: %d machines have this name", ErrAmbiguous, len(hits)))
}

// Machine reads one machine by id, with its whole record. Changes nothing. Errors: ErrNotFound (also when the account
// may not see it), ErrAuth, ErrUnavailable; NotApplied always.
func (c *Client) Machine(ctx context.Context, id int64) (Machine, error) {
	const op = "read machine"
	target := strconv.FormatInt(id, 10)
	rep, err := c.do(ctx, call{op: op, target: target, path: "/api/machines",
		query: url.Values{"ids": {target}, "extendedProperties": {"true"}}})
	if err != nil {
		return Machine{}, err
	}
	rows, err := c.readList(op, target, rep.body)
	if err != nil {
		return Machine{}, err
	}
	for _, row := range rows {
		if m, err := readMachine(row); m.ID == id {
			if err != nil {
				return Machine{}, unreadable(op, target, err)
			}
			return m, nil
		}
	}
	return Machine{}, unchanged(op, target, "check the id and the service account's machine access", ErrNotFound)
}

// groupsOf returns the names of the machine groups that m is a member of, in lower case.
func (c *Client) groupsOf(ctx context.Context, m Machine) (map[string]bool, error) {
	if m.raw == nil { // m stands in a record that was read back, and its own groups do not
		now, err := c.Machine(ctx, m.ID)
		if err != nil {
			return nil, err
		}
		m.raw = now.raw
	}
	rows, err := c.list(ctx, "read machine groups", "/api/machinegroups", "name", url.Values{"includeMachines": {"true"}})
	if err != nil {
		return nil, err
	}
	groups := map[string]bool{}
	add := func(name string) { groups[strings.ToLower(strings.TrimSpace(name))] = true }
	var bad error
	for _, row := range rows {
		o := readObject(row)
		for _, member := range o.rows(&bad, "machines") {
			mo := readObject(member)
			if mo.number(&bad, "id") == m.ID || sameName(mo.text("name"), m.Name) {
				add(o.text("name"))
			}
		}
	}
	for _, g := range readObject(m.raw).rows(&bad, "groups") {
		add(readObject(g).text("name"))
	}
	if bad != nil {
		return nil, unreadable("read machine groups of", m.Name, bad)
	}
	return groups, nil
}

// checkMachineName refuses what cannot be a machine's name: longer than 24 characters or with ( ) = | ; ' ,
// (documented), or with a wildcard.
func checkMachineName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return failover.Invalid("Machine", "is empty", "give the machine's exact name in OpCon")
	case len([]rune(name)) > 24:
		return failover.Invalid("Machine", fmt.Sprintf("%q is longer than 24 characters", name),
			"give the machine's exact name in OpCon")
	case strings.ContainsAny(name, "()=|;',*?\n"):
		return failover.Invalid("Machine", fmt.Sprintf("%q holds a character no machine name has", name),
			"give the machine's exact name, without wildcards")
	}
	return nil
}
