package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

// readGroup reads the group g out of an answer, as every reader of this package gets it.
func readGroup(t *testing.T, nodes, members, config, bans string) (Snapshot, Group) {
	t.Helper()
	r, err := parseReading([]byte(answer("n1", nodes, `<group id="g" managed="true">`+members+`</group>`, config, bans)))
	require.NoError(t, err)
	s := r.snapshot(nil).believed()
	g, ok := s.Group("g")
	require.True(t, ok)
	return s, g
}

// Pacemaker keeps the last known state of a node that it cannot reach: "Started" beside UNCLEAN is history.
func TestAGroupIsOnlyAsAliveAsItsNode(t *testing.T) {
	for node, want := range map[string]State{
		`online="true" type="member"`:                                 StateOnline,
		`online="true" standby="true" type="member"`:                  StateOnline,
		`online="true" maintenance="true" type="member"`:              StateOnline,
		`online="false" unclean="true" type="member"`:                 StateUnknown,
		`online="true" unclean="true" type="member"`:                  StateUnknown,
		`online="false" unclean="false" type="member"`:                StateUnknown,
		`online="false" pending="true" type="member"`:                 StateUnknown,
		`online="false" type="remote"`:                                StateUnknown,
		`online="true" type="remote"`:                                 StateOnline,
		`online="false" unclean="true" standby="true" type="member"`:  StateUnknown,
		`online="false" unclean="false" shutdown="true" type="ping"`:  StateUnknown,
		`online="true" unclean="false" standby_onfail="true" type=""`: StateOnline,
	} {
		nodes := `<node name="n1" online="true" type="member"/><node name="n2" ` + node + `/>`
		s, g := readGroup(t, nodes, member("a", started, "n2")+member("b", started, "n2"), "", "")
		require.Equal(t, want, g.State, node)
		require.Equal(t, want, g.Members[1].State, node)
		obs, err := arrived(g, "n2")
		require.NoError(t, err)
		require.Equal(t, want == StateOnline, obs.Done, node)
		f := follow{to: "n2", from: "n1", want: StateOnline}
		done, _ := f.judge(g, badReadings, time.Hour)
		require.Equal(t, want == StateOnline, done, "a move does not end on it: %s", node)
		if want == StateUnknown {
			require.ErrorIs(t, fitToLeave("move", g, "n1", ""), ErrNotOnline)
			require.Contains(t, g.String(), "n2 is ")
		}
		require.Equal(t, strings.Contains(node, "member") || strings.Contains(node, `type=""`), len(s.members()) == 2, node)
	}
}

// The classes of Pacemaker's own scheduler test data that were read otherwise.
func TestRolesAreReadAsTheyAre(t *testing.T) {
	for attributes, want := range map[string]State{
		`role="Started" active="true" target_role="Stopped" managed="true"`: StatePending,
		`role="Stopped" active="true" managed="true"`:                       StateFailed,
		`role="Migrating" active="true" managed="true"`:                     StatePending,
		`role="Stopped" active="false" target_role="Stopped"`:               StateOffline,
		`role="Started" active="true" target_role="Started"`:                StateOnline,
	} {
		_, g := readGroup(t, upNodes, member("a", attributes, "n1"), "", "")
		require.Equal(t, want, g.State, attributes)
	}
	for _, gone := range []string{`orphaned="true"`, `removed="true"`} {
		_, g := readGroup(t, upNodes, member("a", started+" "+gone, "n1"), "", "")
		require.ErrorIs(t, fitToLeave("move", g, "n2", ""), ErrUnmanaged, gone)
		require.Contains(t, g.Raw, "not in the configuration")
	}
}

// Units and defaults are those of Pacemaker's lib/common/strings.c and of Pacemaker Explained.
func TestStopTimes(t *testing.T) {
	op := func(timeout string) string {
		return `<resources><group id="g"><primitive id="a"><operations><op name="stop" ` + timeout +
			`/></operations></primitive></group></resources>`
	}
	none := `<group id="g"><primitive id="a"/></group>`
	for config, want := range map[string]time.Duration{
		op(`timeout="12s"`): 12 * time.Second, op(`timeout="12"`): 12 * time.Second, op(`timeout="1min"`): time.Minute,
		op(`timeout="2 m"`): 2 * time.Minute, op(`timeout="1H"`): time.Hour, op(`timeout="1hr"`): time.Hour,
		op(`timeout="1500ms"`): 1500 * time.Millisecond, op(`timeout="9sec"`): 9 * time.Second,
		op(`timeout="PT5M"`): 0, op(`timeout="soon"`): 0, op(`timeout="-5s"`): 0, op(`timeout="5 fortnights"`): 0,
		op(""):                                20 * time.Second,
		op(`id-ref="elsewhere"`):              0,
		``:                                    0,
		`<resources>` + none + `</resources>`: 20 * time.Second,
		`<resources>` + none + `</resources><op_defaults><meta_attributes><nvpair name="timeout" value="2min"/></meta_attributes></op_defaults>`:        2 * time.Minute,
		`<resources>` + none + `</resources><op_defaults><meta_attributes><rule/><nvpair name="timeout" value="2min"/></meta_attributes></op_defaults>`: 0,
		`<resources><template id="t"><operations><op name="stop" timeout="7s"/></operations></template>` +
			`<group id="g"><primitive id="a" template="t"/></group></resources>`: 7 * time.Second,
		`<resources><group id="g"><primitive id="a"><operations id-ref="t"/></primitive></group></resources>`: 0,
	} {
		_, g := readGroup(t, upNodes, member("a", started, "n1"), config, "")
		require.Equal(t, want, g.Members[0].PendingTimeout, config)
		found, err := transfer{o: TransferOptions{StopTime: time.Minute}}.stopTime(t.Context(), Snapshot{}, g)
		require.Equal(t, want < time.Minute, err != nil, "%s: %s", config, found)
		if want == 0 {
			require.ErrorContains(t, err, "unknown")
		}
	}
}

func TestWhatHoldsAGroupIsSeenBeforeItIsMoved(t *testing.T) {
	location := func(id, rsc, node, score string) string {
		return `<constraints><rsc_location id="` + id + `" rsc="` + rsc + `" node="` + node + `" score="` + score + `"/></constraints>`
	}
	group := func(meta, memberMeta string) string {
		return `<resources><group id="g">` + meta + `<primitive id="a">` + memberMeta + `</primitive></group></resources>`
	}
	stick := func(value string) string {
		return `<meta_attributes><nvpair name="resource-stickiness" value="` + value + `"/></meta_attributes>`
	}
	for config, held := range map[string]bool{
		"": false, location("location-g-n1", "g", "n1", "INFINITY"): true, location("x", "a", "n1", "1000000"): true,
		location("x", "g", "n1", "500"): false, location("x", "g", "n2", "INFINITY"): false,
		location("x", "other", "n1", "INFINITY"): false, group(stick("INFINITY"), ""): true,
		group("", stick("+INFINITY")): true, group(stick("100"), ""): false,
		location("cli-prefer-g", "g", "n2", "INFINITY"): true,
	} {
		s, g := readGroup(t, upNodes, member("a", started, "n1"), config, "")
		err := fitToLeave("move", g, "n2", "")
		require.Equal(t, held, err != nil, "%s: %v", config, err)
		if held {
			require.ErrorIs(t, err, ErrStandingRequest)
		}
		require.NoError(t, fitToTake("move", s, g, "n2"))
	}
	// A setting that depends on more than one value is not known, and is not put back as something else.
	for _, sets := range []string{stick("5") + stick("7"), `<meta_attributes><rule/><nvpair name="resource-stickiness" value="5"/></meta_attributes>`,
		`<meta_attributes id-ref="shared"/>`} {
		_, g := readGroup(t, upNodes, member("a", started, "n1"), group(sets, ""), "")
		require.Equal(t, Failback{}, g.Failback, sets)
	}
	// A group hands its setting down to members without one of their own, and what the members have is added up (Pacemaker
	// Explained, groups; seen with crm_simulate): where each has its own, the group's holds nothing.
	for own, want := range map[string]FailbackPolicy{"": FailbackPrevented, stick("1"): FailbackUnknown,
		`<meta_attributes id-ref="shared"/>`: FailbackUnknown} {
		_, g := readGroup(t, upNodes, member("a", started, "n1"), group(stick("100000"), own), "")
		require.Equal(t, want, g.Failback.Policy, own)
	}
}

// The shape is that of crm_mon (seen: published outputs with fail-count and last-failure).
func TestATargetWhereAMemberFailedTooOftenIsUnfit(t *testing.T) {
	for history, unfit := range map[string]bool{
		`migration-threshold="5000" fail-count="1000000"`: true, `migration-threshold="3" fail-count="3"`: true,
		`migration-threshold="3" fail-count="2"`: false, `migration-threshold="1000000" fail-count="INFINITY"`: true,
		`migration-threshold="1000000"`: false, `migration-threshold="0" fail-count="4"`: false,
	} {
		xml := answer("n1", upNodes, `<group id="g">`+member("a", started, "n1")+`</group>`, "", "")
		xml = strings.Replace(xml, "<bans>", `<node_history><node name="n2"><resource_history id="a" orphan="false" `+history+
			`/></node></node_history><bans>`, 1)
		r, err := parseReading([]byte(xml))
		require.NoError(t, err)
		s := r.snapshot(nil)
		g, _ := s.Group("g")
		err = fitToTake("move", s, g, "n2")
		require.Equal(t, unfit, err != nil, history)
		if unfit {
			require.ErrorIs(t, err, ErrTargetUnfit)
			require.ErrorContains(t, err, "fail")
		}
	}
}

func TestTheEndOfAMoveNamesTheFailure(t *testing.T) {
	failure := func(op, node string) string {
		return `<failures><failure op_key="` + op + `" node="` + node + `" exitstatus="error" exitreason="no licence" exitcode="1" call="9" ` +
			`status="complete" last-rc-change="2026-05-05 10:00:00Z" task="` + strings.Split(op, "_")[1] + `"/></failures>`
	}
	read := func(members, failures string) Group {
		xml := strings.Replace(answer("n1", upNodes, `<group id="g">`+members+`</group>`,
			`<crm_config><cluster_property_set id="failover-move-g"><nvpair name="failover-move-g" value="bjI="/></cluster_property_set></crm_config>`+
				`<constraints><rsc_location id="cli-prefer-g" rsc="g" node="n2" score="INFINITY"/></constraints>`, ""),
			"<bans>", failures+"<bans>", 1)
		r, err := parseReading([]byte(xml))
		require.NoError(t, err)
		g, _ := r.snapshot(nil).believed().Group("g")
		return g
	}
	follow := func(known []Failure) *follow {
		return &follow{op: "move", group: "g", from: "n1", to: "n2", want: StateOnline, known: known,
			o: MoveOptions{Settle: time.Second, Grace: time.Second}}
	}
	// Stop, failed start and return between two readings, with our own request still standing.
	back := read(member("a", started, "n1"), failure("a_start_0", "n2"))
	done, err := follow(nil).judge(back, 2, 0)
	require.True(t, done)
	require.ErrorIs(t, err, ErrReturned)
	require.ErrorContains(t, err, "start of a on n2 failed: error (no licence) at 2026-05-05 10:00:00Z")
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	// The same record from before the move says nothing of it.
	done, err = follow(back.Failures).judge(back, 2, time.Hour)
	require.False(t, done)
	require.NoError(t, err)
	// What fails at the source, and is ignored or put right there, does not say that anything came back from the target.
	done, err = follow(nil).judge(read(member("a", started, "n1"), failure("a_monitor_10000", "n1")), 2, time.Hour)
	require.False(t, done)
	require.NoError(t, err)
	// A stop that failed: the group never left, and nothing returned.
	blocked := read(member("a", `role="Started" active="true" managed="true" failed="true" blocked="true"`, "n1"),
		failure("a_stop_0", "n1"))
	done, err = follow(nil).judge(blocked, badReadings, time.Hour)
	require.True(t, done)
	require.ErrorIs(t, err, ErrFailed)
	require.NotErrorIs(t, err, ErrReturned)
	require.ErrorContains(t, err, "stop of a on n1 failed")
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err), "the service is down because of the move")
}

func TestWhatCrmMonSaysIsTold(t *testing.T) {
	xml := strings.Replace(answer("n1", "", "", "", ""), `<status code="0" message="OK"/>`,
		`<status code="0" message="OK"><errors><error>cib: schema is too old</error></errors></status>`, 1)
	_, err := parseReading([]byte(xml))
	require.ErrorContains(t, err, "schema is too old")
}

func TestAnIDMayHaveLettersOfAnyScript(t *testing.T) {
	d := &pacemakerDriver{}
	for _, id := range []string{"größe", "日本", "a.b-c_1", "Ω1"} {
		require.NoError(t, d.Check("group", id), id)
	}
	for _, id := range []string{"1a", "-a", "a b", "a'b", "a\u00a0b", "a\u202eb"} {
		require.ErrorIs(t, d.Check("group", id), failover.ErrInvalid, "%q", id)
	}
}

// told answers one reading after the other, and the last one for ever.
type told struct {
	Driver
	groups []Group
}

func (d *told) Nodes() []string { return []string{"n1"} }

func (d *told) ReadSnapshot(context.Context, string, string) (Snapshot, error) {
	g := d.groups[0]
	d.groups = d.groups[min(1, len(d.groups)-1):]
	return Snapshot{Groups: []Group{g}}, nil
}

// What arrived between two readings, goes home once its request is cleared and fails there, had left its node.
func TestAGroupThatArrivedHasLeftItsNode(t *testing.T) {
	c, err := New(&told{groups: []Group{{Name: "g", Owner: "n2", State: StateOnline}, {Name: "g", Owner: "n1", State: StateFailed}}},
		Config{})
	require.NoError(t, err)
	f := follow{c: c.(*core), group: "g", from: "n1", to: "n2", want: StateOnline, //nolint:forcetypeassert // New makes it
		o: MoveOptions{Timeout: time.Minute, Poll: time.Millisecond, Grace: time.Millisecond, Settle: time.Millisecond}}
	_, err = f.run(t.Context())
	require.NoError(t, err)
	err = f.confirm(t.Context())
	require.ErrorIs(t, err, ErrReturned)
	require.NotContains(t, err.Error(), "not seen to leave")
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
}

// standby is a node in standby that keeps part of a group, as after a failed migration.
type standby struct{ told }

var errAsked = errors.New("asked")

func (d *standby) Check(string, string) error { return nil }

func (d *standby) StartPause(context.Context, string, string) error {
	return unchanged("pause", "n1", "", errAsked)
}

func (d *standby) ReadSnapshot(context.Context, string, string) (Snapshot, error) {
	return Snapshot{Nodes: []Node{{Name: "n1", State: NodePaused}},
		Groups: []Group{{Name: "g", Owners: []string{"n1", "n2"}, State: StateFailed}}}, nil
}

func TestANodeThatSharesAGroupIsNotDrained(t *testing.T) {
	c, err := New(&standby{}, Config{})
	require.NoError(t, err)
	require.ErrorIs(t, c.Pause(t.Context(), "n1", StateOptions{}), errAsked)
}
