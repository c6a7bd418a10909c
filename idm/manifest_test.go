package idm

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

func TestManifestComesBack(t *testing.T) {
	m := *manifestOf("text", 3)
	m.Time = m.Time.UTC().Truncate(time.Second)
	m.Drivers = []ManifestDriver{{DN: "cn=d,o=x", Objects: 2, StartOption: "auto"}}
	m.Secrets = []SecretNeeded{{Kind: SecretNamed, Object: "cn=d,o=x", Name: "smtp", NeededBy: []string{"cn=r,o=x"},
		Because: "x"}}
	var b bytes.Buffer
	require.NoError(t, m.Write(&b))
	require.Contains(t, b.String(), `"kind": "named password"`)
	got, err := readManifest("m", bytes.NewReader(b.Bytes()))
	require.NoError(t, err)
	require.Equal(t, m, got)

	for name, change := range map[string][2]string{
		"unknown field": {`"version": 1`, `"version": 1, "surprise": true`},
		"other version": {`"version": 1`, `"version": 2`},
		"no format":     {`"format": "ldif"`, `"format": "csv"`},
		"bad sum":       {`"sha256": "`, `"sha256": "zz`},
		"bad base":      {`"base": "cn=ds,o=x"`, `"base": "nonsense"`},
		"bad server":    {`"server": "cn=a,o=x"`, `"server": ""`},
		"more":          {"\n}\n", "\n}\n{}"},
		"cut":           {"\n}\n", "\n"},
		"bad kind":      {`"named password"`, `"guess"`},
	} {
		text := strings.Replace(b.String(), change[0], change[1], 1)
		require.NotEqual(t, b.String(), text, name)
		_, err := readManifest("m.json", strings.NewReader(text))
		require.Error(t, err, name)
		require.Contains(t, err.Error(), "m.json", name)
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), name)
	}
}

func TestCheckExport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ds.ldif")
	text := ldifSet + ldifDriver
	now := time.Now()
	c := CheckExport(path, now, time.Hour)
	require.False(t, c.Good())
	require.False(t, c.Present)
	require.Contains(t, c.String(), "not there")

	m := manifestOf(text, 2)
	m.Time = now.Add(-30 * time.Minute)
	write := func(content string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		var b bytes.Buffer
		require.NoError(t, m.Write(&b))
		require.NoError(t, os.WriteFile(path+manifestSuffix, b.Bytes(), 0o600))
	}
	write(text)
	c = CheckExport(path, now, time.Hour)
	require.True(t, c.Good(), c)
	require.Contains(t, c.String(), "complete, 2 objects of cn=ds,o=x from cn=a,o=x, 30m")
	c = CheckExport(path, now, time.Minute)
	require.True(t, c.Complete)
	require.True(t, c.Stale)
	require.False(t, c.Good())
	require.Contains(t, c.String(), "older than allowed")
	c = CheckExport(path, m.Time.Add(-time.Hour), time.Hour)
	require.False(t, c.Good(), "an export from the future would never become too old")
	require.Contains(t, c.String(), "not usable: its manifest says that it was taken")

	write(text[:40])
	c = CheckExport(path, now, time.Hour)
	require.True(t, c.Present)
	require.False(t, c.Complete)
	require.Contains(t, c.Problem, "it was cut off")
	require.Contains(t, c.String(), "not usable")

	require.NoError(t, os.Remove(path+manifestSuffix))
	c = CheckExport(path, now, time.Hour)
	require.True(t, c.Present)
	require.False(t, c.Good())
}
