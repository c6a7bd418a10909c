package idm_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

const blindDN = "cn=blind,o=system"

// blind makes a user who may do everything in the driver set but read one attribute at and below an entry.
func blind(t *testing.T, tree *idmtest.Tree, on, attribute string) {
	t.Helper()
	require.NoError(t, tree.AddUser(blindDN, "test", idmtest.Grant{Rights: 2 | 4, Attribute: "NDSRightsToMonitor"},
		idmtest.Grant{On: "o=system", Rights: 2 | 4, Attribute: "[All Attributes Rights]"}))
	require.NoError(t, tree.Filter(idmtest.Grant{On: on, Rights: 4, Attribute: attribute}))
}

// What a user may not read looks as if it were not set. A copy would remove it on the other server, and an export would
// lack it.
func TestWhatMayNotBeReadIsNotTakenForUnset(t *testing.T) {
	const attribute = "DirXML-ShimAuthServer"
	tree, driver := idmtest.Start(t, pair()), idmtest.DriverDN(0)
	blind(t, tree, driver, attribute)
	one, two := openAs(t, tree, "srv1", blindDN), open(t, tree, "srv2")
	before := tree.Get("srv2", driver, attribute)
	require.NotEmpty(t, before)
	_, err := idm.CopyServerData(t.Context(), one, two, idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN})
	require.ErrorIs(t, err, idm.ErrNoAccess)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.ErrorContains(t, err, blindDN+" may not read "+attribute)
	require.Equal(t, before, tree.Get("srv2", driver, attribute))
	_, err = one.Export(t.Context(), io.Discard, idm.ExportOptions{Base: driver})
	require.ErrorIs(t, err, idm.ErrNoAccess)
	_, err = one.Export(t.Context(), io.Discard, idm.ExportOptions{Base: idmtest.DriverDN(1)})
	require.NoError(t, err)

	missing, err := one.MissingRights(t.Context(), driver)
	require.NoError(t, err)
	require.Equal(t, []string{attribute + " (read)"}, missing)

	// Who is not told their rights may have all of them. Nothing is removed then all the same.
	tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, NDS: -672, Times: -1,
		If: func(r idmtest.Request) bool { return strings.HasSuffix(r.OID, ".27.100.33") }})
	_, err = one.Export(t.Context(), io.Discard, idm.ExportOptions{Base: driver})
	require.NoError(t, err)
	_, err = idm.CopyServerData(t.Context(), one, two, idm.ServerDataOptions{DriverSet: idmtest.DriverSetDN})
	require.ErrorIs(t, err, idm.ErrNoAccess)
	require.Equal(t, before, tree.Get("srv2", driver, attribute))
}

// A claim that cannot be read back may stand beside another one.
func TestALockThatCannotBeSeenIsNotHeld(t *testing.T) {
	tree := idmtest.Start(t, pair())
	blind(t, tree, idmtest.DriverSetDN, "description")
	seen := idm.DirectoryLock{Server: open(t, tree, "srv1"), Entry: idmtest.DriverSetDN}
	unseen := idm.DirectoryLock{Server: openAs(t, tree, "srv1", blindDN), Entry: idmtest.DriverSetDN}
	for _, held := range []bool{false, true} {
		if held {
			require.NoError(t, seen.Acquire(t.Context(), failover.Claim{ID: "a", Owner: "ann"}))
		}
		require.ErrorIs(t, unseen.Acquire(t.Context(), failover.Claim{ID: "b", Owner: "bob"}), idm.ErrNoAccess)
		claim, is, err := seen.Holder(t.Context())
		require.NoError(t, err)
		require.Equal(t, held, is, "%v", claim)
	}
}

// A job runs on some server; none is shown where the list may not be read.
func TestAJobWhoseServersAreHiddenIsNotCalledMoved(t *testing.T) {
	m := newMove(t, smallPair())
	job := "cn=Check," + m.drivers[0]
	blind(t, m.tree, job, "DirXML-ServerList")
	p, err := idm.Switchover(idm.SwitchoverOptions{Route: m.route(openAs(t, m.tree, "srv2", blindDN)),
		Source: openAs(t, m.tree, "srv1", blindDN)})
	require.NoError(t, err)
	_, err = m.run(p, "x")
	require.ErrorIs(t, err, idm.ErrNoAccess)
	require.ErrorContains(t, err, job)
	require.Equal(t, []string{m.tree.Server("srv1").DN()}, m.tree.Get("srv1", job, "DirXML-ServerList"))
}
