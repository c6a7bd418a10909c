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

// office is an operator before a pair behind two real OpenSSH servers, with the program as it would be installed.
type office struct {
	*desk
	hosts   map[string]*symhost.Machine
	program string
}

const realSite = `
home: {name: symaix1, machine_id: %q, hostname: symaix1, ssh: {address: %q, user: root, host_keys: [%q], key: {file: %q}, connect_timeout: 3s}}
partner: {name: symaix2, machine_id: %q, hostname: symaix2, ssh: {address: %q, user: root, host_keys: [%q], key: {file: %q}, connect_timeout: 3s}}
primary_gone: {by: ann, says: "symaix1 lost power and stays off", reason: "stood before it"}
`

// newOffice starts the hosts with the given login shell and writes a site file that fits them. home is another address for Home.
func newOffice(t *testing.T, fault, login, home string) *office {
	t.Helper()
	sim, err := symitartest.NewPair()
	require.NoError(t, err)
	t.Cleanup(func() { _ = sim.Close() })
	require.NoError(t, sim.Arm(fault))
	c := sim.Config()
	o := &office{hosts: symhost.Pair(t, sim, login)}
	a, b := o.hosts[symitartest.Home], o.hosts[symitartest.Partner]
	if home == "" {
		home = a.Proxy.Address()
	}
	text := fmt.Sprintf(realSite, c.Home.MachineID, home, a.Fingerprints()[0], a.ClientKeyFile(), c.Partner.MachineID, b.Proxy.Address(), b.Fingerprints()[0], b.ClientKeyFile())
	_, rest, found := strings.Cut(siteText, "\nmacro:")
	require.True(t, found)
	rest = strings.NewReplacer("/symitartest/", symhost.Below+"/", "timeout: 20s", "timeout: 2m").Replace("macro:" + rest)
	o.desk = &desk{sim: sim, config: filepath.Join(t.TempDir(), "site.yaml"), journal: filepath.Join(t.TempDir(), "journal")}
	require.NoError(t, os.WriteFile(o.config, []byte(text+rest), 0o600))
	o.program = filepath.Join(t.TempDir(), "symitar-failover")
	out, err := exec.Command("go", "build", "-o", o.program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return o
}

func (o *office) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(o.program, append([]string{"-config", o.config, "-journal", o.journal, "-actor", "ann", "-reason", "CHG-1"}, args...)...)
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
func (o *office) plan(t *testing.T, procedure string) string {
	t.Helper()
	p, closer, err := build(t.Context(), o.config, procedure)
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

// runs runs with the plan approved as things stand, and wants the exit status.
func (o *office) runs(t *testing.T, status int, procedure string) string {
	t.Helper()
	return o.does(t, status, "-procedure", procedure, "run", "-approve", o.plan(t, procedure))
}

// toTheMacro does OpCon's part by hand, and returns the plan to approve: the next run fires the macro.
func (o *office) toTheMacro(t *testing.T, procedure string) (hash string) {
	t.Helper()
	for _, step := range []string{"opcon-hold/schedules", "opcon-down/machine"} {
		o.runs(t, 4, procedure)
		o.does(t, 0, "confirm", step, "done in OpCon")
	}
	require.Zero(t, o.sim.MacroRuns())
	return o.plan(t, procedure)
}

// toTheEnd does what is left behind the macro.
func (o *office) toTheEnd(t *testing.T, procedure string) {
	t.Helper()
	for _, step := range []string{"opcon-repoint/machine", "opcon-prove/machine-up", "opcon-decide/rerun", "opcon-release/schedules"} {
		o.runs(t, 4, procedure)
		o.does(t, 0, "confirm", step, "done in OpCon")
	}
	o.runs(t, 0, procedure)
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
	found, _ := filepath.Glob(filepath.Join(o.sim.HostDir(symitartest.Home), "var/tmp/failover", pattern))
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
func (o *office) fires(t *testing.T, procedure, hash string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd, out := o.command("-procedure", procedure, "run", "-approve", hash)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	eventually(t, "the macro is fired", func() bool {
		return o.sim.MacroRuns() == 1 && strings.Contains(o.stateFile("run.*/processes"), "macro ")
	})
	return cmd, out
}

// TestRealSwap is the planned swap through two real OpenSSH servers, as an operator would do it, with a C shell for the
// account, and something that goes wrong while the macro runs.
func TestRealSwap(t *testing.T) {
	home := symitartest.Home
	for name, c := range map[string]struct {
		fault  string
		happen func(*testing.T, *office, *exec.Cmd)
		status int // of the run that fired
		macros int
		settle func(*testing.T, *office, string) // what the stop says
	}{
		"the line is cut": {"waits", func(t *testing.T, o *office, _ *exec.Cmd) {
			for _, h := range o.hosts {
				h.Proxy.CutAll()
			}
			require.NoError(t, o.sim.Go())
		}, 4, 1, nil},
		"the runner is killed": {"waits", func(t *testing.T, o *office, _ *exec.Cmd) {
			o.hosts[home].Shell(t, "kill -9 "+o.pid(t, "runner"))
			require.NoError(t, o.sim.Go())
		}, 4, 1, nil},
		"our process is killed": {"waits", func(t *testing.T, o *office, cmd *exec.Cmd) {
			require.NoError(t, cmd.Process.Kill())
			require.NoError(t, o.sim.Go())
		}, -1, 1, func(t *testing.T, o *office, _ string) { o.swapped(t) }},
		"the macro is killed": {"waits", func(t *testing.T, o *office, _ *exec.Cmd) {
			o.hosts[home].Shell(t, "kill -9 "+o.pid(t, "macro")+"; rmdir "+o.sim.Dir()+"/macro-active")
		}, 3, 2, again},
		"the host reboots": {"waits", func(t *testing.T, o *office, _ *exec.Cmd) { o.hosts[home].Reboot(t, "primary") }, 3, 2, again},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, c.fault, "/bin/tcsh", "")
			hash := o.toTheMacro(t, "switchover")
			cmd, out := o.fires(t, "switchover", hash)
			c.happen(t, o, cmd)
			_ = cmd.Wait()
			require.Equal(t, c.status, cmd.ProcessState.ExitCode(), out)
			require.Equal(t, 1, o.sim.MacroRuns())
			if c.settle != nil {
				c.settle(t, o, out.String())
			}
			o.toTheEnd(t, "switchover")
			assert.Equal(t, c.macros, o.sim.MacroRuns())
		})
	}
}

// again follows what a run says that ended in doubt: the roles are as before, so the run is acknowledged, the step resolved
// as not applied, and the macro fired once more.
func again(t *testing.T, o *office, said string) {
	t.Helper()
	run := strings.TrimSpace(o.stateFile("lock/run"))
	require.Contains(t, said, run, "the run to acknowledge is named")
	require.Equal(t, []string{symitartest.Home}, o.sim.Primaries())
	o.runs(t, 3, "switchover")
	require.Equal(t, 1, o.sim.MacroRuns(), "never fired again by itself")
	require.NoError(t, o.sim.Go())
	o.does(t, 0, "acknowledge", run, "the roles are as before", "-approve", run)
	o.does(t, 0, "resolve", "macro/run", "not-applied")
	o.runs(t, 4, "switchover")
	require.Equal(t, 2, o.sim.MacroRuns(), "fired once more, by a person's word")
}

// TestRealAcknowledgeWhileItRuns is the way in which a macro was once fired twice: the wrapper is killed, and the operator
// does everything that makes another firing possible, while the macro works.
func TestRealAcknowledgeWhileItRuns(t *testing.T) {
	o := newOffice(t, "waits", "/bin/bash", "")
	cmd, _ := o.fires(t, "switchover", o.toTheMacro(t, "switchover"))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	o.hosts[symitartest.Home].Shell(t, "kill -9 "+o.pid(t, "runner"))
	run := strings.TrimSpace(o.stateFile("lock/run"))
	said := o.does(t, 1, "acknowledge", run, "I believe that it is gone", "-approve", run)
	assert.Contains(t, said, "still running")
	assert.Contains(t, said, o.pid(t, "macro"))
	o.does(t, 1, "acknowledge", run, "left=unseen", "I believe that it is gone", "-approve", run)
	require.NoError(t, o.sim.Go())
	o.swapped(t)
	o.toTheEnd(t, "switchover")
	assert.Equal(t, 1, o.sim.MacroRuns())
}

// TestRealDiskFillsUp: the state directory has room when it is looked at and none when the macro is launched.
func TestRealDiskFillsUp(t *testing.T) {
	o := newOffice(t, "", "/bin/bash", "")
	home := o.hosts[symitartest.Home]
	home.Kill()
	require.NoError(t, os.WriteFile(filepath.Join(home.Dir, "etc/statefs"), []byte("size=256k,nr_inodes=200"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(home.Dir, "bin/df"))) // the real one
	require.NoError(t, os.WriteFile(filepath.Join(home.Dir, "bin/df"), []byte("#!/bin/sh\n[ \"$1\" = -kP ] || exec cat "+symhost.Below+"/etc/filesystems\nexec /bin/df \"$@\"\n"), 0o700))
	require.NoError(t, home.Start())
	hash := o.toTheMacro(t, "switchover")
	home.Shell(t, "cd "+symhost.Below+"/var/tmp; dd if=/dev/zero of=full bs=1k 2>/dev/null; true")
	said := o.does(t, 1, "run", "-approve", hash)
	assert.Contains(t, said, "is full")
	assert.Contains(t, said, "make room")
	require.Zero(t, o.sim.MacroRuns())
	home.Shell(t, "rm "+symhost.Below+"/var/tmp/full")
	o.toTheEnd(t, "switchover")
	assert.Equal(t, 1, o.sim.MacroRuns())
}

// TestRealEmergency: the primary is gone, and the macro is fired on the partner. A primary that lives stops it.
func TestRealEmergency(t *testing.T) {
	t.Run("no power", func(t *testing.T) {
		t.Parallel()
		o := newOffice(t, "", "/bin/tcsh", symhost.Silence(t))
		o.hosts[symitartest.Home].Kill()
		require.NoError(t, o.sim.PowerOff(symitartest.Home))
		o.does(t, 4, "-procedure", "failover", "run", "-approve", o.toTheMacro(t, "failover"))
		assert.Equal(t, []string{symitartest.Partner}, o.sim.Primaries())
		assert.Equal(t, 1, o.sim.MacroRuns())
	})
	for name, lines := range map[string]string{"algorithms": "Ciphers aes256-cbc", "no shell": "ForceCommand /bin/false"} {
		t.Run("alive: "+name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, "", "/bin/bash", "")
			living := symhost.Start(t, o.sim.HostDir(symitartest.Home), "/bin/bash", lines)
			raw, err := os.ReadFile(o.config)
			require.NoError(t, err)
			text := strings.Replace(string(raw), o.hosts[symitartest.Home].Proxy.Address(), living.Proxy.Address(), 1)
			text = strings.Replace(text, o.hosts[symitartest.Home].Fingerprints()[0], living.Fingerprints()[0], 1)
			require.NoError(t, os.WriteFile(o.config, []byte(text), 0o600))
			said := o.does(t, 6, "-procedure", "failover", "check")
			assert.Contains(t, said, "switch it off")
			require.Zero(t, o.sim.MacroRuns())
		})
	}
}
