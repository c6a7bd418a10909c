package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
	"github.com/01b61c5c/failover/remote"
	"github.com/01b61c5c/failover/remote/remotetest"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// call asks the desk as a person does that the proxy has logged in.
func call(t *testing.T, method, url, user string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	if user != "" {
		req.Header.Set("X-Remote-User", user)
	}
	answer, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

func TestTheToolMovesEverythingAndAsksOverHTTP(t *testing.T) {
	oc := opcontest.Start(t, opcontest.Config{Hooks: opcontest.Hooks{
		Agent: func(string) bool { return true }, Host: func(a string) string { return a },
		Right: func(string) bool { return true }}})
	jobs := oc.Symitar("APP1", "app1.example.org")
	oc.Change(func() { jobs.Running.Ticks, jobs.JustSent.Ticks, jobs.JustSent.Status = 30, 30, opcontest.JobRunning })
	client, err := opcon.New(opcon.Config{URL: oc.URL, TLS: failover.TLS{Fingerprints: []string{oc.Fingerprint()}},
		User: "failover_svc", Poll: 1, MaxPoll: 1,
		Password: func(context.Context) (failover.Secret, error) { return failover.NewSecret("secret"), nil }})
	require.NoError(t, err)
	sim := clustertest.Start(t, clustertest.TwoNodes("NODE1", "NODE2", "FILES", "File Server"))
	groups, err := sim.Cluster()
	require.NoError(t, err)
	hosts := symitartest.Start(t)
	core, err := symitar.NewPair(hosts.Config())
	require.NoError(t, err)
	t.Cleanup(func() { _ = core.Close() })
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "page"), []byte("here"), 0o600))
	server, err := remotetest.NewServer((&remotetest.Shell{Dir: folder}).Handle, remotetest.WithFiles(folder))
	require.NoError(t, err)
	t.Cleanup(server.Close)
	app, err := remote.New(remote.Config{SSH: server.SSH()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = app.Close() })

	p := site{Machine: "APP1", Group: "FILES", Target: "NODE2"}.procedure(client, groups, core, app)
	d := &desk{journal: failovertest.Journal(t), answers: make(chan failover.Approval)}
	web := httptest.NewServer(d)
	t.Cleanup(web.Close)
	ended := make(chan error, 1)
	go func() {
		_, err := p.Run(t.Context(), failover.RunOptions{Journal: d.journal, Actor: "tool", Reason: "CHG-1",
			Gate: d.ask, Confirm: d.confirm,
			Observer: func(e failover.Event) { d.last.Store(&e) }})
		ended <- err
	}()
	agreed := 0
	for err == nil {
		var page struct{ Asked *failover.Request }
		_, text := call(t, http.MethodGet, web.URL, "")
		require.NoError(t, json.Unmarshal([]byte(text), &page))
		if page.Asked != nil {
			url := web.URL + "?findings=" + string(page.Asked.Findings)
			status, _ := call(t, http.MethodPost, url, "")
			require.Equal(t, http.StatusConflict, status, "nobody is logged in")
			status, _ = call(t, http.MethodPost, url+"0", "ann")
			require.Equal(t, http.StatusConflict, status, "another question")
			status, _ = call(t, http.MethodPost, url, "ann")
			require.Equal(t, http.StatusOK, status)
			agreed++
		}
		select {
		case err = <-ended:
			require.NoError(t, err)
			err = io.EOF
		case <-time.After(5 * time.Millisecond):
		}
	}
	require.Greater(t, agreed, 5)
	require.Equal(t, []string{"symaix2"}, hosts.Primaries())
	require.Equal(t, 1, hosts.MacroRuns())
	g, err := groups.Group(t.Context(), "FILES")
	require.NoError(t, err)
	require.Contains(t, g.String(), "online on NODE2")
	shown, err := os.ReadFile(filepath.Join(folder, "page"))
	require.NoError(t, err)
	require.Equal(t, "moved", string(shown))
	_, report := call(t, http.MethodGet, web.URL+"/report", "ann")
	require.Contains(t, report, "completed")
	require.Contains(t, report, "ann")
}

// The program of five steps stops for a person, and resumes.
func TestTheFiveStepsRun(t *testing.T) {
	program := filepath.Join(t.TempDir(), "five")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./five").CombinedOutput()
	require.NoError(t, err, "%s", out)
	dir := t.TempDir()
	for name, text := range map[string]string{"green": "ready", "door": "open", "active": "blue", "lamp": "red"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run := func() string {
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "USER=ann")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	require.Contains(t, run(), "waiting")
	j, err := failover.OpenJournal(filepath.Join(dir, "move.journal"))
	require.NoError(t, err)
	require.NoError(t, j.Confirm("move/tell", failover.Statement{By: "ann", Says: "posted", Reason: "did it myself"}))
	require.NoError(t, j.Close())
	require.Contains(t, run(), "completed")
	for name, want := range map[string]string{"door": "closed", "active": "green", "lamp": "green"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(text, []byte(want)), "%s holds %s", name, text)
	}
}
