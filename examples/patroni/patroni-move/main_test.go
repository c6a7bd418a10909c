package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// site is a cluster of two, whose leader is pg1 until an order comes. It keeps the lock as Patroni does, by merging.
func site(t *testing.T) (config string, leader *atomic.Value) {
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
	config = filepath.Join(t.TempDir(), "site.json")
	text := fmt.Sprintf(`{"Members":[{"Name":"pg1","URL":%q},{"Name":"pg2","URL":%q}],"InsecureClear":true,"From":"pg1","To":"pg2"}`, member("pg1"), member("pg2"))
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

func TestTheProgramPlansRunsAndUndoes(t *testing.T) {
	config, leader := site(t)
	journal := filepath.Join(t.TempDir(), "journal")
	call := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		got := program(t.Context(), append([]string{"-config", config, "-journal", journal}, args...), &out, &out)
		require.Equal(t, want, got, "%s", out.String())
		return out.String()
	}
	call(2)
	call(2, "-reason", "CHG-1", "run")
	require.Equal(t, "pg1", leader.Load(), "nothing moves without a hash")
	hash := regexp.MustCompile(`-approve ([0-9a-f]+)`).FindStringSubmatch(call(0, "plan"))[1]
	require.Contains(t, call(0, "-reason", "CHG-1", "-approve", hash, "run"), "completed")
	require.Equal(t, "pg2", leader.Load())
	require.Contains(t, call(1, "plan"), "a run would stop")
	require.Contains(t, call(0, "status"), "completed")
	require.Contains(t, call(0, "-reason", "CHG-2", "undo"), "undone")
	require.Equal(t, "pg1", leader.Load())
}

func TestTheExampleConfigurationIsRead(t *testing.T) {
	var out bytes.Buffer
	require.Equal(t, 2, program(t.Context(), []string{"-config", "site.example.json", "plan"}, &out, &out))
	require.Contains(t, out.String(), "RootsFile", "the file with the authorities is not there; all else is read")
}
