package eft_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/eft/internal/scripts"
	"github.com/01b61c5c/failover/internal/powershell/powershelltest"
)

// processes stands in for what Windows tells of its processes. The first table is from before the installer starts; after
// it has ended each look gets the next one, and the last again and again. A row is number, parent, start in seconds, name
// and, where it is not 0, the session; parent 1 is the installer, which itself is in no table; a null row makes the look fail.
const processes = `
$global:Look = 0
$global:Origin = [DateTime]::UtcNow
function Get-CimInstance($ClassName) {
  if ($ClassName -eq 'Win32_Service') { return }
  if ($global:p -and $global:p.HasExited) { $global:Look++ }
  [IO.File]::WriteAllText([IO.Path]::Combine($d.runs, 'looks'), [string]$global:Look)
  foreach ($r in $global:Tables[[Math]::Min($global:Look, $global:Tables.Count - 1)]) {
    if ($null -eq $r) { throw 'not now' }
    $parent = $r[1]
    if ($parent -eq 1) { $parent = $global:p.Id }
    [pscustomobject]@{ ProcessId = $r[0]; ParentProcessId = $parent; CreationDate = $global:Origin.AddSeconds($r[2]); Name = $r[3]; SessionId = $r[4] }
  }
}
function Start-Sleep { }
function Unregister-ScheduledTask { }
`

// runner runs runner.ps1 in a real PowerShell with an installer that ends at once, and returns how many looks it took
// until the run had ended, and what the run left.
func runner(t *testing.T, pwsh string, looks ...string) (int, map[string]any, string) {
	t.Helper()
	dir := t.TempDir()
	installer := []byte("#!/bin/sh\nexit 7\n")
	program := filepath.Join(dir, "setup.exe")
	require.NoError(t, os.WriteFile(program, installer, 0o700))
	sum := sha256.Sum256(installer)
	spec, err := json.Marshal(map[string]any{"runs": dir, "id": "r", "path": program, "sha256": hex.EncodeToString(sum[:]),
		"args": []string{}, "logs": []string{}, "executable": "cftpstes.exe", "consoles": []string{"console.exe"}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "spec"), spec, 0o600))
	text := fmt.Sprintf("$global:Tables = ConvertFrom-Json '[%s]'\n%s\n. { %s } %s %s",
		strings.Join(looks, ","), processes, scripts.Text("runner.ps1"), filepath.Join(dir, "spec"), filepath.Join(dir, "r.claim"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "all.ps1"), []byte(text), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, pwsh, "-NoProfile", "-NonInteractive", "-File", filepath.Join(dir, "all.ps1")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	raw, err := os.ReadFile(filepath.Join(dir, "r.exit"))
	require.NoError(t, err, "%s", out)
	var result map[string]any
	require.NoError(t, json.Unmarshal(raw, &result))
	seen, err := os.ReadFile(filepath.Join(dir, "looks"))
	require.NoError(t, err)
	var n int
	_, err = fmt.Sscan(string(seen), &n)
	require.NoError(t, err)
	waits, _ := os.ReadFile(filepath.Join(dir, "r.waits"))
	return n, result, string(waits)
}

func TestWhatTheInstallerStartedIsWaitedFor(t *testing.T) {
	pwsh := powershelltest.Need(t)
	const quiet = `[[4,0,-9999,"System"]]`
	for name, c := range map[string]struct {
		looks  int // until the run had ended
		looked []string
	}{
		"nothing was started": {1, []string{quiet, quiet}},
		"a child":             {3, []string{quiet, `[[10,1,60,"child.exe"]]`, `[[10,1,60,"child.exe"]]`, quiet}},
		"a child of a child that has ended": {3, []string{quiet, `[[10,1,60,"child.exe"],[11,10,61,"worker.exe"]]`,
			`[[11,10,61,"worker.exe"]]`, quiet}},
		"a grandchild that came between two looks": {3, []string{quiet, `[[10,1,60,"child.exe"]]`,
			`[[11,10,61,"worker.exe"]]`, quiet}},
		"a worker whose starter came and went between two looks": {3, []string{quiet, `[[11,10,61,"worker.exe"]]`,
			`[[11,10,61,"worker.exe"],[12,11,62,"its.exe"]]`, quiet}},
		"a person logs on":                {1, []string{quiet, `[[11,10,61,"winlogon.exe",2]]`}},
		"Windows itself":                  {1, []string{`[]`, `[[11,4,61,"vmmem"]]`}},
		"a program that people keep open": {1, []string{quiet, `[[10,1,60,"console.exe"]]`}},
		"the number of a child goes to a stranger": {2, []string{quiet, `[[10,1,60,"child.exe"]]`,
			`[[10,4,70,"stranger.exe"]]`}},
		"and the stranger has children": {2, []string{quiet, `[[10,1,60,"child.exe"]]`,
			`[[10,4,70,"stranger.exe"],[12,10,71,"his.exe"]]`}},
		"whose parent has ended": {3, []string{quiet, `[[10,1,60,"child.exe"],[11,10,61,"worker.exe"]]`,
			`[[10,4,70,"stranger.exe"],[11,10,61,"worker.exe"]]`, `[[12,10,71,"his.exe"]]`}},
		"the number of a child goes to another descendant": {4, []string{quiet, `[[10,1,60,"child.exe"],[11,1,60,"a.exe"]]`,
			`[[11,1,60,"a.exe"],[10,11,70,"again.exe"]]`, `[[10,11,70,"again.exe"]]`, quiet}},
		"a stranger is older than its parent": {1, []string{`[[10,1,60,"x"],[13,10,-50,"old.exe"]]`,
			`[[13,10,-50,"old.exe"]]`}},
		"a process that was there before": {2, []string{`[[13,10,-50,"old.exe"]]`,
			`[[10,1,60,"child.exe"],[13,10,-50,"old.exe"]]`, `[[13,10,-50,"old.exe"]]`}},
		"the clock was set back": {4, []string{quiet, `[[10,1,60,"child.exe"]]`,
			`[[10,1,60,"child.exe"],[11,10,-3000,"worker.exe"]]`, `[[11,10,-3000,"worker.exe"]]`, quiet}},
		"a look fails": {4, []string{quiet, `[[10,1,60,"child.exe"]]`, `[null]`, `[[10,1,60,"child.exe"]]`, quiet}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			looks, result, waits := runner(t, pwsh, c.looked...)
			require.Equal(t, c.looks, looks)
			require.EqualValues(t, 7, result["exit"], "%v", result)
			require.Empty(t, result["log"])
			require.Empty(t, waits)
		})
	}
}

func TestTheRunnerSaysWhatItWaitsFor(t *testing.T) {
	pwsh := powershelltest.Need(t)
	tables := []string{`[[4,0,-9999,"System"]]`}
	for range 120 {
		tables = append(tables, `[[10,1,60,"agent.exe"]]`)
	}
	looks, _, waits := runner(t, pwsh, append(tables, tables[0])...)
	require.Equal(t, 121, looks)
	require.Equal(t, "the installer has ended with 7, and what it started, or may have, still runs: agent.exe (10)", waits)
	_, result, _ := runner(t, pwsh, tables[0], `[null]`)
	require.Equal(t, "the installer has ended with 7; whether what it started has could not be read", result["log"])
	require.Nil(t, result["exit"], "run.ps1 reads that as a run that is gone without an exit code")
}

// What run.ps1 has taken the claim of, start.ps1 does not start, whenever it comes.
func TestAStartThatWasVoidedDoesNothing(t *testing.T) {
	pwsh := powershelltest.Need(t)
	dir := t.TempDir()
	call := func(script, document string) map[string]any {
		t.Helper()
		file := filepath.Join(dir, "call.ps1")
		text := fmt.Sprintf("ConvertTo-Json -Compress -InputObject (& { %s } '%s')", scripts.Text(script), document)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		out, err := exec.CommandContext(t.Context(), pwsh, "-NoProfile", "-NonInteractive", "-File", file).CombinedOutput()
		require.NoError(t, err, "%s", out)
		var answer map[string]any
		require.NoError(t, json.Unmarshal(out, &answer), "%s", out)
		return answer
	}
	runs := filepath.Join(dir, "runs") // which no start has made yet
	run := func(more string) map[string]any { return call("run.ps1", `{"runs":"`+runs+`","id":"r"`+more+`}`) }
	start := func(turn int) map[string]any {
		return call("start.ps1", fmt.Sprintf(`{"runs":"%s","id":"r","turn":%d,"path":"%s/none.exe","sha256":"0"}`, runs, turn, dir))
	}
	told := func(answer map[string]any, state, turn int) {
		t.Helper()
		require.EqualValues(t, state, answer["state"])
		require.EqualValues(t, turn, answer["turn"])
	}
	told(run(""), 1, 0)
	require.NoDirExists(t, runs, "it changes nothing")
	told(run(`,"void":true`), 1, 1)
	told(run(""), 1, 1)
	answer := start(0)
	require.Equal(t, false, answer["claimed"])
	require.Equal(t, true, answer["late"])
	require.Equal(t, true, start(1)["missing"], "one of the next turn looks for its file")
	require.NoError(t, os.WriteFile(filepath.Join(runs, "r.claim.next"), []byte("1 2 2026-01-01T00:00:00Z"), 0o600))
	require.EqualValues(t, 4, run(`,"void":true`)["state"], "a run that somebody has is not voided")
	require.Equal(t, true, start(1)["claimed"])
	left, err := filepath.Glob(filepath.Join(runs, "*"))
	require.NoError(t, err)
	require.Len(t, left, 2, "%v", left)
}

// An installer that runs under the claim of a later turn is an installer that runs.
func TestARunOfALaterTurnIsSeen(t *testing.T) {
	pwsh := powershelltest.Need(t)
	dir := t.TempDir()
	text := fmt.Sprintf(`
function Get-CimInstance($ClassName) { if ($ClassName -eq 'Win32_OperatingSystem') { [pscustomobject]@{ LastBootUpTime = [DateTime]::UtcNow } } }
function Get-Item { $o = [pscustomobject]@{}; $o | Add-Member ScriptMethod GetValue { } -PassThru }
$me = Get-Process -Id $PID
$claim = [string]$PID + ' ' + $me.StartTime.ToUniversalTime().Ticks + ' now'
foreach ($name in 'a.claim', 'b.claim.next', 'c.claim.next.next', 'd.claim.next') { [IO.File]::WriteAllText('%[1]s/' + $name, $claim) }
foreach ($name in 'b.claim', 'c.claim', 'c.claim.next', 'e.claim') { [IO.File]::WriteAllText('%[1]s/' + $name, 'void') }
[IO.File]::WriteAllText('%[1]s/d.exit', '{}')
$facts = & { %[2]s } '{"runs":"%[1]s","product":"EFT*","executable":"cftpstes.exe","consoles":[],"localConfigs":[],"configKeys":[]}'
ConvertTo-Json -Compress -InputObject @($facts.busy)
`, dir, scripts.Text("facts.ps1"))
	file := filepath.Join(dir, "call.ps1")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	out, err := exec.CommandContext(t.Context(), pwsh, "-NoProfile", "-NonInteractive", "-File", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	var busy []string
	require.NoError(t, json.Unmarshal(out, &busy), "%s", out)
	require.Len(t, busy, 3, "a, b and c run; d has ended, e was never started")
}

// One odd service must not end the reading of all. 5.1 itself is not here: what its IO.Path refuses, these paths have.
func TestServicesAreFoundByTheirProgram(t *testing.T) {
	pwsh := powershelltest.Need(t)
	dir := t.TempDir()
	text := fmt.Sprintf(`
function Get-CimInstance($ClassName) {
  if ($ClassName -eq 'Win32_OperatingSystem') { return [pscustomobject]@{ LastBootUpTime = [DateTime]::UtcNow } }
  $n = 0
  foreach ($p in '"C:\EFT Server\cftpstes.exe" -service', 'C:\EFT Server\CFTPSTES.EXE', 'C:\EFT Server\cftpstes.exe -x "a b"', 'C:/eft/cftpstes.exe',
      '"C:\EFT Server\cftpstes.exe', 'C:\x\cftpstes.exe.old', 'C:\x\notcftpstes.exe', 'java -jar "C:\x|y.jar"', 'cftpstes.exe', $null) {
    [pscustomobject]@{ Name = 's' + $n++; PathName = $p; State = 'Running'; StartMode = 'Manual'; StartName = 'LocalSystem' }
  }
}
function Get-Item { $o = [pscustomobject]@{}; $o | Add-Member ScriptMethod GetValue { } -PassThru }
$facts = & { %[2]s } '{"runs":"%[1]s","product":"EFT*","executable":"cftpstes.exe","consoles":[],"localConfigs":[],"configKeys":[]}'
ConvertTo-Json -Compress -InputObject @($facts.services.name)
`, dir, scripts.Text("facts.ps1"))
	file := filepath.Join(dir, "call.ps1")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	out, err := exec.CommandContext(t.Context(), pwsh, "-NoProfile", "-NonInteractive", "-File", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, `["s0","s1","s2","s3","s4","s8"]`, strings.TrimSpace(string(out)))
	require.NotContains(t, scripts.Text("facts.ps1"), "GetFileName(")
}

// ChangeServiceConfig (documented): no password for a managed or a virtual account, an empty one for Windows' own.
func TestAPasswordIsSentToAccountsThatHaveOne(t *testing.T) {
	pwsh := powershelltest.Need(t)
	for account, c := range map[string]struct{ password, sent string }{
		`DOM\\eft$`:                  {"", ""},
		`nt service\\EFT Server`:     {"", ""},
		`NT AUTHORITY\\LocalService`: {"", "<>"},
		`LocalSystem`:                {"", "<>"},
		`DOM\\eft`:                   {"p", "<p>"},
	} {
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			text := fmt.Sprintf(`
function Get-CimInstance { [pscustomobject]@{ Name = 'EFT'; State = 'Stopped' } }
function Invoke-CimMethod($InputObject, $MethodName, $Arguments) {
  if ($Arguments.ContainsKey('StartPassword')) { [Console]::Out.Write('<' + $Arguments.StartPassword + '>') }
  [pscustomobject]@{ ReturnValue = 0 }
}
$null = & { %s } '{"name":"EFT","stop":false,"startMode":"","account":"%s","password":"%s"}'
`, scripts.Text("service.ps1"), account, c.password)
			file := filepath.Join(t.TempDir(), "call.ps1")
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			out, err := exec.CommandContext(t.Context(), pwsh, "-NoProfile", "-NonInteractive", "-File", file).CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Equal(t, c.sent, string(out))
		})
	}
}
