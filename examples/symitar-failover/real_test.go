//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/symhost"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// asProgram makes the test's own binary the program: it runs in a process of its own, as it would be installed.
const asProgram = "SYMITAR_FAILOVER_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(program().Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// office is an operator before a pair behind two real OpenSSH servers, with the program as it would be installed.
type office struct {
	*desk
	hosts     map[string]*symhost.Machine
	procedure string
	on        string // the host that runs the macro
	hash      string // of the plan that was approved last
}

const realSite = `
home: {name: symaix1, machine_id: %q, hostname: symaix1, ssh: {address: %q, user: root, host_keys: [%q], key: {file: %q}, connect_timeout: 3s}}
partner: {name: symaix2, machine_id: %q, hostname: symaix2, ssh: {address: %q, user: root, host_keys: [%q], key: {file: %q}, connect_timeout: 3s}}
primary_gone: {by: ann, says: "symaix1 lost power and stays off", reason: "stood before it"}
`

// newOffice starts the hosts with the given login shell and writes a site file that fits them. home is another address
// for Home.
func newOffice(t *testing.T, fault, login, home string) *office {
	t.Helper()
	sim := symitartest.Start(t)
	require.NoError(t, sim.Arm(fault))
	c := sim.Config()
	o := &office{hosts: symhost.Pair(t, sim, login), procedure: "switchover", on: symitartest.Home}
	a, b := o.hosts[symitartest.Home], o.hosts[symitartest.Partner]
	if home == "" {
		home = a.Proxy.Address()
	}
	text := fmt.Sprintf(realSite, c.Home.MachineID, home, a.Fingerprints()[0], a.ClientKeyFile(), c.Partner.MachineID,
		b.Proxy.Address(), b.Fingerprints()[0], b.ClientKeyFile())
	_, rest, found := strings.Cut(siteText, "\nmacro:")
	require.True(t, found)
	rest = strings.NewReplacer("/symitartest/", symhost.Below+"/", "timeout: 20s", "timeout: 2m").Replace("macro:" + rest)
	o.desk = &desk{sim: sim, config: filepath.Join(t.TempDir(), "site.yaml"),
		journal: filepath.Join(t.TempDir(), "journal")}
	require.NoError(t, os.WriteFile(o.config, []byte(text+rest), 0o600))
	return o
}

// newEmergency is an office whose primary has no power.
func newEmergency(t *testing.T, fault, login string) *office {
	t.Helper()
	o := newOffice(t, fault, login, symhost.Silence(t))
	o.procedure, o.on = "failover", symitartest.Partner
	o.hosts[symitartest.Home].Kill()
	require.NoError(t, o.sim.PowerOff(symitartest.Home))
	return o
}

func (o *office) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(os.Args[0],
		append([]string{"-config", o.config, "-journal", o.journal, "-actor", "ann", "-reason", "CHG-1", "-procedure",
			o.procedure}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=yes")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// does runs one command and wants its exit status.
func (o *office) does(t *testing.T, status int, args ...string) string {
	t.Helper()
	cmd, out := o.command(args...)
	_ = cmd.Run() // the exit status says it
	require.Equal(t, status, cmd.ProcessState.ExitCode(), "%v: %s", args, out)
	return out.String()
}

// plan is the hash of the procedure's plan as things stand.
func (o *office) plan(t *testing.T) string {
	t.Helper()
	p, closer, err := build(t.Context(), o.config, o.procedure)
	require.NoError(t, err)
	defer func() { require.NoError(t, closer.Close()) }()
	var journal *failover.Journal
	if _, err := os.Stat(o.journal); err == nil {
		journal, err = failover.ReadJournal(o.journal)
		require.NoError(t, err)
	}
	plan, err := p.Plan(t.Context(), journal)
	require.NoError(t, err)
	return string(plan.Findings)
}

// runs runs with the plan that was approved before, or as things stand, and wants the exit status.
func (o *office) runs(t *testing.T, status int) string {
	t.Helper()
	if o.hash == "" {
		o.hash = o.plan(t)
	}
	return o.does(t, status, "run", "-approve", o.hash)
}

// toTheMacro does OpCon's part by hand: the next run fires the macro.
func (o *office) toTheMacro(t *testing.T) {
	t.Helper()
	for _, step := range []string{"opcon-hold/schedules", "opcon-down/machine"} {
		o.runs(t, 4)
		o.does(t, 0, "confirm", step, "done in OpCon")
	}
	require.Zero(t, o.sim.MacroRuns())
}

// toTheEnd does what is left behind the macro.
func (o *office) toTheEnd(t *testing.T) {
	t.Helper()
	for _, step := range []string{"opcon-repoint/machine", "opcon-prove/machine-up", "opcon-decide/rerun",
		"opcon-release/schedules"} {
		o.runs(t, 4)
		o.does(t, 0, "confirm", step, "done in OpCon")
	}
	o.runs(t, 0)
	assert.Equal(t, failover.ResultCompleted, o.report(t).Result)
	assert.Equal(t, []string{symitartest.Partner}, o.sim.Primaries())
	assert.False(t, o.sim.EverTwoPrimaries())
	assert.Zero(t, o.sim.Overlaps())
}

// swapped waits until the macro, which nobody follows, has swapped the roles: a plan made before shows other findings.
func (o *office) swapped(t *testing.T) {
	t.Helper()
	eventually(t, "the roles are swapped", func() bool {
		return o.sim.Role(symitartest.Partner) == "primary" && strings.TrimSpace(o.stateFile("run.*/log")) != ""
	})
}

// eventually waits for something that has to come.
func eventually(t *testing.T, what string, seen func() bool) {
	t.Helper()
	require.Eventually(t, seen, 2*time.Minute, 20*time.Millisecond, what)
}

func (o *office) stateFile(pattern string) string {
	found, _ := filepath.Glob(filepath.Join(o.sim.HostDir(o.on), "var/tmp/failover", pattern))
	if len(found) == 0 {
		return ""
	}
	text, _ := os.ReadFile(found[0])
	return string(text)
}

// pid returns the number, on the host, of a process that the run has written down.
func (o *office) pid(t *testing.T, role string) string {
	t.Helper()
	for line := range strings.Lines(o.stateFile("run.*/processes")) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == role {
			return f[1]
		}
	}
	t.Fatalf("no %s in %q", role, o.stateFile("run.*/processes"))
	return ""
}

// fires starts the run that fires the macro and waits until the macro works.
func (o *office) fires(t *testing.T) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd, out := o.command("run", "-approve", o.hash)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	eventually(t, "the macro is fired", func() bool {
		return o.sim.MacroRuns() == 1 && strings.Contains(o.stateFile("run.*/processes"), "macro ")
	})
	return cmd, out
}

// TestRealSwap is the planned swap and the emergency through two real OpenSSH servers, as an operator would do it, with
// a C shell for the account, and something that goes wrong while the macro runs.
func TestRealSwap(t *testing.T) {
	cut := func(_ *testing.T, o *office, _ *exec.Cmd) {
		for _, h := range o.hosts {
			h.Proxy.CutAll()
		}
	}
	runner := func(t *testing.T, o *office, _ *exec.Cmd) { o.hosts[o.on].Shell(t, "kill -9 "+o.pid(t, "runner")) }
	ours := func(t *testing.T, _ *office, cmd *exec.Cmd) { require.NoError(t, cmd.Process.Kill()) }
	macro := func(t *testing.T, o *office, _ *exec.Cmd) {
		o.hosts[o.on].Shell(t, "kill -9 "+o.pid(t, "macro")+"; rmdir "+o.sim.Dir()+"/macro-active")
	}
	reboot := func(t *testing.T, o *office, _ *exec.Cmd) { o.hosts[o.on].Reboot(t, o.sim.Role(o.on)) }
	type happen []func(*testing.T, *office, *exec.Cmd)
	for name, c := range map[string]struct {
		open   func(t *testing.T, fault, login string) *office
		happen happen
		status int // of the run that fired
		macros int
	}{
		"swap: the line is cut":                            {planned, happen{cut}, 4, 1},
		"swap: the runner is killed":                       {planned, happen{runner}, 4, 1},
		"swap: our process is killed":                      {planned, happen{ours}, -1, 1},
		"swap: the macro is killed":                        {planned, happen{macro}, 3, 2},
		"swap: the host reboots":                           {planned, happen{reboot}, 3, 2},
		"emergency: the line is cut, the runner is killed": {newEmergency, happen{cut, runner}, 4, 1},
		"emergency: runner and our process are killed":     {newEmergency, happen{runner, ours}, -1, 1},
		"emergency: the macro is killed":                   {newEmergency, happen{macro}, 3, 2},
		"emergency: the host reboots":                      {newEmergency, happen{reboot}, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := c.open(t, "waits", "/bin/tcsh")
			o.toTheMacro(t)
			cmd, out := o.fires(t)
			for _, f := range c.happen {
				f(t, o, cmd)
			}
			if c.macros == 1 {
				require.NoError(t, o.sim.Go())
			}
			_ = cmd.Wait()
			require.Equal(t, c.status, cmd.ProcessState.ExitCode(), out)
			require.Equal(t, 1, o.sim.MacroRuns())
			switch {
			case c.macros == 2:
				o.again(t, out.String())
			case c.status < 0:
				o.swapped(t)
			}
			o.toTheEnd(t)
			assert.Equal(t, c.macros, o.sim.MacroRuns())
		})
	}
}

// planned is an office for the planned swap.
func planned(t *testing.T, fault, login string) *office {
	t.Helper()
	return newOffice(t, fault, login, "")
}

// again follows what a run says that ended in doubt: the roles are as before, so the run is acknowledged, the step
// resolved as not applied, and the macro fired once more.
func (o *office) again(t *testing.T, said string) {
	t.Helper()
	run := strings.TrimSpace(o.stateFile("lock/run"))
	require.Contains(t, said, run, "the run to acknowledge is named")
	require.Equal(t, "secondary", o.sim.Role(symitartest.Partner))
	o.runs(t, 3)
	require.Equal(t, 1, o.sim.MacroRuns(), "never fired again by itself")
	require.NoError(t, o.sim.Go())
	acknowledged := 0
	if o.procedure == "failover" {
		acknowledged = 5 // the host that is gone cannot be asked
	}
	o.does(t, acknowledged, "acknowledge", run, "the roles are as before", "-approve", run)
	o.does(t, 0, "resolve", "macro/run", "not-applied")
	o.hash = "" // the plan as things stand
	o.runs(t, 4)
	o.hash = "" // it showed the launcher's lock free, as it was before the second firing
	require.Equal(t, 2, o.sim.MacroRuns(), "fired once more, by a person's word")
}

// TestRealAcknowledgeWhileItRuns is the way in which a macro was once fired twice: the wrapper is killed, and the
// operator does everything that makes another firing possible, while the macro works.
func TestRealAcknowledgeWhileItRuns(t *testing.T) {
	o := newOffice(t, "waits", "/bin/bash", "")
	o.toTheMacro(t)
	cmd, _ := o.fires(t)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	o.hosts[symitartest.Home].Shell(t, "kill -9 "+o.pid(t, "runner"))
	run := strings.TrimSpace(o.stateFile("lock/run"))
	said := o.does(t, 5, "acknowledge", run, "I believe that it is gone", "-approve", run)
	assert.Contains(t, said, "still running")
	assert.Contains(t, said, o.pid(t, "macro"))
	o.does(t, 5, "acknowledge", run, "left=unseen", "I believe that it is gone", "-approve", run)
	require.NoError(t, o.sim.Go())
	o.swapped(t)
	o.toTheEnd(t)
	assert.Equal(t, 1, o.sim.MacroRuns())
}

// TestRealDiskFillsUp: the state directory has room when it is looked at and none when the macro is launched.
func TestRealDiskFillsUp(t *testing.T) {
	for name, open := range map[string]func(t *testing.T, fault, login string) *office{"swap": planned,
		"emergency": newEmergency} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t, "", "/bin/bash")
			host := o.hosts[o.on]
			host.Kill()
			require.NoError(t, os.WriteFile(filepath.Join(host.Dir, "etc/statefs"), []byte("size=256k,nr_inodes=200"), 0o600))
			require.NoError(t, os.Remove(filepath.Join(host.Dir, "bin/df"))) // the real one
			require.NoError(t, os.WriteFile(filepath.Join(host.Dir, "bin/df"),
				[]byte("#!/bin/sh\n[ \"$1\" = -kP ] || exec cat "+symhost.Below+"/etc/filesystems\nexec /bin/df \"$@\"\n"), 0o700))
			require.NoError(t, host.Start())
			o.toTheMacro(t)
			host.Shell(t, "cd "+symhost.Below+"/var/tmp; dd if=/dev/zero of=full bs=1k 2>/dev/null; true")
			said := o.runs(t, 1)
			assert.Contains(t, said, "is full")
			assert.Contains(t, said, "make room")
			require.Zero(t, o.sim.MacroRuns())
			host.Shell(t, "rm "+symhost.Below+"/var/tmp/full")
			o.toTheEnd(t)
			assert.Equal(t, 1, o.sim.MacroRuns())
		})
	}
}

// TestRealEmergencyStops: a primary that lives stops the emergency.
func TestRealEmergencyStops(t *testing.T) {
	for name, lines := range map[string]string{"algorithms": "Ciphers aes256-cbc", "no shell": "ForceCommand /bin/false"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := planned(t, "", "/bin/bash")
			o.procedure = "failover"
			living := symhost.Start(t, o.sim.HostDir(symitartest.Home), "/bin/bash", lines)
			raw, err := os.ReadFile(o.config)
			require.NoError(t, err)
			text := strings.Replace(string(raw), o.hosts[symitartest.Home].Proxy.Address(), living.Proxy.Address(), 1)
			text = strings.Replace(text, o.hosts[symitartest.Home].Fingerprints()[0], living.Fingerprints()[0], 1)
			require.NoError(t, os.WriteFile(o.config, []byte(text), 0o600))
			said := o.does(t, 6, "check")
			assert.Contains(t, said, "switch it off")
			require.Zero(t, o.sim.MacroRuns())
		})
	}
}
