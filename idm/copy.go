package idm

import (
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
	if err != nil {
		return selection{}, err
	}
	sel := selection{set: o.DriverSet, chosen: all}
	if len(o.Drivers) == 0 {
		return sel, nil
	}
	sel.chosen = o.Drivers
	for _, dn := range o.Drivers {
		if !containsDN(all, dn) {
			return selection{}, &failover.Error{Op: "find driver", Target: dn, Outcome: failover.NotApplied,
				Next: "check the DN", Err: ErrNoEntry}
		}
	}
	for _, dn := range all {
		if !containsDN(o.Drivers, dn) {
			sel.leftOut = append(sel.leftOut, dn)
		}
	}
	return sel, nil
}

func (sel selection) includes(dn string) bool {
	return !slices.ContainsFunc(sel.leftOut, func(d string) bool { return SameDN(d, dn) || belowDN(dn, d) })
}

// holder returns the driver the entry belongs to, or the driver set for what belongs to none, such as a library.
func (sel selection) holder(dn string) string {
	for _, d := range sel.chosen {
		if SameDN(d, dn) || belowDN(dn, d) {
			return d
		}
	}
	return sel.set
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
	switch {
	case len(d.To) == 0:
		return fmt.Sprintf("+ %s: %s (%s, %s)", d.Object, d.Attribute, d.Why, size(d.From))
	case len(d.From) == 0:
		return fmt.Sprintf("- %s: %s (%s, %s)", d.Object, d.Attribute, d.Why, size(d.To))
	}
	return fmt.Sprintf("~ %s: %s (%s, %s instead of %s)", d.Object, d.Attribute, d.Why, size(d.From), size(d.To))
}

func size(values [][]byte) string {
	n := 0
	for _, v := range values {
		n += len(v)
	}
	return fmt.Sprintf("%d bytes", n)
}

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
func (o ServerDataOptions) byHand(schema Schema) []string {
	names := []string{"DirXML-DriverCacheLimit"}
	for _, t := range schema.PerServer() {
		if t.Copying == CopyingOnRequest &&
			!slices.ContainsFunc(o.OnRequest, func(n string) bool { return strings.EqualFold(n, t.Name) }) {
			names = append(names, t.Name)
		}
	}
	return names
}

// CompareServerData reads the per-server values of the driver set, its drivers and their global configuration objects
// on both servers and returns what differs, together with the secrets that have to be set again. It changes nothing.
func CompareServerData(ctx context.Context, from, to *Server, o ServerDataOptions) (*ServerDataReport, error) {
	r, _, err := compareServerData(ctx, from, to, o)
	if err != nil {
		return nil, err
	}
	r.Secrets, err = from.SecretsNeeded(ctx, o.DriverSet, o.Drivers, to.DN())
	return r, err
}

func compareServerData(ctx context.Context, from, to *Server, o ServerDataOptions) (*ServerDataReport,
	[]AttributeType, error) {
	if err := o.validate(); err != nil {
		return nil, nil, err
	}
	if err := sameTree(from, to); err != nil {
		return nil, nil, err
	}
	schema, err := from.Schema(ctx)
	if err != nil {
		return nil, nil, err
	}
	sel, err := from.selection(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	shared, err := to.anyActive(ctx, sel.leftOut)
	if err != nil {
		return nil, nil, err
	}
	copied := schema.copied(o.OnRequest)
	var wanted []string
	for _, t := range copied {
		wanted = append(wanted, t.Name)
	}
	byHand := o.byHand(schema)
	wanted = append(wanted, byHand...)
	r := &ServerDataReport{From: from.DN(), To: to.DN()}
	q := Query{Base: o.DriverSet, Scope: ScopeSubtree, Attributes: wanted,
		Filter: "(|(objectClass=DirXML-DriverSet)(objectClass=DirXML-Driver)(objectClass=DirXML-GlobalConfigDef)(objectClass=DirXML-uiExtensions))"}
	noReplica := func(dn string, err error) error {
		if !errors.Is(err, ErrNoEntry) {
			return err
		}
		return &failover.Error{Op: "compare per-server values of", Target: dn, Outcome: failover.NotApplied,
			Next: "add a replica of the driver set to " + to.DN() + ", or wait until it has synchronized", Err: err}
	}
	held := map[string]Entry{} // one search in place of a read for each object
	for e, err := range to.Entries(ctx, q) {
		if err != nil {
			return nil, nil, noReplica(o.DriverSet, err)
		}
		held[strings.ToLower(e.DN)] = e
	}
	for e, err := range from.Entries(ctx, q) {
		if err != nil {
			return nil, nil, err
		}
		if !sel.includes(e.DN) {
			continue
		}
		r.Objects++
		there, ok := held[strings.ToLower(e.DN)]
		if !ok {
			if there, err = to.Read(ctx, e.DN, wanted...); err != nil {
				return nil, nil, noReplica(e.DN, err)
			}
		}
		list := &r.Differences
		if shared && SameDN(sel.holder(e.DN), o.DriverSet) {
			list = &r.ByHand
		}
		for _, t := range copied {
			*list = appendDifference(*list, e, there, t.Name, t.Why)
		}
		for _, name := range byHand {
			t, _ := schema.Attribute(name)
			r.ByHand = appendDifference(r.ByHand, e, there, name, t.Why)
		}
	}
	if r.Objects == 0 {
		return nil, nil, &failover.Error{Op: "compare per-server values of", Target: o.DriverSet,
			Outcome: failover.NotApplied,
			Next:    "check the DN of the driver set and the rights of the user", Err: ErrNoEntry}
	}
	return r, copied, nil
}

func appendDifference(list []ServerDifference, from, to Entry, attribute, why string) []ServerDifference {
	a, b := from.Get(attribute), to.Get(attribute)
	if sameValues(a, b) {
		return list
	}
	return append(list, ServerDifference{Object: from.DN, Attribute: attribute, Why: why, From: a, To: b})
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
	again, _, err := compareServerData(ctx, from, to, o)
	if err != nil {
		return r, r.broken(err)
	}
	if !again.Equal() {
		return r, &failover.Error{Op: "copy per-server values to", Target: to.DN(), Outcome: failover.InDoubt,
			Next: "copy again; if values still differ, look for another tool or person that writes them",
			Err:  fmt.Errorf("%w: %s", failover.ErrNotObserved, again.Differences[0])}
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
	for _, d := range list {
		if n := len(groups); n > 0 && groups[n-1][0].Object == d.Object {
			groups[n-1] = append(groups[n-1], d)
			continue
		}
		groups = append(groups, []ServerDifference{d})
	}
	return groups
}

// quietOn refuses to write over the configuration of drivers that are active.
func quietOn(ctx context.Context, from, to *Server, o ServerDataOptions) error {
	drivers := o.Drivers
	if len(drivers) == 0 {
		var err error
		if drivers, err = to.Drivers(ctx, o.DriverSet); err != nil {
			return err
		}
	}
	for _, dn := range drivers {
		st, err := to.Status(ctx, dn)
		switch {
		case errors.Is(err, ErrNotServed) || errors.Is(err, ErrEngineMissing):
			continue
		case err != nil:
			return notApplied(err)
		}
		if err := passive(ctx, from, to, st); err != nil {
			return err
		}
	}
	return nil
}

// passive refuses to write over, or to disable, a driver on the server to unless that is the passive one: it is stopped
// there, and where it is enabled, no events wait there and the server from has it enabled too.
func passive(ctx context.Context, from, to *Server, st DriverStatus) error {
	refuse := func(why string) error {
		return &failover.Error{Op: "write to " + to.DN() + " for", Target: st.Driver, Outcome: failover.NotApplied,
			Next: "check the direction; if it is right, stop the driver there and let what waits be worked off",
			Err:  fmt.Errorf("%w: it is %s there%s", failover.ErrPrecondition, st, why)}
	}
	switch {
	case st.State != StateStopped:
		return refuse("")
	case st.Option == StartDisabled:
		return nil
	}
	stats, err := to.Stats(ctx, st.Driver)
	if err != nil {
		return notApplied(err)
	}
	if stats.CacheBytes > 0 {
		return refuse(fmt.Sprintf(", and %d bytes of events wait", stats.CacheBytes))
	}
	other, err := from.StartOption(ctx, st.Driver)
	if err != nil {
		return notApplied(err)
	}
	if !other.enabled() {
		return refuse(", and " + other.String() + " on " + from.DN())
	}
	return nil
}

// stateIfServed returns the state of a driver; where no engine serves it, it is stopped.
func (s *Server) stateIfServed(ctx context.Context, driverDN string) (State, error) {
	state, err := s.State(ctx, driverDN)
	if errors.Is(err, ErrNotServed) || errors.Is(err, ErrEngineMissing) {
		return StateStopped, nil
	}
	return state, err
}

// anyActive reports whether one of the drivers runs on the server.
func (s *Server) anyActive(ctx context.Context, drivers []string) (bool, error) {
	for _, dn := range drivers {
		if state, err := s.stateIfServed(ctx, dn); err != nil || state != StateStopped {
			return true, err
		}
	}
	return false, nil
}

// SecretList is what passwords a server needs, and where that could not be found out.
type SecretList struct {
	Needs []SecretNeeded
	Gaps  []string
}

// SecretsNeeded computes which passwords have to be set on the server forServer before the drivers can start there, and
// who needs them: from the lists of named passwords this server has, from settings of type password-ref, from policies
// that ask for a named password, and from the settings of shim and Remote Loader. This server should be the one the
// drivers ran on; where it is gone, the lists of the other server together with an export's manifest are what is left.
// It changes nothing and never sees a password.
func (s *Server) SecretsNeeded(ctx context.Context, setDN string, drivers []string,
	forServer string) (SecretList, error) {
	o := ServerDataOptions{DriverSet: setDN, Drivers: drivers}
	if err := o.validate(); err != nil {
		return SecretList{}, err
	}
	sel, err := s.selection(ctx, o)
	if err != nil {
		return SecretList{}, err
	}
	roles := fallbackRoles() // every attribute asked for is in the table
	var needs secretList
	var list SecretList
	holders := map[string]bool{}
	q := Query{Base: setDN, Scope: ScopeSubtree,
		Attributes: []string{"objectClass", "XmlData", "DirXML-Data", "DirXML-ConfigValues",
			"DirXML-ShimConfigInfo", "DirXML-JavaModule", "DirXML-ShimAuthID", "DirXML-ShimAuthServer"}}
	for e, err := range s.Entries(ctx, q) {
		if err != nil {
			return SecretList{}, err
		}
		if !sel.includes(e.DN) {
			continue
		}
		object := roles.split(e, forServer)
		needs.collect(object, object.valuesOf(forServer), forServer, sel.holder(e.DN))
		for _, class := range []string{"DirXML-DriverSet", "DirXML-Driver", "DirXML-Job", "DirXML-Resource"} {
			holders[e.DN] = holders[e.DN] || e.HasClass(class)
		}
	}
	if err := s.addListed(ctx, holders, forServer, &needs, &list); err != nil {
		return SecretList{}, err
	}
	if err := s.addMutual(ctx, setDN, sel, &list); err != nil {
		return SecretList{}, err
	}
	list.Needs = needs.sorted()
	return list, nil
}

// addMutual names the drivers that have a password for mutual authentication, for which no operation is published. Only
// whether there is one is asked, not the value.
func (s *Server) addMutual(ctx context.Context, setDN string, sel selection, list *SecretList) error {
	for e, err := range s.Entries(ctx,
		Query{Base: setDN, Scope: ScopeSubtree, Filter: "(DirXML-MutualAuthPassword=*)", Attributes: []string{"1.1"}}) {
		if err != nil {
			return err
		}
		if sel.includes(e.DN) {
			list.Gaps = append(list.Gaps, e.DN+" has a password for mutual authentication with its Remote Loader on "+s.DN()+
				": set it again in the administration tool, no operation for it is published")
		}
	}
	return nil
}

// addListed adds the named passwords the engine lists, the only first-hand source.
func (s *Server) addListed(ctx context.Context, holders map[string]bool, forServer string, needs *secretList,
	list *SecretList) error {
	var dns []string
	for dn, holds := range holders {
		if holds {
			dns = append(dns, dn)
		}
	}
	slices.Sort(dns)
	stored, failed := s.namedPasswordsOf(ctx, dns)
	for _, dn := range dns {
		if err := failed[dn]; err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrLineLost) || errors.Is(err, ErrUnreachable) {
				return err
			}
			list.Gaps = append(list.Gaps, fmt.Sprintf("the named passwords of %s on %s cannot be listed: %v", dn, s.DN(), err))
			continue
		}
		for _, p := range stored[dn] {
			needs.add(SecretNeeded{Kind: SecretNamed, Object: dn, Server: forServer, Name: p.Name, DisplayName: p.DisplayName,
				Because: "it is set on " + s.DN()}, dn)
		}
	}
	return nil
}
