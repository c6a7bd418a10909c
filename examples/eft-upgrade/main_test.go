package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// example is the example file with one place changed after the other; each must be there.
func example(t *testing.T, changes ...string) string {
	t.Helper()
	raw, err := os.ReadFile("site.example.yaml")
	require.NoError(t, err)
	text := string(raw)
	for i := 0; i < len(changes); i += 2 {
		require.Contains(t, text, changes[i])
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	return text
}

// filled is the example file with everything filled in that a site has to, and changes on top.
func filled(t *testing.T, changes ...string) string {
	t.Helper()
	dir := t.TempDir()
	installer := filepath.Join(dir, "eft.exe")
	require.NoError(t, os.WriteFile(installer, []byte("x"), 0o600))
	all := append([]string{
		"user: FILL-IN", "user: admin", "user: FILL-IN", "user: admin", "user: FILL-IN", "user: api",
		"SHA256:FILL-IN", "SHA256:" + strings.Repeat("A", 43), "SHA256:FILL-IN", "SHA256:" + strings.Repeat("B", 43),
		"version: FILL-IN", "version: 8.1.0.16", `sha256: "FILL-IN"`, `sha256: "` + strings.Repeat("0", 64) + `"`,
		"size: FILL-IN ", "size: 1 ",
		"file: ./eft.exe", "file: '" + installer + "'",
		"config_dir: FILL-IN", `config_dir: 'E:\EFT\Config'`, "backup_dir: FILL-IN", `backup_dir: 'C:\Backup'`,
		`fingerprint: "FILL-IN"`, `fingerprint: "` + strings.Repeat("0", 64) + `"`,
		"# rollback: {old: 8.0.6.16, copy: 'C:\\Backup\\eft-...', manifest: \"64 digits\", failback: allowed, restore: " +
			"when-moved}",
		"rollback: {old: 8.0.6.16, copy: 'C:\\Backup\\eft-abc', manifest: \"" + strings.Repeat("0", 64) +
			"\", failback: allowed, restore: when-moved}",
	}, changes...)
	path := filepath.Join(dir, "site.yaml")
	require.NoError(t, os.WriteFile(path, []byte(example(t, all...)), 0o600))
	return path
}

func TestTheExampleFileBuildsEveryProcedure(t *testing.T) {
	path := filled(t,
		"before: []\n# - ", "before:\n - ", "# - {id: tell", " - {id: tell",
		"# - name: ADMIN-SRV\n#   program", "  - name: ADMIN-SRV\n    program", "#   ssh: {address", "    ssh: {address",
		`host_keys: ["SHA256:..."]`, `host_keys: ["SHA256:`+strings.Repeat("C", 43)+`"]`)
	steps := map[string]map[string]failover.Kind{}
	for _, name := range program().Procedures {
		p, closer, err := build(t.Context(), path, name)
		require.NoError(t, err, name)
		require.NoError(t, p.Validate())
		require.NoError(t, closer.Close())
		steps[name] = map[string]failover.Kind{}
		for _, s := range p.AllSteps() {
			steps[name][s.ID] = s.Kind
		}
	}
	for _, name := range program().Procedures[:2] {
		assert.Equal(t, failover.Manual, steps[name]["before/arm-backup"], name)
		assert.Equal(t, failover.Change, steps[name]["before/tell"], name)
		assert.Equal(t, failover.Manual, steps[name]["consoles/ADMIN-PC"], name)
		assert.Equal(t, failover.Check, steps[name]["consoles/ADMIN-SRV"], name)
		assert.Equal(t, failover.Manual, steps[name]["passive/install"], "a person runs the installer unless told otherwise")
	}
	assert.Contains(t, steps["upgrade"], "moved/version")
	assert.Contains(t, steps["upgrade-shared"], "passive/disk-online")
	assert.Contains(t, steps["rollback"], "restore/config")
	assert.NotContains(t, steps["rollback"], "before/tell", "a rollback has none of the upgrade's own steps")
}

func TestWhatIsLeftOutIsDoneByAPerson(t *testing.T) {
	text, err := os.ReadFile(filled(t))
	require.NoError(t, err)
	from, to := strings.Index(string(text), "\nadmin:"), strings.Index(string(text), "\nquiesce:")
	path := filepath.Join(t.TempDir(), "site.yaml")
	require.NoError(t, os.WriteFile(path, []byte(string(text[:from])+string(text[to:])), 0o600))
	p, closer, err := build(t.Context(), path, "upgrade")
	require.NoError(t, err)
	require.NoError(t, closer.Close())
	by := map[string]failover.Kind{}
	for _, s := range p.AllSteps() {
		by[s.ID] = s.Kind
	}
	require.Equal(t, failover.Manual, by["moved/settings"])
	require.Equal(t, failover.Manual, by["home/settings"])
}

func TestWhatIsNotFilledInIsRefusedByName(t *testing.T) {
	_, _, err := build(t.Context(), "site.example.yaml", "upgrade")
	require.ErrorIs(t, err, failover.ErrInvalid, "the example file itself is not usable")
	for _, place := range []string{"active.ssh.user", "passive.ssh.host_keys[0]", "installer.version", "installer.sha256",
		"installer.size", "config_dir", "backup_dir",
		"admin.user", "admin.fingerprint"} {
		assert.Contains(t, err.Error(), place)
	}
	for _, tt := range []struct{ from, to, want string }{
		{"version: 8.1.0.16 ", "version: '' ", "installer.version"},
		{"version: 8.1.0.16 ", "version: 8.10 ", "installer.version"},
		{"version: 8.1.0.16 ", "version: newest ", "installer.version"},
		{`sha256: "0`, `sha256: "`, "Installer.SHA256"},
		{"size: 1 ", "size: 0 ", "Installer.Size"},
		{"mode: operator", "mode: ''", "installer.mode"},
		{"mode: operator", "mode: silent", "Installer.Args"},
		{"  # args: [", "  args: [", "Installer.Args"},
		{"  # url: ", "  url: ", "Installer.URL"},
		{"file: '", "file: '/nowhere", "installer.file"},
		{`path: 'C:\Install\eft.exe'`, `path: '\\server\share\eft.exe'`, "Installer.Path"},
		{`config_dir: 'E:\EFT\Config'`, "config_dir: ''", "Options.ConfigDir"},
		{`backup_dir: 'C:\Backup'`, `backup_dir: 'E:\EFT\Config\Backup'`, "Options.BackupDir"},
		{"user: api", "user: ''", "RESTConfig.User"},
		{"login: EFT", "login: X", "RESTConfig.Login"},
		{"password: {file: /etc/failover/eft-admin.password}", "password: {}", "RESTConfig.Password"},
		{"url: https://eft.example", "url: http://eft.example", "RESTConfig.URL"},
		{"  timeout: 60s", "  roots: ca.pem\n  timeout: 60s", "are given beside roots"},
		{"name: NODE2", "name: ''", "WindowsNodeConfig.Name"},
		{"name: NODE2", "name: NODE1", "NODE1"},
		{"node2.example:22", "node1.example:22", "same address"},
		{"group: \"EFT Server\"", "group: ''", "Group"},
		{"{name: ADMIN-PC}", "{name: ''}", "Options.Consoles"},
		{"{name: ADMIN-PC}", "{name: ADMIN-PC, program: 'C:\\x.exe'}", "consoles[0]"},
		{"before: []", "before: [{title: x, help: y}]", "before[0].id"},
		{"before: []", "before: [{id: x, title: y}]", "before[0]"},
		{"before: []", "before: [{id: x, title: y, run: [z]}]", "before[0]"},
		{"before: []", "before: [{id: x, title: y, help: a, run: [z], done: [z]}]", "before[0]"},
		{"after: []", "after: [{id: x, help: y}]", "step after/x.Title"},
		{"hold: 5s", "hold: 5m", "Hold"},
		{"attempts: 3", "attempts: -3", "negative"},
	} {
		_, _, err := build(t.Context(), filled(t, tt.from, tt.to), "upgrade")
		require.ErrorIs(t, err, failover.ErrInvalid, "%s: %v", tt.to, err)
		assert.Contains(t, err.Error(), tt.want)
	}
	for _, tt := range []struct{ from, to, want string }{
		{"\nconfig_dir:", "\nconfigdir:", "configdir"},
		{"  mode: operator", "  mood: operator", "mood"},
		{"  timeout: 10m", "  timeout: 10", "length of time"},
	} {
		_, _, err := build(t.Context(), filled(t, tt.from, tt.to), "upgrade")
		require.Error(t, err, tt.to)
		assert.Contains(t, err.Error(), tt.want)
	}
	for _, tt := range []struct{ from, to, want string }{
		{"old: 8.0.6.16", "old: 8.1.0.16", "RollbackOptions.Old"},
		{`copy: 'C:\Backup\eft-abc'`, "copy: ''", "RollbackOptions.Copy"},
		{"manifest: \"0", "manifest: \"", "RollbackOptions.Manifest"},
		{"\nrollback:", "\n# rollback:", "rollback.old"},
		{"old: 8.0.6.16", "old: 8.0", "rollback.old"},
		{"failback: allowed", "failback: home", "rollback.failback"},
		{"restore: when-moved}", "restore: never}", "rollback.restore"},
	} {
		_, _, err := build(t.Context(), filled(t, tt.from, tt.to), "rollback")
		require.ErrorIs(t, err, failover.ErrInvalid, tt.to)
		assert.Contains(t, err.Error(), tt.want)
	}
}

// TestEveryKeyIsExplained wants every key of the configuration in the example file, in use or as a comment.
func TestEveryKeyIsExplained(t *testing.T) {
	text, count := example(t), 0
	var walk func(reflect.Type)
	walk = func(v reflect.Type) {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice {
			v = v.Elem()
		}
		// what that package reads is the same in every program
		if v.Kind() != reflect.Struct || strings.HasSuffix(v.PkgPath(), "/runbook") {
			return
		}
		for i := range v.NumField() {
			if key := v.Field(i).Tag.Get("yaml"); key != "" {
				assert.True(t, regexp.MustCompile(`(?m)(^|[ {])`+key+`:( |$)`).MatchString(text), key)
				count++
				walk(v.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[site]())
	assert.Greater(t, count, 70)
}

func TestHooks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no touch and test")
	}
	dir := t.TempDir()
	marker := filepath.Join(dir, "it's $(touch pwned)")
	stages, err := hooks("before",
		[]hook{{ID: "a", Title: "A", Run: []string{"touch", marker}, Done: []string{"test", "-e", marker}},
			{ID: "b", Title: "B", Run: []string{"false"}, Done: []string{"false"}},
			{ID: "c", Title: "C", Run: []string{"no-such-program"}, Done: []string{"no-such-program"}}})
	require.NoError(t, err)
	steps := stages[0].Steps
	obs, err := steps[0].Observe(t.Context())
	require.NoError(t, err)
	require.False(t, obs.Done)
	require.NoFileExists(t, marker, "looking changes nothing")
	require.NoError(t, steps[0].Apply(t.Context()))
	obs, err = steps[0].Observe(t.Context())
	require.NoError(t, err)
	require.True(t, obs.Done)
	require.FileExists(t, marker)
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(steps[1].Apply(t.Context())),
		"it ran, and what it did is not known")
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(steps[2].Apply(t.Context())), "it never ran")
	_, err = steps[2].Observe(t.Context())
	require.NotEmpty(t, failover.NextOf(err))
	require.ErrorContains(t, err, "no-such-program")
}
