package idm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

// ServerDataOptions says which per-server values are compared or copied.
type ServerDataOptions struct {
	DriverSet string   // required
	Drivers   []string // DNs of the drivers; none means all of the driver set
	// OnRequest names attributes that are copied only when asked for, such as DirXML-DriverStorage (the shim's position in
	// its application) and DirXML-JavaEnvironmentParameters. See [Schema] for what each means.
	OnRequest []string
}

func (o ServerDataOptions) validate() error {
	if err := checkDN("ServerDataOptions.DriverSet", o.DriverSet); err != nil {
		return err
	}
	for _, dn := range o.Drivers {
		if err := checkDN("ServerDataOptions.Drivers", dn); err != nil {
			return err
		}
		if !belowDN(dn, o.DriverSet) {
			return failover.Invalid("ServerDataOptions.Drivers", dn+" is not in "+o.DriverSet, "name drivers of this driver set")
		}
	}
	table := TableSchema()
	for _, name := range o.OnRequest {
		if t, ok := table.Attribute(name); !ok || t.Copying != CopyingOnRequest {
			return failover.Invalid("ServerDataOptions.OnRequest", name+" is not copied on request",
				"name DirXML-DriverStorage or DirXML-JavaEnvironmentParameters")
		}
	}
	return nil
}

// selection is what of a driver set counts: everything that is not part of a driver left out.
type selection struct {
	set     string
	chosen  []string
	leftOut []string
}

func (s *Server) selection(ctx context.Context, o ServerDataOptions) (selection, error) {
	all, err := s.Drivers(ctx, o.DriverSet)
	if err != nil || len(o.Drivers) == 0 {
		return selection{set: o.DriverSet, chosen: all}, err
	}
	if unknown := lacking(o.Drivers, all); len(unknown) > 0 {
		return selection{}, notDone("find driver", unknown[0], "check the DN", ErrNoEntry)
	}
	return selection{set: o.DriverSet, chosen: o.Drivers, leftOut: lacking(all, o.Drivers)}, nil
}

func (sel selection) includes(dn string) bool { return driverOf(sel.leftOut, dn) == "" }

// holder returns the driver the entry belongs to, or the driver set for what belongs to none, such as a library.
func (sel selection) holder(dn string) string { return cmp.Or(driverOf(sel.chosen, dn), sel.set) }

// driverOf returns the driver that the entry is, or lies in; "" when it is none of these.
func driverOf(drivers []string, dn string) string {
	for _, d := range drivers {
		if SameDN(d, dn) || belowDN(dn, d) {
			return d
		}
	}
	return ""
}

// ServerDifference is one per-server attribute that two servers hold differently.
type ServerDifference struct {
	Object    string
	Attribute string
	Why       string // what the attribute is for
	From, To  [][]byte
}

// String returns one line; values are not shown, they can be long and can hold what should not be on a screen.
func (d ServerDifference) String() string {
	sign, sizes := "~", fmt.Sprintf("%s instead of %s", size(d.From), size(d.To))
	switch {
	case len(d.To) == 0:
		sign, sizes = "+", size(d.From)
	case len(d.From) == 0:
		sign, sizes = "-", size(d.To)
	}
	return fmt.Sprintf("%s %s: %s (%s, %s)", sign, d.Object, d.Attribute, d.Why, sizes)
}

func size(values [][]byte) string { return fmt.Sprintf("%d bytes", len(bytes.Join(values, nil))) }

// ServerDataReport is what a comparison found and a copy did.
type ServerDataReport struct {
	From, To    string             // DNs of the servers
	Objects     int                // looked at
	Differences []ServerDifference // found before anything was written
	Written     []string           // objects that were changed
	// ByHand lists what differs and is not copied: what has no published setter, such as the cache limit; what is copied
	// only on request and was not asked for, such as a shim's position in its application; and the values of the driver
	// set itself while drivers that are not part of the copy are active on the target.
	ByHand []ServerDifference
	// Secrets are the passwords to be set again on the server copied to.
	Secrets SecretList
}

// Equal reports whether nothing that may be copied differs.
func (r *ServerDataReport) Equal() bool { return len(r.Differences) == 0 }

// String returns the report as a text for people.
func (r *ServerDataReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "per-server values of %s against %s: %d objects, %d differences\n", r.From, r.To, r.Objects,
		len(r.Differences))
	for _, d := range r.Differences {
		b.WriteString(d.String() + "\n")
	}
	for _, d := range r.ByHand {
		b.WriteString("! by hand: " + d.String() + "\n")
	}
	for _, n := range r.Secrets.Needs {
		b.WriteString("! to be set: " + n.String() + "\n")
	}
	for _, g := range r.Secrets.Gaps {
		b.WriteString("! not known: " + g + "\n")
	}
	return b.String()
}

// byHand returns the per-server attributes that are worth comparing and are not copied: no way to set them is
// published, or nobody asked for them. A shim that starts from another position in its application reads again or
// misses, and somebody should know it beforehand.
func (o ServerDataOptions) byHand(schema Schema) []AttributeType {
	return slices.DeleteFunc(schema.Attributes(), func(t AttributeType) bool {
		unasked := t.PerServer && t.Copying == CopyingOnRequest && !containsName(o.OnRequest, t.Name)
		return !unasked && t.Name != "DirXML-DriverCacheLimit"
	})
}

// containsName reports whether a list has the name of an attribute, without case.
func containsName(list []string, name string) bool {
	return slices.ContainsFunc(list, func(n string) bool { return strings.EqualFold(n, name) })
}

// CompareServerData reads the per-server values of the driver set, its drivers and their global configuration objects
// on both servers and returns what differs, together with the secrets that have to be set again. It changes nothing.
func CompareServerData(ctx context.Context, from, to *Server, o ServerDataOptions) (*ServerDataReport, error) {
	r, err := compareServerData(ctx, from, to, o)
	if err != nil {
		return nil, err
	}
	r.Secrets, err = from.SecretsNeeded(ctx, o.DriverSet, o.Drivers, to.DN())
	return r, err
}

func compareServerData(ctx context.Context, from, to *Server, o ServerDataOptions) (*ServerDataReport, error) {
	const op = "compare per-server values of"
	if err := cmp.Or(o.validate(), sameTree(from, to)); err != nil {
		return nil, err
	}
	schema, err := from.Schema(ctx)
	if err != nil {
		return nil, err
	}
	sel, err := from.selection(ctx, o)
	if err != nil {
		return nil, err
	}
	shared, err := to.anyActive(ctx, sel.leftOut)
	if err != nil {
		return nil, err
	}
	copied, byHand := schema.copied(o.OnRequest), o.byHand(schema)
	q := Query{Base: o.DriverSet, Scope: ScopeSubtree,
		Filter: "(|(objectClass=DirXML-DriverSet)(objectClass=DirXML-Driver)(objectClass=DirXML-GlobalConfigDef)(objectClass=DirXML-uiExtensions))"}
	for _, t := range slices.Concat(copied, byHand) {
		q.Attributes = append(q.Attributes, t.Name)
	}
	noReplica := func(dn string, err error) error {
		if !errors.Is(err, ErrNoEntry) {
			return err
		}
		return notDone(op, dn, "add a replica of the driver set to "+to.DN()+", or wait until it has synchronized", err)
	}
	held := map[string]Entry{} // one search in place of a read for each object
	for e, err := range to.Entries(ctx, q) {
		if err != nil {
			return nil, noReplica(o.DriverSet, err)
		}
		held[strings.ToLower(e.DN)] = e
	}
	r := &ServerDataReport{From: from.DN(), To: to.DN()}
	for e, err := range from.Entries(ctx, q) {
		if err != nil {
			return nil, err
		}
		if !sel.includes(e.DN) {
			continue
		}
		r.Objects++
		there, ok := held[strings.ToLower(e.DN)]
		if !ok {
			if there, err = to.Read(ctx, e.DN, q.Attributes...); err != nil {
				return nil, noReplica(e.DN, err)
			}
		}
		list := &r.Differences
		if shared && SameDN(sel.holder(e.DN), o.DriverSet) {
			list = &r.ByHand
		}
		*list = appendDifferences(*list, e, there, copied)
		r.ByHand = appendDifferences(r.ByHand, e, there, byHand)
	}
	if r.Objects == 0 {
		return nil, notDone(op, o.DriverSet, "check the DN of the driver set and the rights of the user", ErrNoEntry)
	}
	return r, nil
}

func appendDifferences(list []ServerDifference, from, to Entry, attributes []AttributeType) []ServerDifference {
	for _, t := range attributes {
		if a, b := from.Get(t.Name), to.Get(t.Name); !sameValues(a, b) {
			list = append(list, ServerDifference{Object: from.DN, Attribute: t.Name, Why: t.Why, From: a, To: b})
		}
	}
	return list
}

func sameTree(from, to *Server) error {
	if from == nil || to == nil {
		return failover.Invalid("server", "is nil", "dial both servers")
	}
	if SameDN(from.DN(), to.DN()) {
		return failover.Invalid("server", from.DN()+" is both source and target", "name two servers")
	}
	if a, b := from.RootDSE().TreeName, to.RootDSE().TreeName; !strings.EqualFold(a, b) {
		return failover.Invalid("server", fmt.Sprintf("%s is in tree %s, %s in tree %s", from.DN(), a, to.DN(), b),
			"name two servers of one tree")
	}
	return nil
}

// CopyServerData makes the per-server values on the server to equal those on the server from: on the driver set, the
// drivers and the global configuration objects. Values of the driver set itself are left alone while drivers outside
// the copy run on to. What exists only on to is removed there. Start option and state are never copied, passwords
// cannot be (the report lists them), and the shims' own state only when o.OnRequest names it.
//
// The server to must be the passive one: its drivers stopped and, where they are enabled, without a queue and enabled
// on the server from as well. Copying in the wrong direction would overwrite the configuration that is in use. It
// writes only what differs, one object at a time, and reads everything again afterwards. It is safe to repeat, also
// after a break in the middle; such a break leaves [failover.InDoubt] as soon as something was written.
//
// Errors: failover.ErrPrecondition when a driver is active on to, failover.ErrNotObserved when values did not stay,
// [ErrNoEntry], [ErrNoAccess].
func CopyServerData(ctx context.Context, from, to *Server, o ServerDataOptions) (*ServerDataReport, error) {
	r, err := CompareServerData(ctx, from, to, o)
	if err != nil || r.Equal() {
		return r, err
	}
	if err := quietOn(ctx, from, to, o); err != nil {
		return r, err
	}
	for _, d := range r.Differences {
		if len(d.From) == 0 { // it is removed: that it is not set must be true
			if err := from.readable(ctx, d.Object, d.Attribute); err != nil {
				return r, err
			}
		}
	}
	for _, group := range groupByObject(r.Differences) {
		var changes []AttributeChange
		for _, d := range group {
			changes = append(changes, AttributeChange{ChangeReplace, Attribute{Name: d.Attribute, Values: d.From}})
		}
		if err := to.Modify(ctx, group[0].Object, changes...); err != nil {
			return r, r.broken(err)
		}
		r.Written = append(r.Written, group[0].Object)
	}
	again, err := compareServerData(ctx, from, to, o)
	if err != nil {
		return r, r.broken(err)
	}
	if !again.Equal() {
		return r, inDoubt("copy per-server values to", to.DN(),
			"copy again; if values still differ, look for another tool or person that writes them",
			fmt.Errorf("%w: %s", failover.ErrNotObserved, again.Differences[0]))
	}
	return r, nil
}

// broken gives a failure in the middle its outcome: in doubt as soon as anything may have been written.
func (r *ServerDataReport) broken(err error) error {
	outcome := failover.OutcomeOf(err)
	if len(r.Written) > 0 {
		outcome = failover.InDoubt
	}
	next := "copy again"
	if errors.Is(err, ErrSchema) {
		next = failover.NextOf(err) + "; then copy again"
	}
	return &failover.Error{Op: "copy per-server values to", Target: r.To, Outcome: outcome,
		Next: fmt.Sprintf("%s: it goes on behind the %d objects already written", next, len(r.Written)), Err: err}
}

func groupByObject(list []ServerDifference) [][]ServerDifference {
	var groups [][]ServerDifference
	for i, d := range list {
		if i == 0 || list[i-1].Object != d.Object {
			groups = append(groups, nil)
		}
		last := &groups[len(groups)-1]
		*last = append(*last, d)
	}
	return groups
}

// quietOn refuses to write over the configuration of drivers that are active.
func quietOn(ctx context.Context, from, to *Server, o ServerDataOptions) error {
	sel, err := to.selection(ctx, o)
	if err != nil {
		return err
	}
	for _, dn := range sel.chosen {
		st, err := to.Status(ctx, dn)
		switch {
		case errors.Is(err, ErrNotServed):
			continue
		case errors.Is(err, ErrEngineMissing):
			err = belongsTo(ctx, from, to, dn, "no engine is loaded there")
		case err == nil:
			err = passive(ctx, from, to, st)
		}
		if err != nil {
			return notApplied(err)
		}
	}
	return nil
}

// passive refuses to write over, or to disable, a driver on the server to unless that is the passive one: it is stopped
// there, and where it is enabled, no events wait there and the server from has it enabled too.
func passive(ctx context.Context, from, to *Server, st DriverStatus) error {
	op, found := "write to "+to.DN()+" for", "it is "+st.String()+" there"
	switch {
	case st.State != StateStopped:
		return unmet(op, st.Driver, "check the direction; if it is right, stop the driver there", found)
	case st.Option == StartDisabled:
		return nil
	}
	queue, err := to.queued(ctx, st.Driver)
	if err != nil {
		return notApplied(err)
	}
	if queue != "" {
		return unmet(op, st.Driver, "look on which server the driver belongs: on this one, the direction is wrong; on the "+
			"other one, what waits here went there too: save it and disable the driver here by hand", found+", and "+queue)
	}
	return belongsTo(ctx, from, to, st.Driver, found)
}

// belongsTo refuses to write to the server to unless the driver is enabled on the server from.
func belongsTo(ctx context.Context, from, to *Server, driver, found string) error {
	option, err := from.StartOption(ctx, driver)
	if err != nil || option.enabled() {
		return notApplied(err)
	}
	return unmet("write to "+to.DN()+" for", driver, "check the direction; if it is right, enable the driver on "+from.DN(),
		found+", and "+option.String()+" on "+from.DN())
}

// ifServed takes a driver that no engine serves yet, as before the target was added to the driver set, for one that is
// stopped and disabled.
func ifServed[V State | StartOption](v V, err error) (V, error) {
	if notServed(err) {
		return 0, nil
	}
	return v, err
}

func (s *Server) stateIfServed(ctx context.Context, dn string) (State, error) {
	return ifServed(s.State(ctx, dn))
}

func (s *Server) optionIfServed(ctx context.Context, dn string) (StartOption, error) {
	return ifServed(s.StartOption(ctx, dn))
}

func (s *Server) anyActive(ctx context.Context, drivers []string) (bool, error) {
	for _, dn := range drivers {
		if state, err := s.stateIfServed(ctx, dn); err != nil || state != StateStopped {
			return true, err
		}
	}
	return false, nil
}
