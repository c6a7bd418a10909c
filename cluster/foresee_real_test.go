package cluster_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/cluster"
)

// others has groups that nobody named beside the one that moves, in each relation that a cluster knows. What the plan
// foresees of them is what happens.
func (r *real) others(t *testing.T, c cluster.Cluster) {
	do := func(args ...string) {
		out, err := r.live().Run(args...)
		require.NoError(t, err, "%v: %s", args, out)
	}
	create := func(section, text string) { do("cibadmin", "-o", section, "-C", "-X", text) }
	remove := func(section, text string) { do("cibadmin", "-o", section, "-D", "-X", text) }
	dummy := func(id string) string {
		return `<primitive id="` + id + `" class="ocf" provider="pacemaker" type="Dummy"/>`
	}
	settle := func() { do("crm_resource", "--wait", "--timeout=30") }
	g, err := c.Group(t.Context(), "eft")
	require.NoError(t, err)
	source, target := g.Owner, map[string]string{"n1": "n2", "n2": "n1"}[g.Owner]

	f, err := c.Foresee(t.Context(), "eft", target, g.Failback)
	require.NoError(t, err)
	require.Equal(t, cluster.Foresight{}, f)

	create("resources", `<group id="app">`+dummy("app-a")+`</group>`)
	for _, id := range []string{"follower", "ordered", "bystander"} {
		create("resources", dummy(id))
	}
	create("constraints", `<rsc_location id="t-app" rsc="app" node="`+target+`" score="100"/>`)
	create("constraints", `<rsc_colocation id="t-apart" rsc="app" with-rsc="eft" score="-INFINITY"/>`)
	create("constraints", `<rsc_colocation id="t-set" score="INFINITY"><resource_set id="t-set-0"><resource_ref id="follower"/></resource_set>`+
		`<resource_set id="t-set-1"><resource_ref id="eft"/></resource_set></rsc_colocation>`)
	create("constraints", `<rsc_order id="t-order" first="eft" then="ordered" kind="Mandatory"/>`)
	create("constraints", `<rsc_location id="t-home" rsc="ordered" node="`+source+`" score="100"/>`)
	create("constraints", `<rsc_location id="t-by" rsc="bystander" node="`+source+`" score="100"/>`)
	settle()
	before, err := r.live().Run("cibadmin", "-Q", "-o", "configuration")
	require.NoError(t, err)
	f, err = c.Foresee(t.Context(), "eft", target, g.Failback)
	require.NoError(t, err)
	after, err := r.live().Run("cibadmin", "-Q", "-o", "configuration")
	require.NoError(t, err)
	require.Equal(t, before, after, "it changes nothing")
	moves := func(what, from, to string) string { return what + " moves from " + from + " to " + to }
	others := []string{moves("app-a of app", target, source), moves("follower", source, target),
		"ordered restarts on " + source + " (required eft running)"}
	require.Equal(t, others, f.Others)
	require.False(t, f.Stays)
	// Where the other group prefers the target it takes it back, and drives this one home: a second outage.
	require.Equal(t, []string{moves("app-a of app", source, target), moves("eft-disk of eft", target, source),
		moves("eft-svc of eft", target, source), moves("follower", target, source),
		"ordered restarts on " + source + " (required eft running)"}, f.Then)
	f, err = c.Foresee(t.Context(), "eft", target, cluster.NoFailback)
	require.NoError(t, err)
	require.Equal(t, cluster.Foresight{Others: others}, f, "with failback prevented it stays")

	do("crm_resource", "--resource", "app", "--meta", "--set-parameter", "resource-stickiness", "--parameter-value", "10")
	remove("constraints", `<rsc_location id="t-app"/>`)
	settle()
	f, err = c.Foresee(t.Context(), "eft", target, g.Failback)
	require.NoError(t, err)
	require.Equal(t, cluster.Foresight{Others: others}, f)
	report, err := runTransfer(t, c, filepath.Join(t.TempDir(), "j"), cluster.TransferOptions{Group: "eft", Target: target})
	require.NoError(t, err)
	found := report.Steps[len(report.Steps)-1].Found
	require.Contains(t, found, "app was online on "+target+" and is online on "+source)
	require.Contains(t, found, "follower was online on "+source+" and is online on "+target)
	require.NotContains(t, found, "bystander")

	// What holds the group against every request is known to the scheduler alone.
	create("constraints", `<rsc_colocation id="t-pin" rsc="eft" with-rsc="bystander" score="INFINITY"/>`)
	remove("constraints", `<rsc_location id="t-by"/>`)
	create("constraints", `<rsc_location id="t-by" rsc="bystander" node="`+source+`" score="-INFINITY"/>`)
	settle()
	f, err = c.Foresee(t.Context(), "eft", source, g.Failback)
	require.NoError(t, err)
	require.True(t, f.Stays, "%v", f)
	_, err = runTransfer(t, c, filepath.Join(t.TempDir(), "j"), cluster.TransferOptions{Group: "eft", Target: source})
	require.ErrorIs(t, err, cluster.ErrTargetUnfit)
	require.ErrorContains(t, err, "foresees")

	for _, id := range []string{"t-apart", "t-set", "t-pin"} {
		remove("constraints", `<rsc_colocation id="`+id+`"/>`)
	}
	for _, id := range []string{"t-home", "t-by"} {
		remove("constraints", `<rsc_location id="`+id+`"/>`)
	}
	remove("constraints", `<rsc_order id="t-order"/>`)
	for _, id := range []string{"follower", "ordered", "bystander"} {
		do("crm_resource", "--force", "--delete", "--resource", id, "--resource-type", "primitive")
	}
	do("cibadmin", "-o", "resources", "-D", "-X", `<group id="app"/>`)
	settle()
	r.clean(t, c)
}
