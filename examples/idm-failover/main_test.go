package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place is a simulated tree and a folder with the files of the site.
type place struct {
	t    *testing.T
	tree *idmtest.Tree
	dir  string
}

func newPlace(t *testing.T, standby idmtest.ServerConfig) place {
	t.Helper()
	standby.Name = "srv2"
	p := place{t: t, dir: t.TempDir(),
		tree: idmtest.Start(t, idmtest.Config{Drivers: 2, Association: idmtest.AssociationAtOnce,
			Servers: []idmtest.ServerConfig{{Name: "srv1"}, standby}})}
	p.secret("admin", idmtest.AdminPassword)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "ca.pem"), p.tree.RootPEM(), 0o600))
	return p
}

func (p place) secret(name, value string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	require.NoError(p.t, os.WriteFile(path, []byte(value+"\n"), 0o600))
	return path
}

// config is the example file with everything filled in that a site has to.
func (p place) config(changes ...string) string {
	p.t.Helper()
	raw, err := os.ReadFile("site.example.yaml")
	require.NoError(p.t, err)
	text := string(raw)
	one := func(from, to string) {
		require.Contains(p.t, text, from)
		text = strings.Replace(text, from, to, 1)
	}
	for i, name := range []string{"srv1", "srv2"} {
		one(fmt.Sprintf("ldaps://idm%d.example:636", i+1), p.tree.Server(name).URL())
		one("dn: FILL-IN", "dn: "+p.tree.Server(name).DN())
		one("/etc/failover/tree-ca.pem", filepath.Join(p.dir, "ca.pem"))
		one("user: cn=failover,ou=sa,o=system", "user: "+idmtest.AdminDN)
		one("/etc/failover/idm.password", filepath.Join(p.dir, "admin"))
	}
	one("framing: FILL-IN", "framing: concatenated")
	one("resync_flag: FILL-IN", "resync_flag: one-skips")
	one("driver_set: cn=Driver Set,ou=idm,o=system", "driver_set: "+idmtest.DriverSetDN)
	one("  - FILL-IN", "  - "+strings.Join(p.tree.Drivers(), "\n  - "))
	one("path: /var/lib/failover", "path: "+p.dir)
	one("configurations: /var/lib/failover", "configurations: "+p.dir)
	one("  settle: 10s", "  settle: 20ms")
	one("  poll: 1s", "  poll: 2ms")
	one("  interval: 5s", "  interval: 2ms")
	one(`since: ""`, "since: "+time.Now().Add(-time.Hour).Format(time.RFC3339))
	one(`by: ""`, "by: ann")
	one(`reason: ""`, "reason: I pulled the plug")
	one("  - {object: FILL-IN, kind: application password, from: {file: /etc/failover/app.password}}", p.passwords())
	for i := 0; i < len(changes); i += 2 {
		one(changes[i], changes[i+1])
	}
	path := filepath.Join(p.dir, "site.yaml")
	require.NoError(p.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (p place) passwords() string {
	lines := []string{p.password(idmtest.DriverSetDN, idm.SecretNamed, "set-wide", idmtest.SetPassword)}
	for i, driver := range p.tree.Drivers() {
		has := idmtest.DriverPasswords(i)
		lines = append(lines, p.password(driver, idm.SecretApplication, "", has.Application))
		if has.RemoteLoader != "" {
			lines = append(lines, p.password(driver, idm.SecretRemoteLoader, "", has.RemoteLoader),
				p.password(driver, idm.SecretDriverObject, "", has.Object))
		}
		for name, value := range has.Named {
			lines = append(lines, p.password(driver, idm.SecretNamed, name, value))
		}
	}
	return strings.Join(lines, "\n")
}

func (p place) password(object string, kind idm.SecretKind, name, value string) string {
	return fmt.Sprintf("  - {object: %q, kind: %s, name: %q, from: {file: %q}}", object, kind, name,
		p.secret("pw-"+value, value))
}

func (p place) main(args ...string) int {
	return program().Main(arguments(args))
}

func yes(_ context.Context, q failover.Request) (failover.Statement, error) {
	return failover.Statement{By: "ann", Says: q.Step.ID + " is done", Reason: "I did it"}, nil
}

func (p place) run(config, name string) {
	p.t.Helper()
	proc, closer, err := build(p.t.Context(), config, name)
	require.NoError(p.t, err)
	defer func() { require.NoError(p.t, closer.Close()) }()
	journal, err := failovertest.JournalAt(filepath.Join(p.dir, name+".journal"))
	require.NoError(p.t, err)
	defer func() { require.NoError(p.t, journal.Close()) }()
	r, err := proc.Run(p.t.Context(), failover.RunOptions{Journal: journal, Actor: "ann", Reason: "CHG1", Confirm: yes})
	require.NoError(p.t, err, "%s", r)
}

func (p place) runsOnlyOn(on string) {
	p.t.Helper()
	for _, d := range p.tree.Drivers() {
		require.Equal(p.t, []string{on}, p.tree.Active(d), d)
		require.Equal(p.t, idmtest.StartAuto, p.tree.Server(on).StartOption(d), d)
		require.Zero(p.t, p.tree.Counters(d).AutoResyncs, d)
	}
	require.Empty(p.t, p.tree.Overlaps(), "a driver was active on two servers")
}

func TestFailoverFromTheFile(t *testing.T) {
	p := newPlace(t, idmtest.ServerConfig{Prepared: true})
	config := p.config()
	p.tree.Server("srv1").Kill()
	p.tree.ForgetRequests()
	journal := filepath.Join(p.dir, "failover.journal")
	require.Zero(t, p.main("failover", "-config", config, "-journal", journal, "plan"))
	require.NoFileExists(t, journal)
	require.Empty(t, p.tree.Active(p.tree.Drivers()[0]), "a plan starts nothing")
	p.run(config, "failover")
	p.runsOnlyOn("srv2")
	require.Zero(t, p.main("failover", "-config", config, "-journal", journal, "status"))
}

func TestPrepareSwitchoverFailbackFromTheFile(t *testing.T) {
	p := newPlace(t, idmtest.ServerConfig{OutsideSet: true})
	config := p.config()
	p.run(config, "prepare")
	p.runsOnlyOn("srv1")
	p.run(config, "switchover")
	p.runsOnlyOn("srv2")
	p.run(config, "failback")
	p.runsOnlyOn("srv1")
}

func TestExportVerifyImport(t *testing.T) {
	p := newPlace(t, idmtest.ServerConfig{})
	config := p.config()
	var out bytes.Buffer
	require.Error(t, verify(t.Context(), &out, config, nil), "there is no export yet")
	require.NoError(t, export(t.Context(), &out, config, nil))
	require.NoError(t, verify(t.Context(), &out, config, nil))
	require.ErrorIs(t, verify(t.Context(), &out, config, []string{"standby"}), idm.ErrDrift)

	driver := p.tree.Drivers()[0]
	require.Empty(t, p.tree.Get("srv2", driver, "DirXML-ShimConfigInfo"))
	out.Reset()
	require.NoError(t, preview(t.Context(), &out, config, nil))
	require.Contains(t, out.String(), "Nothing was written")
	require.Empty(t, p.tree.Get("srv2", driver, "DirXML-ShimConfigInfo"), "a dry run writes nothing")
	require.NoError(t, apply(t.Context(), &out, config, []string{"apply"}, "ann", "CHG1"))
	require.Equal(t, p.tree.Get("srv1", driver, "DirXML-ShimConfigInfo"),
		p.tree.Get("srv2", driver, "DirXML-ShimConfigInfo"))
	require.NoError(t, verify(t.Context(), &out, config, []string{"standby"}))
	p.runsOnlyOn("srv1")

	kept, err := os.ReadFile(filepath.Join(p.dir, "drivers.ldif"))
	require.NoError(t, err)
	err = export(t.Context(), &out, config, []string{"standby"})
	require.ErrorContains(t, err, "it holds the values of "+p.tree.Server("srv1").DN())
	again, err := os.ReadFile(filepath.Join(p.dir, "drivers.ldif"))
	require.NoError(t, err)
	require.Equal(t, kept, again)
	manifest := filepath.Join(p.dir, "drivers.ldif.manifest.json")
	require.NoError(t, os.Rename(manifest, manifest+".moved"))
	err = export(t.Context(), &out, config, []string{"standby"})
	require.ErrorContains(t, err, "nobody knows whose values it holds")
	require.NoError(t, os.Rename(manifest+".moved", manifest))

	for _, args := range [][]string{{"aply"}, {"home", "standby"}, {"apply", "apply"}, {"xml", "file.xml"},
		{"a.xml", "b.xml"}, {driver, p.tree.Drivers()[1]}, {"cn=Unknown,cn=ds1,o=system"}} {
		require.ErrorIs(t, apply(t.Context(), &out, config, args, "ann", "CHG1"), failover.ErrInvalid, args)
	}
	for _, secret := range []string{idmtest.AdminPassword, idmtest.SetPassword, idmtest.DriverPasswords(0).Application} {
		require.NotContains(t, out.String(), secret)
	}
}

// After a failover the server that is taken when none is named is the one in use.
func TestAnImportOverTheActiveServerNamesIt(t *testing.T) {
	p := newPlace(t, idmtest.ServerConfig{})
	config := p.config()
	require.NoError(t, export(t.Context(), &bytes.Buffer{}, config, nil))
	p.run(config, "switchover")
	p.tree.ForgetRequests()
	err := apply(t.Context(), &bytes.Buffer{}, config, []string{"apply"}, "ann", "CHG1")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.Contains(t, failover.NextOf(err), "say standby")
	require.Empty(t, p.tree.Asked(
		func(r idmtest.Request) bool { return r.Op == idmtest.OperationModify || r.Op == idmtest.OperationAdd }))
	// It is no less in use while its engine is away.
	away := p.tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Server: "srv2", Extended: 7, NDS: -783, Times: -1})
	err = apply(t.Context(), &bytes.Buffer{}, config, []string{"apply"}, "ann", "CHG1")
	require.ErrorIs(t, err, failover.ErrPrecondition)
	require.Contains(t, failover.NextOf(err), "say standby")
	away.Remove()
	require.NoError(t, apply(t.Context(), &bytes.Buffer{}, config, []string{"standby", "apply"}, "ann", "CHG1"))
}

// What writes is asked for: a reason, a person's consent, and the lock of the procedures.
func TestAnImportAndTheWatchNeedConsent(t *testing.T) {
	const done, notDone, usage, person = 0, 1, 2, 4
	p := newPlace(t, idmtest.ServerConfig{})
	config, driver := p.config(), p.tree.Drivers()[0]
	require.NoError(t, export(t.Context(), &bytes.Buffer{}, config, nil))
	call := func(words ...string) int { return p.main(append([]string{"-config", config}, words...)...) }
	p.tree.ForgetRequests()
	require.Equal(t, usage, call("import", "standby", "apply"), "no reason")
	require.Equal(t, usage, call("watch"), "no reason")
	require.Equal(t, person, call("-reason", "CHG1", "import", "standby", "apply"), "nobody is there to consent")
	require.Equal(t, person, call("-reason", "CHG1", "watch"), "nobody is there to consent")
	require.Equal(t, person, call("-reason", "CHG1", "-approve", "home", "import", "standby", "apply"),
		"consent to another server")
	require.Empty(t, p.tree.Requests(), "asked before any server is")

	standby, err := dialed(t, config, "standby")
	require.NoError(t, err)
	defer func() { require.NoError(t, standby.Close()) }()
	lock := idm.DirectoryLock{Server: standby, Entry: idmtest.DriverSetDN}
	other := failover.Claim{ID: "other", Owner: "bob"}
	require.NoError(t, lock.Acquire(t.Context(), other))
	approved := []string{"-reason", "CHG1", "-actor", "ann", "-approve", "standby", "import", "standby", "apply"}
	require.Equal(t, notDone, call(approved...), "somebody else works there")
	require.Empty(t, p.tree.Get("srv2", driver, "DirXML-ShimConfigInfo"))
	require.NoError(t, lock.Release(t.Context(), other))
	require.Equal(t, done, call(approved...))
	require.NotEmpty(t, p.tree.Get("srv2", driver, "DirXML-ShimConfigInfo"))
	_, held, err := lock.Holder(t.Context())
	require.NoError(t, err)
	require.False(t, held)
}

func TestDriverConfigurationsAreKeptAndImported(t *testing.T) {
	p := newPlace(t, idmtest.ServerConfig{})
	config := p.config()
	first, second := p.tree.Drivers()[0], p.tree.Drivers()[1]
	var out bytes.Buffer
	require.Error(t, verify(t.Context(), &out, config, []string{"xml"}), "there is no export yet")
	require.NoError(t, export(t.Context(), &out, config, []string{"xml"}))
	for _, d := range []string{"Driver01", "Driver02"} {
		file, err := os.ReadFile(filepath.Join(p.dir, "configurations", d+".xml"))
		require.NoError(t, err)
		require.Contains(t, string(file), "<driver-configuration dn=\"cn="+d+",cn=ds1,o=system\"")
	}
	require.Contains(t, out.String(), "not in it: application password of "+first)
	require.NoError(t, verify(t.Context(), &out, config, []string{"xml"}))
	require.ErrorIs(t, verify(t.Context(), &out, config, []string{"xml", "standby"}), idm.ErrDrift)

	out.Reset()
	require.NoError(t, preview(t.Context(), &out, config, []string{"xml"}))
	require.Contains(t, out.String(), "+ "+first+": DirXML-ShimConfigInfo")
	require.Contains(t, out.String(), "Nothing was written")
	require.Empty(t, p.tree.Get("srv2", first, "DirXML-ShimConfigInfo"), "a dry run writes nothing")
	require.NoError(t, apply(t.Context(), &out, config, []string{"xml", first, "apply"}, "ann", "CHG1"))
	require.Equal(t, p.tree.Get("srv1", first, "DirXML-ShimConfigInfo"),
		p.tree.Get("srv2", first, "DirXML-ShimConfigInfo"))
	require.Empty(t, p.tree.Get("srv2", second, "DirXML-ShimConfigInfo"), "only the driver that was named")
	require.NoError(t, apply(t.Context(), &out, config, []string{"xml", "apply"}, "ann", "CHG1"))
	require.NoError(t, verify(t.Context(), &out, config, []string{"xml", "standby"}))
	p.runsOnlyOn("srv1")

	// One damaged file stops all of them, before the first is written.
	old := filepath.Join(p.dir, "configurations", "Driver02.xml")
	require.NoError(t, os.WriteFile(old, []byte("<driver-configuration"), 0o600))
	p.tree.ForgetRequests()
	require.ErrorIs(t, apply(t.Context(), &out, config, []string{"xml", "apply"}, "ann", "CHG1"), failover.ErrInvalid)
	require.Empty(t, p.tree.Asked(
		func(r idmtest.Request) bool { return r.Op == idmtest.OperationModify || r.Op == idmtest.OperationAdd }))
}

// What was written before another file was refused is in effect.
func TestAnImportThatIsRefusedBehindAnotherFileIsPartWay(t *testing.T) {
	const partWay, done = 5, 0
	p := newPlace(t, idmtest.ServerConfig{})
	config, first := p.config(), p.tree.Drivers()[0]
	require.NoError(t, export(t.Context(), &bytes.Buffer{}, config, []string{"xml"}))
	second := p.tree.Drivers()[1]
	refused := p.tree.Inject(idmtest.Injection{Kind: idmtest.FaultRefusal, Op: idmtest.OperationModify, NDS: -672, Times: -1,
		If: func(r idmtest.Request) bool { return strings.HasSuffix(r.DN, second) }})
	args := []string{"-config", config, "-reason", "CHG1", "-approve", "xml", "import", "xml", "apply"}
	require.Equal(t, partWay, p.main(args...))
	require.NotEmpty(t, p.tree.Get("srv2", first, "DirXML-ShimConfigInfo"))
	refused.Remove()
	require.Equal(t, done, p.main(args...))
}

func TestAFileOfDesignerIsImportedOverADriver(t *testing.T) {
	p := newPlace(t, idmtest.ServerConfig{})
	config := p.config()
	driver := p.tree.Drivers()[0]
	file := filepath.Join(p.dir, "designer.xml")
	require.NoError(t, os.WriteFile(file,
		[]byte(`<driver-configuration dn="cn=Elsewhere,cn=Lab,o=lab" driver-set-dn="cn=Lab,o=lab" name="Elsewhere">
<attributes><shim-auth-id value="cn=from-designer"/><shim-auth-password-query/><driver-start-option no-resync="true" value="2"/>
<named-password-query display-name="Mail" name="smtp"/></attributes>
<children><rule name="FromDesigner"><policy/></rule></children></driver-configuration>`), 0o600))
	var out bytes.Buffer
	args := []string{"standby", file, driver}
	require.NoError(t, preview(t.Context(), &out, config, args))
	for _, line := range []string{"has no manifest",
		"+ " + driver + `: DirXML-ShimAuthID (per server): "cn=from-designer"`,
		"+ cn=FromDesigner," + driver + " (DirXML-Rule)",
		`to be set: named password "smtp" of ` + driver, "to be set: application password of " + driver,
		"Nothing was written"} {
		require.Contains(t, out.String(), line)
	}
	require.False(t, p.tree.Exists("cn=FromDesigner,"+driver))
	require.NoError(t, apply(t.Context(), &out, config, append(args, "apply"), "ann", "CHG1"))
	require.True(t, p.tree.Exists("cn=FromDesigner,"+driver))
	require.Equal(t, []string{"cn=from-designer"}, p.tree.Get("srv2", driver, "DirXML-ShimAuthID"))
	require.NotEqual(t, []string{"cn=from-designer"}, p.tree.Get("srv1", driver, "DirXML-ShimAuthID"),
		"another server has its own value")
	require.Equal(t, idmtest.StartDisabled, p.tree.Server("srv2").StartOption(driver),
		"the start option is the engine's own")
	require.NoError(t, verify(t.Context(), &out, config, args))
	require.Error(t, preview(t.Context(), &out, config, []string{file}),
		"the file's own driver is not there, and neither is what it stands in")
}

func TestGuardAndWatchDisableAReturnedServer(t *testing.T) {
	p := newPlace(t, idmtest.ServerConfig{Prepared: true})
	config := p.config()
	old := p.tree.Server("srv1")
	old.Kill()
	p.run(config, "failover")
	disabled := func() bool {
		for _, d := range p.tree.Drivers() {
			if old.State(d) != idmtest.StateStopped || old.StartOption(d) != idmtest.StartDisabled {
				return false
			}
		}
		return true
	}
	require.NoError(t, old.Start())
	require.False(t, disabled())
	p.run(config, "guard")
	require.True(t, disabled())

	ctx, cancel := context.WithCancel(t.Context())
	done, out := make(chan error, 1), &bytes.Buffer{}
	go func() { done <- watch(ctx, out, config, nil) }()
	home, err := dialed(t, config, "home")
	require.NoError(t, err)
	require.NoError(t, home.SetStartOption(t.Context(), p.tree.Drivers()[0], idm.StartManual, idm.ResyncNone))
	require.Eventually(t, disabled, time.Minute, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, home.Close())
}

func dialed(t *testing.T, config, name string) (*idm.Server, error) {
	t.Helper()
	_, server, err := on(t.Context(), config, name)
	return server, err
}

func TestWhatIsNotFilledInIsRefusedByName(t *testing.T) {
	_, err := readSite("site.example.yaml")
	require.ErrorIs(t, err, failover.ErrInvalid, "the example file itself is not usable")
	for _, field := range []string{"home.dn", "standby.dn", "dialect.framing", "dialect.resync_flag", "drivers[0]",
		"passwords[0].object"} {
		require.ErrorContains(t, err, field, "everything is told at once")
	}
	p := newPlace(t, idmtest.ServerConfig{Prepared: true})
	admin := "password: {file: " + filepath.Join(p.dir, "admin") + "}"
	for _, tt := range []struct{ from, to, want string }{
		{"url: ldaps", "# url: ldaps", "home.url"},
		{"  roots:", "  # roots:", "home.roots"},
		{"  user:", "  # user:", "home.user"},
		{admin, "password: {}", "home.password"},
		{admin, "password: secret", "password"},
		{"limits:", "limitz:", "limitz"},
		{"start: 3m", "start: 3", "length of time"},
		{"gap: close", "gap: shut", "gap"},
		{"resync_flag: one-skips", "resync_flag: one", "dialect.resync_flag"},
		{"max_age: 24h", "# max_age: 24h", "export.max_age"},
		{"path: " + p.dir, "# path: " + p.dir, "export.path"},
		{"driver_set: ", "# driver_set: ", "driver_set"},
		{"data: preparation", "data: guess", "failover.data"},
		{"since: ", "# since: ", "failover.since"},
		{"by: ann", "by: \"\"", "failover.source_dead"},
		{"kind: application password, name", "kind: pin, name", "pin"},
		{"kind: named password, name: \"set-wide\"", "kind: named password, name: \"\"", "passwords[0].name"},
		{"kind: application password, name: \"\"", "kind: application password, name: x", "passwords[1].name"},
	} {
		_, _, err := build(t.Context(), p.config(tt.from, tt.to), "failover")
		require.ErrorContains(t, err, tt.want, tt.to)
	}
	require.Empty(t, p.tree.Requests(), "refused before any server was asked")
}

func TestTheProcedureMayBeNamedFirst(t *testing.T) {
	require.Equal(t, []string{"-procedure", "guard", "-config", "x", "run"},
		arguments([]string{"guard", "-config", "x", "run"}))
	require.Equal(t, []string{"-reason", "guard"}, arguments([]string{"-reason", "guard"}))
	require.Empty(t, arguments(nil))
}

// The exit status says what is in effect, whatever happened to the request.
func TestTheExitStatusSaysWhatIsInEffect(t *testing.T) {
	const done, notDone, inDoubt, person, partWay = 0, 1, 3, 4, 5
	for name, tt := range map[string]struct {
		fault idmtest.Injection
		want  int
	}{
		"nothing goes wrong": {want: done},
		"every password is refused": {idmtest.Injection{Kind: idmtest.FaultRefusal, Server: "srv2", NDS: -672, Times: -1,
			If: setsAPassword}, notDone},
		"the stop is refused": {idmtest.Injection{Kind: idmtest.FaultRefusal, Server: "srv1", Extended: 17,
			NDS: -672, Times: -1}, partWay},
		"the reply to the disabling is lost": {idmtest.Injection{Kind: idmtest.FaultKillReply, Server: "srv1", Extended: 9},
			inDoubt},
		"a start is answered with a riddle": {idmtest.Injection{Kind: idmtest.FaultRefusal, Server: "srv2", Extended: 15,
			Code: 79, Times: -1}, inDoubt},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, idmtest.ServerConfig{Prepared: true})
			config, journal := p.config(), filepath.Join(p.dir, "x.journal")
			proc, closer, err := build(t.Context(), config, "switchover")
			require.NoError(t, err)
			plan, err := proc.Plan(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, closer.Close())
			verb := func(words ...string) int {
				return p.main(append([]string{"switchover", "-config", config, "-journal", journal, "-reason", "CHG1", "-approve",
					string(plan.Findings),
					"-waive", "prepare/references=checked by hand"}, words...)...)
			}
			if tt.fault.Kind != 0 {
				p.tree.Inject(tt.fault)
			}
			status := verb("run")
			for _, step := range []string{"prepare/references-by-hand", "finish/all-good"} {
				if status == person {
					require.Zero(t, verb("confirm", step, "it is done"))
					status = verb("run")
				}
			}
			require.Equal(t, tt.want, status)
			require.Empty(t, p.tree.Overlaps())
		})
	}
}

func setsAPassword(r idmtest.Request) bool {
	return r.Extended >= 67 && r.Extended <= 75 || slices.Contains(r.Attributes, "userPassword")
}
