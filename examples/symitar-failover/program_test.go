package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// desk is an operator before a simulated pair, with a configuration file that fits it.
type desk struct {
	sim     *symitartest.Pair
	config  string
	journal string
}

// siteText is filled in as an operator would, with what the simulated hosts are.
const siteText = `
home: {name: symaix1, machine_id: %q, hostname: symaix1, ssh: {address: %q, user: symop, host_keys: [%q], password: {env: SYM_PASSWORD}}}
partner: {name: symaix2, machine_id: %q, hostname: symaix2, ssh: {address: %q, user: symop, host_keys: [%q], password: {env: SYM_PASSWORD}}}
macro: {path: /symitartest/SYM/MACROS/FAILOVER, user: symop, on: old-primary, switchover_args: [-swap], failover_args: [-takeover],
  failback_args: [-swap, -reverse], mode: detached, timeout: 20s, settle: 1s}
role: {quorum: 1, probes: [{name: marker, command: cat /symitartest/etc/role, primary: "(?m)^primary$", secondary: "(?m)^secondary$"}]}
replication: {command: replag, on: old-primary, lag: "lag=([0-9.]+)", unit: 1s, max_lag: 5s}
agent: {control: /symitartest/bin/lsam3100}
rsj: /symitartest/ops/bin/RSJ
limits: {quiet: 10s}
sym_root: /symitartest/SYM
root_info_dir: /symitartest/ops/bin
state_dir: /symitartest/var/tmp/failover
command_path: /symitartest/bin:/symitartest/SYM/MACROS:/usr/bin:/bin
poll: 20ms
`

func newDesk(t *testing.T, fault, more string) *desk {
	t.Helper()
	sim := symitartest.Start(t)
	require.NoError(t, sim.Arm(fault))
	c := sim.Config()
	password, err := c.Home.SSH.Password(t.Context())
	require.NoError(t, err)
	t.Setenv("SYM_PASSWORD", password.Reveal())
	text := fmt.Sprintf(siteText, c.Home.MachineID, c.Home.SSH.Address, c.Home.SSH.HostKeys[0], c.Partner.MachineID,
		c.Partner.SSH.Address, c.Partner.SSH.HostKeys[0])
	d := &desk{sim: sim, config: filepath.Join(t.TempDir(), "site.yaml"), journal: filepath.Join(t.TempDir(), "journal")}
	require.NoError(t, os.WriteFile(d.config, []byte(text+more), 0o600))
	return d
}

func (d *desk) call(args ...string) int {
	return program().Main(append([]string{"-config", d.config, "-journal", d.journal, "-actor", "ann", "-reason", "CHG-1"},
		args...))
}

// confirm says of one manual step after the other that it is done; the run comes to each by itself.
func (d *desk) confirm(t *testing.T, steps ...string) {
	t.Helper()
	for i, step := range steps {
		if i > 0 {
			require.Equal(t, 4, d.run(t), "the run comes to %s", step)
		}
		require.Zero(t, d.call("confirm", step, "done in OpCon"))
	}
}

// approved is the hash of the plan as things stand.
func (d *desk) approved(t *testing.T) string {
	t.Helper()
	p, closer, err := build(t.Context(), d.config, "switchover")
	require.NoError(t, err)
	var journal *failover.Journal
	if _, err := os.Stat(d.journal); err == nil {
		journal, err = failover.ReadJournal(d.journal)
		require.NoError(t, err)
	}
	plan, err := p.Plan(t.Context(), journal)
	require.NoError(t, err)
	require.NoError(t, closer.Close())
	return string(plan.Findings)
}

// run runs with the plan approved as things stand.
func (d *desk) run(t *testing.T, more ...string) int {
	t.Helper()
	return d.call(append([]string{"run", "-approve", d.approved(t)}, more...)...)
}

func (d *desk) undoApproved(t *testing.T) string {
	t.Helper()
	p, closer, err := build(t.Context(), d.config, "switchover")
	require.NoError(t, err)
	defer func() { require.NoError(t, closer.Close()) }()
	j, err := failover.ReadJournal(d.journal)
	require.NoError(t, err)
	return string(p.UndoPlan(j).Findings)
}

// toTheMacro runs until the macro is to be fired, and nobody is there to be asked.
func (d *desk) toTheMacro(t *testing.T) error {
	t.Helper()
	p, closer, err := build(t.Context(), d.config, "switchover")
	require.NoError(t, err)
	defer func() { require.NoError(t, closer.Close()) }()
	j, err := failovertest.JournalAt(d.journal)
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	_, err = p.Run(t.Context(), failover.RunOptions{Journal: j, Actor: "ann", Reason: "CHG-1", Gate: func(_ context.Context, q failover.Request) (failover.Approval, error) {
		if q.Step.Kind == failover.Once {
			return failover.Approval{}, failover.ErrWaiting
		}
		return failover.Approval{By: "ann"}, nil
	}})
	return err
}

func (d *desk) report(t *testing.T) *failover.Report {
	t.Helper()
	j, err := failover.ReadJournal(d.journal)
	require.NoError(t, err)
	return j.Report()
}

func TestAnOperatorSwapsThePair(t *testing.T) {
	d := newDesk(t, "", "")
	require.Zero(t, d.call("check"))
	require.Zero(t, d.call())
	require.Zero(t, d.sim.MacroRuns(), "neither changes anything")
	hash := d.approved(t)
	require.Equal(t, 4, d.call("run", "-approve", hash), "OpCon's part is a person's")
	d.confirm(t, "opcon-hold/schedules", "opcon-down/machine")
	require.ErrorIs(t, d.toTheMacro(t), failover.ErrWaiting, "nobody is there to be asked before the macro")
	require.Zero(t, d.sim.MacroRuns())
	require.Equal(t, 4, d.call("run", "-approve", d.approved(t)), "it stands before the repointing")
	require.Equal(t, []string{symitartest.Partner}, d.sim.Primaries())
	d.confirm(t, "opcon-repoint/machine", "opcon-prove/machine-up", "opcon-decide/rerun", "opcon-release/schedules")
	require.Zero(t, d.run(t))
	require.Zero(t, d.call("status"))
	assert.Equal(t, failover.ResultCompleted, d.report(t).Result)
	assert.Equal(t, 1, d.sim.MacroRuns())

	d.journal += ".back"
	require.Equal(t, 4, d.call("-procedure", "failback", "run"), "the way back begins")
}

func TestAnOperatorSettlesADoubtfulMacro(t *testing.T) {
	d := newDesk(t, "exit0-unchanged", "")
	require.Equal(t, 4, d.run(t))
	d.confirm(t, "opcon-hold/schedules", "opcon-down/machine")
	require.Equal(t, 3, d.call("run", "-approve", d.approved(t)), "it ended well and nothing changed")
	lock, err := os.ReadFile(filepath.Join(d.sim.HostDir(symitartest.Home), "var/tmp/failover/lock/run"))
	require.NoError(t, err)
	run := strings.TrimSpace(string(lock))
	assert.Contains(t, d.report(t).Next, "only when run "+run+" was acknowledged with what was found, and the step "+
		"resolved as not-applied", "either alone leads nowhere")

	for _, host := range []string{symitartest.Home, symitartest.Partner} {
		require.NoError(t, d.sim.PowerOff(host))
	}
	require.Zero(t, d.call("status"), "with every machine down")
	require.Zero(t, d.call("report", "-html"))
	require.NoError(t, d.sim.PowerOn(symitartest.Home, "primary"))
	require.NoError(t, d.sim.PowerOn(symitartest.Partner, "secondary"))
	require.NoError(t, os.WriteFile(filepath.Join(d.sim.Dir(), "fault"), nil, 0o600)) // the macro is mended

	require.Equal(t, 3, d.call("run", "-approve", d.approved(t)), "still in doubt")
	require.Zero(t, d.call("resolve", "macro/run", "not-applied"))
	require.Equal(t, 3, d.call("run", "-approve", d.approved(t)), "the host remembers that it was fired")
	require.Equal(t, 1, d.sim.MacroRuns())
	require.Equal(t, 4, d.call("acknowledge", run, "the roles are as before"), "nobody has agreed")
	require.NotZero(t, d.call("acknowledge", run, "-approve", run), "without what was found")
	require.Zero(t, d.call("acknowledge", run, "the roles are as before", "-approve", run))
	require.Equal(t, 4, d.call("run", "-approve", d.approved(t)))
	require.Equal(t, 2, d.sim.MacroRuns(), "fired again by a person's word only")
	require.Equal(t, []string{symitartest.Partner}, d.sim.Primaries())
}

func TestAnOperatorGoesBackBeforeTheMacro(t *testing.T) {
	d := newDesk(t, "", "")
	require.Equal(t, 4, d.run(t))
	d.confirm(t, "opcon-hold/schedules", "opcon-down/machine")
	require.ErrorIs(t, d.toTheMacro(t), failover.ErrWaiting, "before the macro")
	require.False(t, d.sim.AgentRuns(symitartest.Home))
	require.Equal(t, 4, d.call("undo"), "nobody has agreed")
	require.Zero(t, d.call("undo", "-approve", d.undoApproved(t)))
	require.True(t, d.sim.AgentRuns(symitartest.Home))
	require.Zero(t, d.call("lock"))
	require.Zero(t, d.sim.MacroRuns())
	require.Equal(t, 2, d.call("run"), "what was undone begins anew, with a journal of its own")
}

func TestAnOperatorTakesTheLockOver(t *testing.T) {
	d := newDesk(t, "pair-locked", "")
	require.Equal(t, 1, d.run(t))
	require.Zero(t, d.call("lock"))
	require.Equal(t, 1, d.call("take-over", "somebody"))
	require.Zero(t, d.call("take-over", "other", "-approve", "other"))
	require.Equal(t, 4, d.run(t), "only the manual steps are missing")
	taken := slices.DeleteFunc(d.report(t).Decisions,
		func(d failover.Decision) bool { return d.Kind != failover.DecisionTakeOver })
	require.NotEmpty(t, taken)
	assert.Contains(t, taken[0].String(), "night shift")
}

func TestProposalsAreCopiedIntoTheDecisions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.yaml")
	job := func(name string, why opcon.Why, action opcon.Rerun) opcon.Interrupted {
		id := opcon.JobID("20260822|227|1|" + name)
		return opcon.Interrupted{Job: opcon.Job{ID: id, Number: 7}, Why: why, Hint: "look at its output",
			Proposal: opcon.Decision{Job: id, Number: 7, Action: action, Reason: "swap"}}
	}
	jobs := []opcon.Interrupted{job("GOODNIGHT", opcon.WhyStillRunning, opcon.RerunRestartOnHold),
		job("REPORTS A/B", opcon.WhyReportedFailed, opcon.RerunLeave),
		job("LATER", opcon.WhyDueMeanwhile, opcon.RerunLeave)}
	_, err := decide(path, jobs)
	require.ErrorIs(t, err, failover.ErrWaiting)
	_, lines, found := strings.Cut(err.Error(), ":\ndecisions:\n")
	require.True(t, found)
	require.NoError(t, os.WriteFile(path, []byte("decisions:\n"+strings.ReplaceAll(lines, `by: ""`, `by: "ann"`)), 0o600))
	decided, err := decide(path, jobs)
	require.NoError(t, err)
	require.Len(t, decided, 3, "what fell due meanwhile is decided upon too")
	assert.Equal(t, opcon.Decision{Job: jobs[0].Job.ID, Number: 7, Action: opcon.RerunRestartOnHold, By: "ann",
		Reason: "swap"}, decided[0])
}

func TestOpConsPartIsBuiltFromTheFile(t *testing.T) {
	server := opcontest.Start(t, opcontest.Config{})
	server.Symitar("SYMAIX1", "home.example")
	d := newDesk(t, "", fmt.Sprintf("opcon: {url: %q, fingerprint: %q, user: failover_svc, password: {env: "+
		"OPCON_PASSWORD}, machine: SYMAIX1, reason: swap, addresses: {home: home.example, partner: partner.example}}\n",
		server.URL, server.Fingerprint()))
	require.Equal(t, 6, d.call("check"), "the password is missing")
	t.Setenv("OPCON_PASSWORD", "wrong")
	require.Equal(t, 6, d.call("check"))
	t.Setenv("OPCON_PASSWORD", "secret")
	require.Zero(t, d.call("check"))
	require.Zero(t, d.call("plan"))
}
