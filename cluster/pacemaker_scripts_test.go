package cluster

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/internal/peers"
)

// onFile runs a script with Pacemaker's own tools on a configuration that lies in a file, and returns what it is then.
func onFile(t *testing.T, resources, constraints string) func(script string, args ...string) cib {
	t.Helper()
	peers.Need(t, "cibadmin", "crm_resource")
	file := filepath.Join(t.TempDir(), "cib")
	require.NoError(t, os.WriteFile(file, []byte(`<cib crm_feature_set="3.4.0" validate-with="pacemaker-3.3" epoch="1" num_updates="0" `+
		`admin_epoch="0"><configuration><crm_config><cluster_property_set id="failover-move-g"><nvpair id="failover-move-g-value" `+
		`name="failover-move-g" value="bjI="/></cluster_property_set></crm_config><nodes><node id="1" uname="n1"/><node id="2" uname="n2"/>`+
		`</nodes><resources>`+resources+`</resources><constraints>`+constraints+`</constraints></configuration><status/></cib>`), 0o600))
	return func(script string, args ...string) cib {
		t.Helper()
		text, err := scripts.ReadFile("scripts/" + script + ".sh")
		require.NoError(t, err)
		cmd := exec.Command("/bin/sh", append([]string{"-c", string(text), "sh"}, args...)...) //nolint:noctx // ends at once
		cmd.Env = append(os.Environ(), "CIB_file="+file)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", script, out)
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var c cib
		require.NoError(t, xml.Unmarshal(raw, &c))
		return c
	}
}

func dummy(id, name, value string) string {
	meta := ""
	if name != "" {
		meta = `<meta_attributes id="` + id + `-own"><nvpair id="` + id + `-1" name="` + name + `" value="` + value + `"/></meta_attributes>`
	}
	return `<primitive id="` + id + `" class="ocf" provider="pacemaker" type="Dummy">` + meta + `</primitive>`
}

// An administrator who wants the group off the node that it is moved to bans it there, also while our request stands.
func TestWhatIsClearedIsOurRequestAlone(t *testing.T) {
	location := func(id, node, score string) string {
		return `<rsc_location id="` + id + `" rsc="g" role="Started" node="` + node + `" score="` + score + `"/>`
	}
	run := onFile(t, `<group id="g">`+dummy("a", "", "")+`</group>`, location("cli-prefer-g", "n2", "INFINITY")+
		location("cli-ban-g-on-n2", "n2", "-INFINITY"))
	for range 2 { // safe to repeat
		c := run("clear", "g", "n2")
		require.Len(t, c.Config.Locations, 1)
		require.Equal(t, "cli-ban-g-on-n2", c.Config.Locations[0].ID)
		require.Empty(t, c.Config.Properties)
	}
	run = onFile(t, `<group id="g">`+dummy("a", "", "")+`</group>`, location("cli-prefer-g", "n1", "INFINITY"))
	require.Len(t, run("clear", "g", "n2").Config.Locations, 1, "a request for another node is not ours")
}

// What members have of their own is an administrator's: the guard is the group's, and is taken back from it alone.
func TestASettingOfAGroupIsNotThatOfItsMembers(t *testing.T) {
	run := onFile(t, `<group id="g">`+dummy("a", stickiness, "1")+dummy("b", stickiness, "2")+dummy("c", "", "")+`</group>`, "")
	read := func(c cib) (string, []string) {
		r := crmReading{cib: c}
		own, plain := value(r.meta("g"), stickiness)
		require.True(t, plain)
		var members []string
		for _, id := range []string{"a", "b", "c"} {
			text, _ := value(r.meta(id), stickiness)
			members = append(members, text)
		}
		return own, members
	}
	for _, set := range []string{"100000", "50", "", "", "100000"} {
		own, members := read(run("meta", "g", stickiness, set))
		require.Equal(t, set, own)
		require.Equal(t, []string{"1", "2", ""}, members)
	}
}

// A member that was taken up or down alone goes with its group again.
func TestAGroupGoesUpAndDownAsAWhole(t *testing.T) {
	const role = "target-role"
	run := onFile(t, `<group id="g">`+dummy("a", role, "Started")+dummy("b", role, "Stopped")+dummy("c", "", "")+`</group>`+
		dummy("other", role, "Stopped"), "")
	for _, set := range []string{"Stopped", "", ""} {
		run("meta", "a", role, "Started")
		r := crmReading{cib: run("meta", "g", role, set)}
		for id, want := range map[string]string{"g": set, "a": "", "b": "", "c": "", "other": "Stopped"} {
			text, _ := value(r.meta(id), role)
			require.Equal(t, want, text, "%s %q", id, set)
		}
	}
}
