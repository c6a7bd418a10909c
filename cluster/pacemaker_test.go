package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote"
	"github.com/01b61c5c/failover/remote/remotetest"
)

// answer is what read.sh prints, from parts.
func answer(node, nodes, resources, config, bans string) string {
	return node + "\n" + cut + "\n" + `<pacemaker-result api-version="2.25"><summary>
<current_dc present="true" version="2.1.5" name="n2" with_quorum="true"/><cluster_options maintenance-mode="false" symmetric-cluster="true"/></summary>
<nodes>` + nodes + `</nodes><resources>` + resources + `</resources><bans>` + bans +
		`</bans><status code="0" message="OK"/></pacemaker-result>` +
		"\n" + cut + "\n" + `<cib><configuration>` + config + `</configuration></cib>` + "\n" + cut + "\n"
}

const upNodes = `<node name="n1" online="true" standby="false" pending="false" unclean="false" type="member"/>
<node name="n2" online="true" standby="false" pending="false" unclean="false" type="member"/>`

func member(id, attributes, node string) string {
	if node != "" {
		node = `<node name="` + node + `" id="1"/>`
	}
	return `<resource id="` + id + `" resource_agent="ocf:pacemaker:Dummy" ` + attributes + `>` + node + `</resource>`
}

const (
	started = `role="Started" active="true" managed="true" failed="false" blocked="false"`
	stopped = `role="Stopped" active="false" managed="true" failed="false" blocked="false"`
)

func TestPacemakerGroupStates(t *testing.T) {
	for name, c := range map[string]struct {
		a, b  string
		state State
		owner string
	}{
		"up":           {member("a", started, "n1"), member("b", started, "n1"), StateOnline, "n1"},
		"down":         {member("a", stopped, ""), member("b", stopped, ""), StateOffline, ""},
		"half":         {member("a", started, "n1"), member("b", stopped, ""), StatePartial, "n1"},
		"on two nodes": {member("a", started, "n1"), member("b", started, "n2"), StatePartial, ""},
		"starting": {member("a", started, "n1"),
			member("b", strings.Replace(stopped, "Stopped", "Starting", 1), "n1"), StatePending, "n1"},
		"an operation pending": {member("a", started, "n1"), member("b", stopped+` pending="Starting"`, "n1"),
			StatePending, "n1"},
		"only being watched": {member("a", started, "n1"), member("b", started+` pending="Monitoring"`, "n1"),
			StateOnline, "n1"},
		"failed": {member("a", started, "n1"),
			member("b", strings.Replace(started, `failed="false"`, `failed="true"`, 1), "n1"), StateFailed, "n1"},
		"blocked": {member("a", started, "n1"),
			member("b", strings.Replace(stopped, `blocked="false"`, `blocked="true"`, 1), "n1"), StateFailed, "n1"},
		"failure to be ignored": {member("a", started, "n1"),
			member("b", strings.Replace(started, `failed="false"`, `failed="true" failure_ignored="true"`, 1), "n1"),
			StateOnline, "n1"},
	} {
		r, err := parseReading([]byte(answer("n1", upNodes, `<group id="g" managed="true">`+c.a+c.b+`</group>`, "", "")))
		require.NoError(t, err)
		g, ok := r.snapshot(nil).Group("g")
		require.True(t, ok)
		require.Equal(t, c.state, g.State, name)
		require.Equal(t, c.owner, g.Owner, name)
	}
}

func TestPacemakerReadings(t *testing.T) {
	nodes := `<node name="n1" online="true" standby="true"/><node name="n2" online="false"/><node name="n3" online="true" pending="true"/>
<node name="n4" online="true" unclean="true"/><node name="n5" online="true" maintenance="true"/><node name="r1" online="true" type="remote"/>`
	config := `<crm_config><cluster_property_set id="cib-bootstrap-options"><nvpair name="cluster-name" value="shop"/></cluster_property_set>
<cluster_property_set id="failover-move-g"><nvpair id="failover-move-g-value" name="failover-move-g" value="bjI="/></cluster_property_set></crm_config>
<resources><group id="g"><meta_attributes><nvpair name="resource-stickiness" value="200000"/></meta_attributes>
<primitive id="a"><operations><op name="stop" timeout="90s"/></operations></primitive></group></resources>
<constraints><rsc_location id="cli-prefer-g" rsc="g" node="n2" score="INFINITY"/><rsc_location id="cli-ban-a-on-n1" rsc="a" node="n1"/>
<rsc_location id="mine" rsc="g" node="n1"/><rsc_location id="cli-prefer-other" rsc="other" node="n2"/></constraints>`
	r, err := parseReading([]byte(
		answer("n1", nodes, `<group id="g" managed="false">`+member("a", started, "n1")+`</group>`+
			strings.Replace(member("alone", started, "n2"), "ocf:pacemaker:Dummy", "systemd:store", 1), config,
			`<ban id="cli-ban-a-on-n1" resource="a" node="n1" weight="-1000000"/>`)))
	require.NoError(t, err)
	s := r.snapshot(map[string]string{"a": "svc"})
	require.Equal(t, "shop", s.Cluster)
	var states []NodeState
	for _, n := range s.members() {
		states = append(states, n.State)
	}
	require.Equal(t, []NodeState{NodePaused, NodeDown, NodeJoining, NodeDown, NodePaused}, states)
	g, _ := s.Group("g")
	require.True(t, g.Unmanaged)
	require.Equal(t, Failback{Policy: FailbackPrevented, Raw: "200000"}, g.Failback)
	require.Equal(t, 90*time.Second, g.Members[0].PendingTimeout)
	require.Equal(t, "svc", g.Members[0].Service)
	require.NotContains(t, g.Members[0].Possible, "n1")
	require.Equal(t, []MoveRequest{{ID: "cli-prefer-g", Node: "n2", Ours: true},
		{ID: "cli-ban-a-on-n1", Node: "n1", Ban: true}}, g.Standing)
	alone, _ := s.Group("alone")
	require.Equal(t, "store", alone.Members[0].Service)
}

func TestPacemakerRefusesWhatIsNoReading(t *testing.T) {
	good := answer("n1", upNodes, "", "", "")
	for name, bad := range map[string]string{
		"nothing": "", "half": good[:len(good)/2], "no node": answer("", upNodes, "", "", ""),
		"no nodes":              answer("n1", "", "", "", ""),
		"another document":      strings.ReplaceAll(good, "pacemaker-result", "html"),
		"another configuration": strings.ReplaceAll(good, "cib>", "x>"),
		"a failed reading":      strings.Replace(good, `<status code="0"`, `<status code="102"`, 1),
		"broken":                strings.Replace(good, "</nodes>", "", 1),
	} {
		_, err := parseReading([]byte(bad))
		require.Error(t, err, name)
	}
}

// pacemakerOn serves command lines by handle and returns a cluster of the node n1.
func pacemakerOn(t *testing.T, handle remotetest.Handler) (*Pacemaker, *remotetest.Server) {
	t.Helper()
	srv, err := remotetest.NewServer(handle)
	require.NoError(t, err)
	c, err := NewPacemaker(PacemakerConfig{Nodes: []Address{{Node: "n1", SSH: srv.SSH()}}})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		srv.Close()
	})
	return c, srv
}

func TestPacemakerExitStatusesAreJudgedByNumber(t *testing.T) {
	for code, want := range map[int]struct {
		kind    error
		outcome failover.Outcome
	}{
		105: {ErrNotFound, failover.NotApplied}, 4: {ErrPermission, failover.NotApplied},
		77:  {ErrPermission, failover.NotApplied},
		106: {ErrNoQuorum, failover.NotApplied}, 113: {ErrTargetUnfit, failover.NotApplied},
		124: {ErrTimeout, failover.InDoubt},
		102: {ErrUnreachable, failover.InDoubt}, 114: {ErrBusy, failover.InDoubt}, 1: {nil, failover.InDoubt},
		99:  {nil, failover.InDoubt},
		127: {ErrUnreachable, failover.NotApplied}, 5: {ErrUnreachable, failover.NotApplied}, 6: {nil, failover.NotApplied},
		64: {nil, failover.NotApplied},
		68: {ErrNotFound, failover.NotApplied}, 69: {ErrUnreachable, failover.InDoubt}, 75: {ErrBusy, failover.InDoubt},
		107: {nil, failover.NotApplied},
		108: {nil, failover.NotApplied}, 109: {nil, failover.NotApplied}, 110: {nil, failover.NotApplied},
		111: {nil, failover.NotApplied}, 112: {nil, failover.InDoubt},
	} {
		c, _ := pacemakerOn(t, func(_ context.Context, cmd *remotetest.Command) remotetest.Ending {
			_, _ = cmd.Stderr.Write([]byte("Vorgang erfolgreich, oder auch nicht"))
			return remotetest.Exit(code)
		})
		err := c.d.meta(t.Context(), "set", "n1", "g", "a", "b")
		require.Equal(t, want.outcome, failover.OutcomeOf(err), "%d", code)
		if want.kind != nil {
			require.ErrorIs(t, err, want.kind)
		}
		ce, ok := asCode(err)
		require.True(t, ok)
		require.Equal(t, code, ce.Code)
	}
}

func asCode(err error) (*CodeError, bool) {
	for err != nil {
		if c, ok := err.(*CodeError); ok { //nolint:errorlint // the chain is walked here
			return c, true
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return nil, false
		}
		err = u.Unwrap()
	}
	return nil, false
}

func TestPacemakerRefusesNames(t *testing.T) {
	c, srv := pacemakerOn(t, func(context.Context, *remotetest.Command) remotetest.Ending { return remotetest.Exit(0) })
	for _, name := range []string{"", "a b", "O'Brien", "$(x)", "`x`", "a\nb", "it’s", "eft*", "a;b", "-r", "a&b", "a|b",
		"<a>", "a\x00b", "a/b", `a"b`, "a]", "..x/"} {
		for _, call := range []func() error{
			func() error { _, err := c.Move(t.Context(), name, "n1", MoveOptions{}); return err },
			func() error { _, err := c.Move(t.Context(), "g", name, MoveOptions{}); return err },
			func() error { return c.Offline(t.Context(), name, StateOptions{}) },
			func() error { return c.OnlineResource(t.Context(), name, StateOptions{}) },
			func() error { return c.Pause(t.Context(), name, StateOptions{}) },
			func() error { return c.SetFailback(t.Context(), name, NoFailback) },
			func() error { return c.ClearMove(t.Context(), name) },
		} {
			require.ErrorIs(t, call(), failover.ErrInvalid, "%q", name)
		}
	}
	require.ErrorIs(t, c.d.SetFailback(t.Context(), "n1", "g", Failback{Policy: FailbackAllowed, Raw: "$(x)"}),
		failover.ErrInvalid)
	require.Empty(t, srv.Commands())
}

// TestScriptsTakeAnyArgumentOnARealShell gives the scripts arguments that the driver would refuse. The tools are
// replaced by ones that write down what they got: each gets it whole, and nothing else is run.
func TestScriptsTakeAnyArgumentOnARealShell(t *testing.T) {
	for _, shell := range []string{"sh", "bash", "dash", "ksh"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not here", shell)
			continue
		}
		for _, nasty := range []string{"O'Brien", "$(touch pwned)", "`touch pwned`", "a\nb; touch pwned", "it’s", "*", "a b",
			`"; touch pwned; "`, "-r", "$HOME", `\`, "'"} {
			dir := t.TempDir()
			tool := "#!/bin/sh\nfor a in \"$@\"; do printf '%s\\0' \"$a\"; done >>" + dir + "/got\n"
			for _, name := range []string{"crm_resource", "crm_standby", "cibadmin", "crm_node", "crm_mon"} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(tool), 0o755)) //nolint:gosec // it is a program
			}
			for script, args := range map[string][]string{"move": {nasty, nasty, "bjI="}, "clear": {nasty, nasty},
				"meta":    {nasty, "target-role", nasty},
				"standby": {nasty, "on"}, "mark": {"key", "", "dGV4dA=="}, "readmark": {"key"}} {
				text, err := scripts.ReadFile("scripts/" + script + ".sh")
				require.NoError(t, err)
				cmd := exec.Command(path, "-c", remote.ShellLine(path, string(text), args...)) //nolint:gosec,noctx // the point of the test
				cmd.Dir, cmd.Env = dir, []string{"PATH=" + dir + ":/usr/bin:/bin", "HOME=/nowhere"}
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s %q: %s", shell, nasty, out)
				require.NoFileExists(t, filepath.Join(dir, "pwned"))
			}
			got, err := os.ReadFile(filepath.Join(dir, "got"))
			require.NoError(t, err)
			require.Contains(t, strings.Split(string(got), "\x00"), nasty, "%s passes it whole", shell)
		}
	}
}
