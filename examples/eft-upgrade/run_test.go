package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

// place is a simulated pair and a site file that reaches it: both nodes over SSH, the running server over REST.
type place struct {
	t      *testing.T
	w      *efttest.World
	dir    string
	config string
	nodes  []*efttest.WindowsNode
}

// newPlace fills the example file in for a simulated pair, with the times of a simulator and changes on top.
func newPlace(t *testing.T, l efttest.Layout, changes ...string) *place {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the simulated SFTP server needs a file system that takes a colon in names")
	}
	w, err := efttest.Open(t.TempDir(), l)
	require.NoError(t, err)
	p := &place{t: t, w: w, dir: t.TempDir()}
	p.config = filepath.Join(p.dir, "site.yaml")
	o, err := w.Options()
	require.NoError(t, err)
	src, err := o.Installer.Source(t.Context())
	require.NoError(t, err)
	raw, err := io.ReadAll(src)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "eft.exe"), raw, 0o600))
	rest := w.ServeREST()
	t.Cleanup(rest.Close)
	all := []string{
		"version: FILL-IN", "version: " + efttest.NewVersion.String(), `"FILL-IN"         # of the file`,
		o.Installer.SHA256 + " # of the file",
		"size: FILL-IN ", fmt.Sprintf("size: %d ", o.Installer.Size), "./eft.exe", filepath.Join(p.dir, "eft.exe"),
		"mode: operator", "mode: silent", `  # args: ["/S"]`, `  args: ["/S"]`,
		"config_dir: FILL-IN", "config_dir: '" + efttest.ConfigDir + "'", "backup_dir: FILL-IN",
		"backup_dir: '" + efttest.BackupDir + "'",
		"/etc/failover/eft-service.password", p.secret("service", efttest.Password),
		"https://eft.example:4450", rest.Config().URL, "/etc/failover/eft-admin.password",
		p.secret("rest", efttest.RESTPassword),
		`fingerprint: "FILL-IN"`, `fingerprint: "` + rest.Config().TLS.Fingerprints[0] + `"`,
		"\nhold: 5s", "\nhold: 1ms", "\npoll: 5s", "\npoll: 1ms", "\nverify: 5m", "\nverify: 1m",
		"  timeout: 10m ", "  timeout: 1m ", "  poll: 2s ", "  poll: 5ms ", "  grace: 10s ", "  grace: 50ms ",
		"  settle: 30s ", "  settle: 300ms ",
		"  timeout: 10m\n  poll: 2s\n  settle: 30s\n", "  timeout: 1m\n  poll: 5ms\n  settle: 300ms\n",
	}
	for i, name := range []string{efttest.ActiveNode, efttest.PassiveNode} {
		srv, err := w.ServeWindows(name)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, srv.Close()) })
		p.nodes = append(p.nodes, srv)
		ssh := srv.SSH()
		password, err := ssh.Password(t.Context())
		require.NoError(t, err)
		all = append(all, fmt.Sprintf("name: NODE%d", i+1), "name: "+name, fmt.Sprintf("node%d.example:22", i+1), ssh.Address,
			"user: FILL-IN", "user: "+ssh.User,
			"SHA256:FILL-IN", ssh.HostKeys[0], "key: {file: /etc/failover/eft.key}",
			"password: {file: "+p.secret(name, password.Reveal())+"}")
	}
	p.write(example(t, append(append(all, "user: FILL-IN", "user: "+efttest.RESTUser), changes...)...))
	return p
}

func (p *place) write(text string) {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(p.config, []byte(text), 0o600))
}

func (p *place) secret(name, value string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	require.NoError(p.t, os.WriteFile(path, []byte(value+"\n"), 0o600))
	return path
}

func (p *place) journal(name string) string { return filepath.Join(p.dir, name+".journal") }

func (p *place) main(args ...string) int {
	p.t.Helper()
	return program().Main(append([]string{"-config", p.config}, args...))
}

func (p *place) run(name string) (*failover.Report, error) {
	p.t.Helper()
	proc, closer, err := build(p.t.Context(), p.config, name)
	require.NoError(p.t, err)
	defer func() { require.NoError(p.t, closer.Close()) }()
	j, err := failovertest.JournalAt(p.journal(name))
	require.NoError(p.t, err)
	defer func() { require.NoError(p.t, j.Close()) }()
	return proc.Run(p.t.Context(), failover.RunOptions{Journal: j, Actor: "ann", Reason: "CHG1", Confirm: p.w.Confirm})
}

// stands wants the service up on its own node, with this version, and no installer started twice.
func (p *place) stands(version eft.Version) {
	p.t.Helper()
	s, m, err := p.w.State()
	require.NoError(p.t, err)
	require.Equal(p.t, efttest.ActiveNode, m.Group(efttest.Group).Owner)
	require.Equal(p.t, cluster.StateOnline, m.GroupState(efttest.Group))
	require.Empty(p.t, m.Marks, "the lock is released")
	for node, runs := range s.Counters.InstallerRuns {
		require.Equal(p.t, 1, runs, node)
	}
	two, err := p.w.TwoActive()
	require.NoError(p.t, err)
	require.False(p.t, two)
	now, err := p.w.Admin().Read(p.t.Context())
	require.NoError(p.t, err)
	require.Equal(p.t, version, now.Version)
	for _, n := range p.nodes {
		require.Empty(p.t, n.Refused(), "nothing but the embedded scripts was sent")
	}
}

func TestUpgradesFromTheFile(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]efttest.Layout{"upgrade": efttest.LayoutLocal,
		"upgrade-shared": efttest.LayoutShared} {
		t.Run(name, func(t *testing.T) {
			marker := filepath.Join(t.TempDir(), "told")
			p := newPlace(t, l, "before: []",
				fmt.Sprintf("before: [{id: tell, title: Tell, run: [touch, %q], done: [test, -e, %q]}]", marker, marker))
			// The console that can be looked at is a program on one of the nodes here.
			ssh := p.nodes[1].SSH()
			text, err := os.ReadFile(p.config)
			require.NoError(t, err)
			p.write(regexp.MustCompile(`(?m)^  - \{name: ADMIN-PC\}$`).ReplaceAllString(string(text),
				fmt.Sprintf(`  - {name: ADMIN-PC}
  - {name: ADMIN-SRV, program: 'C:\Admin\cftpsai.exe', ssh: {address: %q, user: %q, host_keys: [%q], password: {file: %q}}}`,
					ssh.Address, ssh.User, ssh.HostKeys[0], filepath.Join(p.dir, efttest.PassiveNode))))
			before, model, err := p.w.State()
			require.NoError(t, err)

			require.Zero(t, p.main("-procedure", name, "-journal", p.journal(name), "check"))
			require.Zero(t, p.main("-procedure", name, "-journal", p.journal(name), "plan"))
			require.NoFileExists(t, p.journal(name))
			require.NoFileExists(t, marker)
			after, modelAfter, err := p.w.State()
			require.NoError(t, err)
			require.Equal(t, before.Nodes, after.Nodes, "a plan changes nothing")
			require.Equal(t, model.Requests, modelAfter.Requests)

			_, err = p.run(name)
			require.ErrorIs(t, err, eft.ErrNotInstalled, "the administration interface of ADMIN-SRV is not there")
			require.ErrorContains(t, err, "consoles/ADMIN-SRV")
			require.NoError(t, p.w.Update(func(_ *clustertest.Model, s *efttest.State) error {
				s.Nodes[efttest.PassiveNode].Files[`C:\Admin\cftpsai.exe`] = eft.File{Size: 1, Version: efttest.NewVersion}
				return nil
			}))
			report, err := p.run(name)
			require.NoError(t, err)
			p.stands(efttest.NewVersion)
			require.FileExists(t, marker)
			raw, err := report.JSON()
			require.NoError(t, err)
			kept, err := os.ReadFile(p.journal(name))
			require.NoError(t, err)
			for _, secret := range []string{efttest.Password, efttest.RESTPassword} {
				require.NotContains(t, string(raw)+string(kept), secret)
			}
			require.Zero(t, p.main("-procedure", name, "-journal", p.journal(name), "status"))
		})
	}
}

// TestRollbackFromTheFile follows the manual: the report says what to fill in, the lock is taken over, the old version
// runs again.
func TestRollbackFromTheFile(t *testing.T) {
	t.Parallel()
	p := newPlace(t, efttest.LayoutLocal, "\nverify: 1m", "\nverify: 2s")
	require.NoError(t, p.w.Arm("setting-lost"))
	report, err := p.run("upgrade")
	require.ErrorIs(t, err, eft.ErrSettings)
	said := map[string]string{}
	for _, s := range report.Steps {
		said[s.ID] = s.Found
	}
	dir := regexp.MustCompile(`^(.*): \d+ files`).FindStringSubmatch(said["backup/copy"])
	hash := regexp.MustCompile(`manifest ([0-9a-f]{64})$`).FindStringSubmatch(said["backup/verify"])
	failback := regexp.MustCompile(`with failback (\w+)$`).FindStringSubmatch(said["prepare/remember"])
	require.Len(t, failback, 2, said["prepare/remember"])
	require.Len(t, dir, 2, said["backup/copy"])
	require.Len(t, hash, 2, said["backup/verify"])
	text, err := os.ReadFile(p.config)
	require.NoError(t, err)
	p.write(string(text) + fmt.Sprintf("rollback: {old: %s, copy: '%s', manifest: %q, failback: %s}\n", efttest.OldVersion,
		dir[1], hash[1], failback[1]))

	require.Zero(t, p.main("-procedure", "rollback", "-journal", p.journal("rollback"), "plan"))
	_, err = p.run("rollback")
	require.ErrorIs(t, err, failover.ErrLocked)
	c, err := p.w.Cluster()
	require.NoError(t, err)
	holder, held, err := c.Lock().Holder(t.Context())
	require.NoError(t, err)
	require.True(t, held)
	require.Zero(t, p.main("lock"))
	flags := []string{"-procedure", "rollback", "-journal", p.journal("rollback"), "-actor", "ann", "-reason",
		"the upgrade is given up"}
	require.NotZero(t, p.main(append(flags, "take-over", "somebody")...))
	require.Zero(t, p.main(append(flags, "take-over", holder.ID, "-approve", holder.ID)...))
	_, err = p.run("rollback")
	require.NoError(t, err)
	p.stands(efttest.OldVersion)
	_, m, err := p.w.State()
	require.NoError(t, err)
	require.Equal(t, cluster.FailbackAllowed, m.Group(efttest.Group).Failback.Policy)
}

// TestAPersonRunsTheInstaller stops for the person, who is not at the terminal, and goes on with their word.
func TestAPersonRunsTheInstaller(t *testing.T) {
	t.Parallel()
	p := newPlace(t, efttest.LayoutLocal, "mode: silent", "mode: operator", `  args: ["/S"]`, "")
	flags := []string{"-journal", p.journal("upgrade"), "-actor", "ann", "-reason", "CHG1", "-approve"}
	proc, closer, err := build(t.Context(), p.config, "upgrade")
	require.NoError(t, err)
	plan, err := proc.Plan(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, closer.Close())
	flags = append(flags, string(plan.Findings))
	for _, wait := range []struct{ step, node string }{{"passive/install", efttest.PassiveNode},
		{"active/install", efttest.ActiveNode}} {
		require.Equal(t, 4, p.main(append(flags, "run")...), "a person is needed for %s", wait.step)
		require.NoError(t, p.w.InstallByHand(wait.node))
		require.Zero(t, p.main(append(flags, "confirm", wait.step, "ran it, Repair")...))
	}
	require.Equal(t, 4, p.main(append(flags, "run")...))
	require.Zero(t, p.main(append(flags, "confirm", "consoles/ADMIN-PC", "done")...))
	require.Zero(t, p.main(append(flags, "run")...))
	p.stands(efttest.NewVersion)
}
