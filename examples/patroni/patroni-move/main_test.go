package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/runbook"
)

// small is a cluster of two, whose leader is pg1 until an order comes. It keeps the lock as Patroni does, by merging.
func small(t *testing.T) (config string, leader *atomic.Value) {
	t.Helper()
	leader = &atomic.Value{}
	leader.Store("pg1")
	store := map[string]any{}
	member := func(name string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			role := map[bool]string{true: "primary", false: "replica"}[leader.Load() == name]
			switch {
			case r.Method == http.MethodPost:
				var order struct{ Leader, Candidate string }
				_ = json.NewDecoder(r.Body).Decode(&order)
				if order.Leader != leader.Load() {
					w.WriteHeader(http.StatusPreconditionFailed)
					return
				}
				leader.Store(order.Candidate)
			case r.Method == http.MethodPatch:
				var change map[string]any
				_ = json.NewDecoder(r.Body).Decode(&change)
				merge(store, change)
				_ = json.NewEncoder(w).Encode(store)
			case r.URL.Path == "/cluster":
				_, _ = fmt.Fprintf(w, `{"members":[{"name":%q,"role":"leader"}]}`, leader.Load())
			default:
				_, _ = fmt.Fprintf(w, `{"state":"running","role":%q,"timeline":3,"replication":[{"application_name":"pg1","state":"streaming"},
					{"application_name":"pg2","state":"streaming"}]}`, role)
			}
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	raw, err := os.ReadFile("site.example.yaml")
	require.NoError(t, err)
	text := string(raw)
	for from, to := range map[string]string{"https://pg1.example:8008": member("pg1"),
		"https://pg2.example:8008": member("pg2"), "insecure_clear: false": "insecure_clear: true",
		"user: admin ": "", "password: {file: /etc/failover/patroni.password}": "",
		"roots: /etc/failover/patroni-ca.pem ": "",
		`by: ""`:                               "by: ann", `says: ""`: "says: pg1 is off", `reason: ""`: "reason: saw it",
		"dead: []": "dead: [pg1]"} {
		require.Contains(t, text, from)
		text = strings.Replace(text, from, to, 1)
	}
	config = filepath.Join(t.TempDir(), "site.yaml")
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	return config, leader
}

func merge(into, change map[string]any) {
	for k, v := range change {
		old, both := into[k].(map[string]any)
		inner, nested := v.(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case both && nested:
			merge(old, inner)
		default:
			into[k] = v
		}
	}
}

func TestTheProgramMovesTheLeaderAndBack(t *testing.T) {
	config, leader := small(t)
	journal := filepath.Join(t.TempDir(), "journal")
	call := func(verb ...string) int {
		return program().Main(append([]string{"-config", config, "-journal", journal, "-actor", "ann", "-reason", "CHG-1"},
			verb...))
	}
	require.Zero(t, call("plan"))
	require.Equal(t, int(runbook.ExitWaiting), call("run"), "nobody consents")
	require.Equal(t, "pg1", leader.Load())
	p, _, err := build(t.Context(), config, "switchover")
	require.NoError(t, err)
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	require.Zero(t, call("-approve", string(plan.Findings), "run"))
	require.Equal(t, "pg2", leader.Load())
	require.Zero(t, call("status"))
	j, err := failover.ReadJournal(journal)
	require.NoError(t, err)
	require.Zero(t, call("-approve", string(p.UndoPlan(j).Findings), "undo"))
	require.Equal(t, "pg1", leader.Load())
}

func TestTheProgramBuildsAFailover(t *testing.T) {
	config, _ := small(t)
	p, _, err := build(t.Context(), config, "failover")
	require.NoError(t, err)
	require.NoError(t, p.Validate())
	plan, err := p.Plan(t.Context(), nil)
	require.NoError(t, err)
	require.NotEmpty(t, plan.Blockers(), "the leader still answers")
}
