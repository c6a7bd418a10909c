package cluster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The words are those of Pacemaker's api schema crm_simulate and of its scheduler's expected outputs.
func TestWhatTheSchedulerForesees(t *testing.T) {
	on := func(id, node string) string { return member(id, started, node) }
	doc := func(actions, after string) string {
		return `<pacemaker-result><cluster_status/>` + actions + `<revised_cluster_status><resources>` + after +
			`</resources></revised_cluster_status><status code="0" message="OK"/></pacemaker-result>`
	}
	both := func(first, second string) []byte { return []byte(first + "\n" + cut + "\n" + second) }
	there := `<group id="g">` + on("a", "n2") + on("b", "n2") + `</group>`
	quiet := doc(`<actions/>`, there)

	f, err := parseForesight(both(doc(`<actions><node_action task="Fence (reboot)" node="n1" reason="peer is no longer part of the cluster"/>`+
		`<rsc_action action="move" resource="a" source="n1" dest="n2"/><rsc_action action="stop" resource="x" node="n2" reason="node availability"/>`+
		`<rsc_action action="recover" resource="y" source="n2" dest="n2" blocked="true"/><rsc_action action="start" resource="c:1" node="n2"/>`+
		`<rsc_action action="demote" resource="p:0" role="Promoted" next-role="Unpromoted" node="n1"/></actions>`,
		there+`<group id="h">`+member("x", `role="Stopped"`, "")+`</group>`), quiet), "g", "n2")
	require.NoError(t, err)
	require.Equal(t, Foresight{Others: []string{"c:1 starts on n2",
		"node n1: Fence (reboot) (peer is no longer part of the cluster)", "p:0 demotes on n1",
		"x of h stops on n2 (node availability)", "y recovers on n2, blocked"}}, f)

	for name, after := range map[string]string{"on the source": `<group id="g">` + on("a", "n2") + on("b", "n1") + `</group>`,
		"stopped": `<group id="g">` + on("a", "n2") + member("b", `role="Stopped"`, "") + `</group>`,
		"missing": `<group id="h">` + on("x", "n2") + `</group>`} {
		f, err := parseForesight(both(doc(`<actions/>`, after), quiet), "g", "n2")
		require.NoError(t, err, name)
		require.True(t, f.Stays, name)
	}
	f, err = parseForesight(both(doc(`<actions/>`, on("lone", "n2")), quiet), "lone", "n2")
	require.NoError(t, err)
	require.Equal(t, Foresight{}, f, "a resource outside every group is a group of one")

	// What it did not say is not "nothing".
	for name, out := range map[string]string{"one part": quiet, "no second part": quiet + "\n" + cut + "\n",
		"no actions": doc("", there) + "\n" + cut + "\n" + quiet, "no resources": doc(`<actions/>`, "") + "\n" + cut + "\n" + quiet,
		"an error": strings.Replace(quiet, `code="0"`, `code="78"`, 1) + "\n" + cut + "\n" + quiet, "text": "Transition Summary:\n" + cut + "\n"} {
		_, err := parseForesight([]byte(out), "g", "n2")
		require.Error(t, err, name)
	}
}
