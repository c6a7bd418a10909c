package idm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

func TestTheDocumentationListsTheSteps(t *testing.T) {
	m := newMove(t, pair())
	guard, err := idm.GuardOldServer(idm.GuardOptions{DriverSet: idmtest.DriverSetDN, Drivers: m.drivers,
		Active: open(t, m.tree, "srv2"), OldDN: "cn=srv1,ou=servers,o=system",
		Dial: func(context.Context) (*idm.Server, error) { return nil, idm.ErrUnreachable }})
	require.NoError(t, err)
	procedures := map[string]failover.Procedure{
		"Prepare": m.prepare(),
		"Failover": m.failover(func(o *idm.FailoverOptions) {
			o.TrySource = func(context.Context) (*idm.Server, error) { return nil, idm.ErrUnreachable }
		}),
		"Switchover":     m.switchover("srv1", "srv2"),
		"Failback":       m.failback(),
		"GuardOldServer": guard,
	}
	failovertest.Documented(t, "doc.go", procedures)
	for name, p := range procedures {
		for _, s := range p.AllSteps() {
			require.NotEmpty(t, s.Source, "%s: where does the step come from?", s.ID)
			require.True(t, s.Kind != failover.Change || s.Undo != nil || name == "GuardOldServer",
				"%s: how is it undone?", s.ID)
		}
		require.Equal(t, "idm."+name, p.Name)
		if name != "GuardOldServer" {
			require.NotNil(t, p.Lock, "the default procedure takes the lock")
		}
	}
}

// Every sentence of the published procedure is the source of a step.
func TestThePublishedProcedureIsCovered(t *testing.T) {
	m := newMove(t, pair())
	var sources strings.Builder
	for _, p := range []failover.Procedure{m.prepare(), m.failover(func(o *idm.FailoverOptions) {
		o.Data, o.Export = idm.ServerDataFromExport, idm.KeptExport{Path: "x", MaxAge: time.Hour}
	}), m.switchover("srv1", "srv2")} {
		for _, s := range p.AllSteps() {
			sources.WriteString(s.Source + "\n")
		}
	}
	for _, sentence := range []string{
		"ALWAYS have working exports of all your drivers.",
		"Make sure all replicas are added to the machine.",
		"Before things go amiss add your second failover server to your DriverSet (unless you add the server after the " +
			"crash, then do this first thing once you get IDM installed on the server).",
		"Once that server is in the DriverSet you can click on a driver and 'Copy Data' from the source server to the " +
			"destination server so that the second server has the server-specific information that does not replicate.",
		"If you did not have the server in the DriverSet already add it and import the driver exports over the driver " +
			"objects to this server in the DriverSet so all server-specific data are present on this server.",
		"Replicas are in place already for this to work as mentioned in Step 0.",
		"Enable the drivers on the new server.",
		"Set them to Manual (later, when all id good, change to Auto-Start).",
		"When changing from Disabled to Manual/Auto-Start choose to NOT synchronize data (use the checkbox) and then click " +
			"Apply/Ok.",
		"Step 2: Start the driver.",
		"Depending on the driver you may need to reconfigure some stuff to make this work.",
		"For example if SSL is used between this driver and another driver (eDir driver) or a Remote Loader you'll need to " +
			"make sure that reference still works.",
		"With the eDir drivers if you added this server after the original server was working you'll need to recreate your " +
			"certificates between the servers.",
		"No big deal but it's something to do.",
		"You may also need to set passwords if you've forgotten them or they don't copy properly.",
		"If you imported driver exports to get server-specific data on the new server you will definitely need to set the " +
			"relevant driver passwords because those are not exported for security reasons.",
		"Be sure your original server doesn't come up with the drivers running until you are ready as it may try to create " +
			"connections to the applications and cause some fun there.",
	} {
		require.Contains(t, sources.String(), sentence)
	}
}
