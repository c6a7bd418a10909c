package symitar_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// odd is something that a host says or holds, which proves nothing.
type odd struct {
	check string
	home  map[string]string // files of the hosts' folders
	both  map[string]string
	tune  func(*symitar.Config)
	says  string // part of what is found, or of the error
	holds bool   // the check holds all the same
}

// TestWhatProvesNothingDoesNotPass: a list that is empty, cut or of another form, a number that is none, a file that
// cannot be read. No check takes one of them for the comfortable answer.
func TestWhatProvesNothingDoesNotPass(t *testing.T) {
	const script = "#!/bin/sh\n"
	for name, o := range map[string]odd{
		"an empty lock, as a full disk leaves it": {check: "preflight/stale-locks",
			home: map[string]string{"SYM/SYM001/sma_lock": ""}, says: "SYM001"},
		"an empty lock of a job that begins": {check: "quiet/rsj", home: map[string]string{"SYM/SYM001/sma_lock": ""},
			says: "SYM001"},
		"a job that begins while the processes are listed": {check: "preflight/stale-locks", home: map[string]string{
			"bin/ps": script + "/bin/ps -A -o pid=\nhost=${0%/bin/*}\n" +
				"echo '47110000 20260822 NIGHTLY POST' >$host/SYM/SYM001/sma_lock\n"},
			says: "symaix1: no stale RSJ locks", holds: true},
		"a full file system that is not looked at": {check: "preflight/disk", tune: func(c *symitar.Config) {
			c.Limits.DiskIgnore = []string{"/SYM"}
		}, home: map[string]string{"etc/filesystems": "Filesystem    1024-blocks      Free %Used    Iused %Iused Mounted on\n" +
			"/dev/hd4 100 50 50% 1 9% /\n/dev/symlv 100 0 100% 1 9% /SYM\n"},
			says: "symaix1: 1 file systems below 90 %", holds: true},
		"an error log that is looked at in part": {check: "preflight/errors",
			says: "no permanent hardware errors within 24h0m0s", holds: true},
		"no SYM at all": {check: "quiet/rsj", tune: func(c *symitar.Config) { c.SymRoot = symitartest.Root + "/etc" },
			says: "no SYM"},
		"a lag that is no number": {check: "preflight/replication", tune: func(c *symitar.Config) {
			c.Replication.Command, c.Replication.Lag = "echo lag=nan", "lag=(.*)"
		}, says: "not a usable number"},
		"a lag of which no duration can be made": {check: "preflight/replication", tune: func(c *symitar.Config) {
			c.Replication.Command, c.Replication.Unit = "echo lag=900000000", 60*60*1e9
		}, says: "exceeds"},
		"the lag of the second volume": {check: "preflight/replication", tune: func(c *symitar.Config) {
			c.Replication.Command = "echo vg1 lag=0; echo vg2 lag=7200"
		}, says: "exceeds"},
		"a replicated volume without a number": {check: "preflight/replication", tune: func(c *symitar.Config) {
			c.Replication.Command, c.Replication.Lag = "echo lag=0; echo lag=stopped", "lag=(.*)"
		}, says: "not a usable number"},
		"a command with a slip in it": {check: "preflight/replication", tune: func(c *symitar.Config) {
			c.Replication.Command = "echo 'lag=0"
		}, says: "command failed"},
		"a command that says why it fails": {check: "preflight/replication", tune: func(c *symitar.Config) {
			c.Replication.Command = "echo 'rmgr: no such volume' >&2; exit 3"
		}, says: "exit status 3; on standard error: rmgr: no such volume"},
		"a licence file that the login may not read": {check: "preflight/licences", both: map[string]string{
			"bin/cksum": script + "cat >/dev/null\necho 'cksum: read error' >&2\nexit 1\n"}, says: "checksum"},
		"a pattern that grep does not read": {check: "preflight/licences", tune: func(c *symitar.Config) {
			c.Licence.Patterns = []string{"RSJ (symaix1"}
		}, says: "cannot be read"},
		"an empty inittab": {check: "preflight/failoverd", home: map[string]string{"etc/inittab": ""}, says: "inittab"},
		"no subsystems": {check: "preflight/failoverd", home: map[string]string{"bin/lssrc": script},
			says: "src"},
		"a crontab that may not be listed": {check: "preflight/failoverd", home: map[string]string{
			"bin/crontab": script + "echo 'You are not allowed to use this program (crontab)' >&2\nexit 1\n"}, says: "crontab"},
		"a crontab that cannot be opened, on AIX": {check: "preflight/failoverd", home: map[string]string{
			"bin/crontab": script + "echo '0481-103 Cannot open a file in the /var/spool/cron/crontabs directory." +
				"\nThe file access permissions do not allow the specified action.' >&2\nexit 1\n"}, says: "permissions"},
		"an account without a crontab, on AIX": {check: "preflight/failoverd", home: map[string]string{
			"bin/crontab": script + "echo '0481-103 Cannot open a file in the /var/spool/cron/crontabs directory." +
				"\nA file or directory in the path name does not exist.' >&2\nexit 1\n"}, says: "absent", holds: true},
		"an error log that nobody writes": {check: "preflight/errors", home: map[string]string{
			"bin/errdemon": script}, says: "errdemon"},
		"an account without a crontab, on Linux": {check: "preflight/failoverd", home: map[string]string{
			"bin/crontab": script + "echo 'no crontab for symop' >&2\nexit 1\n"}, says: "absent", holds: true},
		"an error log that cannot be read": {check: "preflight/errors", home: map[string]string{
			"bin/errpt": script + "echo '0315-132 The supplied error log is not valid: /var/adm/ras/errlog.' >&2\nexit 0\n"},
			says: "0315-132"},
		"an error log of another form": {check: "preflight/errors", home: map[string]string{
			"etc/errors": "BFE4C025   1123041526 P H sysplanar0     UNDETERMINED ERROR\n"}, says: "P H sysplanar0"},
		"a file system of which df knows nothing": {check: "preflight/disk", home: map[string]string{"etc/filesystems": "Filesystem    1024-blocks      Free %Used    Iused %Iused Mounted on\n" +
			"/dev/hd4 100 50 50% 1 9% /\n/dev/symlv - - - - - /SYM\n"}, says: "/SYM"},
		"a row of df that is cut": {check: "preflight/disk", home: map[string]string{"etc/filesystems": "Filesystem    1024-blocks      Free %Used    Iused %Iused Mounted on\n" +
			"/dev/hd4 100 50 50% 1 9% /\n/dev/symlv 100 1\n"}, says: "/dev/symlv"},
		"an agent under other names, which would count as stopped": {check: "preflight/agent", tune: func(c *symitar.Config) {
			c.Agent.Must = []string{"lsamd"}
		}, says: "symaix1: agent stopped, or Config.Agent.Must does not name its processes"},
		"a control script that lists no processes": {check: "preflight/agent", home: map[string]string{
			"bin/lsam3100": script}, says: "symaix1: agent runs, by the names of its processes", holds: true},
		"another agent alone": {check: "preflight/agent", home: map[string]string{"etc/agent": "stopped\n",
			"etc/processes": "1 0 root /etc/init\n27301780 1 root /usr/local/lsam/bin/sma_lsam\n"},
			says: "symaix1: agent stopped; processes of the same names are here, which its status does not list"},
		"a stopped agent on the secondary": {check: "preflight/agent", says: "symaix2: agent stopped", holds: true},
		"an agent that does not tell its version": {check: "preflight/agent-files", both: map[string]string{
			"bin/lsam3100": script + "echo usage: start stop status >&2\nexit 1\n"}, says: "version"},
		"the same OpCon servers in another order": {check: "preflight/agent-files", home: map[string]string{
			"config/3100/lsam.conf": "allowed_sam_ip_address_1=10.20.30.6\nallowed_sam_ip_address_2 =10.20.30.5\n"},
			both: map[string]string{
				"config/3100/lsam.conf": "allowed_sam_ip_address_1 = 10.20.30.5\nallowed_sam_ip_address_2\t= 10.20.30.6\r\n"},
			says: "accepts 10.20.30.5, 10.20.30.6", holds: true},
		"another agent on one host, for the same server": {check: "preflight/agent-files", home: map[string]string{
			"config/3200/lsam.conf": "allowed_sam_ip_address_1=10.20.30.5\n"}, says: "accepts 10.20.30.5", holds: true},
		"an idle row with a job's number": {check: "quiet/batch", home: map[string]string{
			"etc/queue": "Queue Device   Status   Seq    Job Name             User\n" +
				"----- -------- -------- ------ -------------------- --------\n0     BATCH0   Ready    001234\n"}, says: "001234"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := symitartest.Start(t)
			for _, host := range []string{symitartest.Home, symitartest.Partner} {
				for file, text := range o.both {
					put(t, sim, host, file, text)
				}
			}
			for file, text := range o.home {
				put(t, sim, symitartest.Home, file, text)
			}
			cfg := sim.Config()
			if o.tune != nil {
				o.tune(&cfg)
			}
			pair, err := symitar.NewPair(cfg)
			require.NoError(t, err)
			t.Cleanup(func() { _ = pair.Close() })
			obs, err := pair.Look(t.Context(), o.check)
			text := obs.Found
			if err != nil {
				text = err.Error()
			}
			require.Equal(t, o.holds, obs.Done && err == nil, text)
			require.Contains(t, text, o.says)
		})
	}
}

// TestLocksThatCannotBeSeenAreNotCalledAbsent: with the volume that holds them not mounted before the swap, nothing is
// known of the jobs that the death of the primary has cut short.
func TestLocksThatCannotBeSeenAreNotCalledAbsent(t *testing.T) {
	sim := symitartest.Start(t)
	require.NoError(t, sim.PowerOff(symitartest.Home))
	cfg := sim.Config()
	found := func() failover.Observation {
		pair, err := symitar.NewPair(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { _ = pair.Close() })
		plan, err := pair.Preflight(t.Context(), symitar.PurposeFailover)
		require.NoError(t, err)
		for _, s := range plan.Steps {
			if s.ID == "preflight/stale-locks" {
				return s.Observation
			}
		}
		return failover.Observation{}
	}
	require.Contains(t, found().Found, "no RSJ locks were replicated")
	cfg.SymRoot = symitartest.Root + "/etc"
	obs := found()
	require.True(t, obs.Done, "what cannot be looked at yet is no obstacle")
	require.Contains(t, obs.Found, "nothing is known")
	require.NotContains(t, obs.Found, "no RSJ locks")
}

// put writes a file of a host's folder; programs can be run.
func put(t *testing.T, sim *symitartest.Pair, host, file, text string) {
	t.Helper()
	require.NoError(t, sim.Put(host, file, text))
	if strings.HasPrefix(file, "bin/") {
		require.NoError(t, os.Chmod(filepath.Join(sim.HostDir(host), file), 0o700))
	}
}

// TestNamesThatWouldNeverBeFound: a program is known by one word of a list of processes, so a path or two words would
// be absent for ever.
func TestNamesThatWouldNeverBeFound(t *testing.T) {
	for field, spoil := range map[string]func(*symitar.Config){
		"Config.FailoverD":  func(c *symitar.Config) { c.FailoverD = "/ops/bin/FAILOVERD" },
		"Config.Macro.Path": func(c *symitar.Config) { c.Macro.Path = "/SYM/MACROS/FAIL OVER" },
		"Config.Agent.Must": func(c *symitar.Config) { c.Agent.Must = []string{"/usr/local/lsam/bin/sma_lsam"} },
		"is empty":          func(c *symitar.Config) { c.Agent.Must = []string{} },
	} {
		cfg := symitartest.Start(t).Config()
		spoil(&cfg)
		_, err := symitar.NewPair(cfg)
		require.ErrorIs(t, err, failover.ErrInvalid, field)
		require.ErrorContains(t, err, field)
	}
}

// TestWhatIsGoneProvesNothing: the folder of a run, or the output in it, has been removed while the macro worked.
func TestWhatIsGoneProvesNothing(t *testing.T) {
	for what, c := range map[string]struct{ remove, says string }{
		"the folder of the run": {"/var/tmp/failover/run.*", "has been removed"},
		"its output":            {"/var/tmp/failover/run.*/log", "its output is gone"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			sim := symitartest.Start(t)
			dir := sim.HostDir(symitartest.Home)
			real, err := os.ReadFile(filepath.Join(dir, "SYM/MACROS/FAILOVER"))
			require.NoError(t, err)
			lines := strings.SplitAfterN(string(real), "\n", 2)
			require.NoError(t, sim.Put(symitartest.Home, "SYM/MACROS/FAILOVER",
				lines[0]+"rm -rf "+dir+c.remove+"\nsleep 2\n"+lines[1]))
			pair, err := symitar.NewPair(sim.Config())
			require.NoError(t, err)
			t.Cleanup(func() { _ = pair.Close() })
			run := symitar.NewRunID()
			res, err := pair.Fire(t.Context(), run, symitar.PurposeSwitchover)
			require.ErrorIs(t, err, symitar.ErrMacroUnknown, "%v", res)
			require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
			require.ErrorContains(t, err, c.says)
			require.Eventually(t, func() bool { return sim.Role(symitartest.Partner) == "primary" }, 30*time.Second,
				20*time.Millisecond, "the macro was at work all the while")
		})
	}
}

// TestTheLockOfAVoidedRun is called by the run's own name, so that it can be acknowledged as it is said.
func TestTheLockOfAVoidedRun(t *testing.T) {
	sim := symitartest.Start(t)
	pair, err := symitar.NewPair(sim.Config())
	require.NoError(t, err)
	t.Cleanup(func() { _ = pair.Close() })
	run := symitar.NewRunID()
	err = pair.Void(t.Context(), run, symitar.PurposeSwitchover)
	require.NoError(t, err)
	obs, err := pair.Look(t.Context(), "preflight/launcher")
	require.NoError(t, err)
	require.False(t, obs.Done)
	require.Contains(t, obs.Found, "what became of run "+string(run)+" ")
	require.NoError(t, pair.Acknowledge(t.Context(), run, failover.Statement{By: "a", Says: "b", Reason: "c"}, symitar.Left{}))
	obs, err = pair.Look(t.Context(), "preflight/launcher")
	require.NoError(t, err)
	require.True(t, obs.Done, obs.Found)
}

// TestALockWithoutANameIsNotAcknowledged: whose it is cannot be told, so it is neither taken away nor said to be.
func TestALockWithoutANameIsNotAcknowledged(t *testing.T) {
	sim := symitartest.Start(t)
	pair, err := symitar.NewPair(sim.Config())
	require.NoError(t, err)
	t.Cleanup(func() { _ = pair.Close() })
	run, word := symitar.NewRunID(), failover.Statement{By: "a", Says: "b", Reason: "c"}
	require.NoError(t, pair.Void(t.Context(), run, symitar.PurposeSwitchover))
	lock := filepath.Join(sim.HostDir(symitartest.Home), "var/tmp/failover/lock")
	require.NoError(t, os.Remove(filepath.Join(lock, "run"))) // as a job does that cleans up files
	err = pair.Acknowledge(t.Context(), run, word, symitar.Left{})
	require.ErrorIs(t, err, failover.ErrLocked)
	require.Contains(t, err.Error(), "remove that folder")
	require.NoError(t, os.Remove(lock))
	require.NoError(t, pair.Acknowledge(t.Context(), run, word, symitar.Left{}))
}

// TestThePartnersKeyOfAKnownHostsFile: the hosts are known by a file only, and the addresses are swapped.
func TestThePartnersKeyOfAKnownHostsFile(t *testing.T) {
	sim := symitartest.Start(t)
	cfg := sim.Config()
	known := filepath.Join(t.TempDir(), "known_hosts")
	var text string
	for _, h := range []*symitar.HostConfig{&cfg.Home, &cfg.Partner} {
		pem, err := os.ReadFile(filepath.Join(sim.HostDir(h.Name), "etc/ssh_host_key"))
		require.NoError(t, err)
		key, err := ssh.ParsePrivateKey(pem)
		require.NoError(t, err)
		text += knownhosts.Line([]string{h.SSH.Address}, key.PublicKey()) + "\n"
		h.SSH.HostKeys, h.SSH.KnownHosts = nil, known
	}
	require.NoError(t, os.WriteFile(known, []byte(text), 0o600))
	require.NoError(t, sim.Arm("peer-key"))
	pair, err := symitar.NewPair(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = pair.Close() })
	_, _, err = pair.Partner.Role(t.Context())
	require.ErrorIs(t, err, remote.ErrPeerHostKey)
}

// TestAnEmptyAnswerTakesNoLock: a command that ends with 0 and prints nothing, or a word that nobody knows, has done
// nothing that is proven.
func TestAnEmptyAnswerTakesNoLock(t *testing.T) {
	for _, how := range []symitartest.Break{symitartest.BreakIgnores, symitartest.BreakGarbles} {
		t.Run(how.String(), func(t *testing.T) {
			t.Parallel()
			sim := symitartest.Start(t)
			pair, err := symitar.NewPair(sim.Config())
			require.NoError(t, err)
			t.Cleanup(func() { _ = pair.Close() })
			proc, err := symitar.Switchover(pair)
			require.NoError(t, err)
			ours, other := failover.Claim{ID: "ours"}, failover.Claim{ID: "other"}
			sim.Break("pairlock.sh", how)
			require.Equal(t, failover.InDoubt, failover.OutcomeOf(proc.Lock.Acquire(t.Context(), ours)))
			require.Error(t, proc.Lock.TakeOver(t.Context(), other, ours))
			require.Error(t, proc.Lock.Check(t.Context(), ours))
			require.Error(t, proc.Lock.Release(t.Context(), ours))
			_, _, err = proc.Lock.Holder(t.Context())
			require.Error(t, err)
			require.NoError(t, sim.Heal())
			require.NoError(t, proc.Lock.Release(t.Context(), ours))
			require.NoError(t, proc.Lock.Acquire(t.Context(), other))
		})
	}
}

// TestAnEmptyAnswerPassesNoCheck lets every script of a check end with 0 and nothing said.
func TestAnEmptyAnswerPassesNoCheck(t *testing.T) {
	sim := symitartest.Start(t)
	pair, err := symitar.NewPair(sim.Config())
	require.NoError(t, err)
	t.Cleanup(func() { _ = pair.Close() })
	for check, script := range map[string]string{"shell": "shell.sh", "identity": "identity.sh", "roles": "roles.sh",
		"failoverd": "respawn.sh", "foreign-macro": "programs.sh", "macro": "macro.sh", "launcher": "statedir.sh",
		"licences": "licence.sh", "root-info": "rootinfo.sh", "rsj": "files.sh", "agent": "programs.sh", "agent-files": "files.sh",
		"stale-locks": "symlocks.sh", "sym-dates": "symdates.sh"} {
		sim.Break(script, symitartest.BreakIgnores)
		obs, err := pair.Look(t.Context(), "preflight/"+check)
		require.NotZero(t, sim.Struck(), "%s is not asked for %s", script, check)
		require.False(t, obs.Done && err == nil, "%s: %s", check, obs.Found)
	}
}
