//go:build linux

package symitar_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// TestRealSwitchover is the whole planned switchover through two real OpenSSH servers, with OpCon simulated. The line
// to the host that runs the macro, and the one to its partner, are cut when the macro has been fired.
func TestRealSwitchover(t *testing.T) {
	for _, shell := range []string{"ksh93", "dash", "bash"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			b, machines := realMachines(t, "/bin/sh")
			b.cfg.Shell = shellPath(t, shell)
			server := opcontest.Start(t, opcontest.Config{Hooks: opcontest.Hooks{
				Agent: func(address string) bool {
					return address == "symaix1.example" && b.sim.AgentRuns(symitartest.Home) || address == "symaix2.example" &&
						b.sim.AgentRuns(symitartest.Partner)
				},
				Right: func(address string) bool {
					primaries := b.sim.Primaries()
					return len(primaries) == 1 && address == primaries[0]+".example"
				},
			}})
			site := server.Symitar("SYMAIX", "symaix1.example")
			client, err := opcon.New(opcon.Config{URL: server.URL, TLS: failover.TLS{Roots: server.CertPool()},
				User:     server.User,
				Password: func(context.Context) (failover.Secret, error) { return failover.NewSecret(server.Password), nil },
				Poll:     time.Millisecond, MaxPoll: 10 * time.Millisecond})
			require.NoError(t, err)
			t.Cleanup(func() { _ = client.Close(context.Background()) })
			asked := 0
			b.cfg.OpCon = &symitar.OpCon{Client: client, Machine: "SYMAIX", Reason: "CHG0042", Repoint: opcon.RepointEditRecord,
				Home: opcon.Address{FQDN: "symaix1.example"}, Partner: opcon.Address{FQDN: "symaix2.example"},
				DrainTimeout: time.Second,
				Decide: func(_ context.Context, list []opcon.Interrupted) ([]opcon.Decision, error) {
					asked += len(list)
					var decisions []opcon.Decision
					for _, i := range list {
						d := i.Proposal
						d.By, d.Reason = "operator", "as proposed"
						decisions = append(decisions, d)
					}
					return decisions, nil
				}}

			cut := make(chan struct{})
			var watcher sync.WaitGroup
			watcher.Go(func() {
				for {
					marks, _ := filepath.Glob(filepath.Join(b.sim.HostDir(symitartest.Home), "var/tmp/failover/run.*/fired"))
					if len(marks) > 0 {
						for _, m := range machines {
							m.Proxy.CutAll()
						}
						close(cut)
						return
					}
					select {
					case <-t.Context().Done():
						return
					case <-time.After(time.Millisecond):
					}
				}
			})
			report, err := b.run(t, symitar.Switchover, func(o *failover.RunOptions) {
				o.Waive = map[string]string{"opcon-drain/jobs": "the job that was just sent cannot be waited for"}
			})
			if err != nil {
				t.Log(report)
			}
			require.NoError(t, err)
			watcher.Wait()
			<-cut
			b.swapped(t)
			require.Empty(t, server.WrongStarts())
			require.Empty(t, server.Violations())
			require.NotZero(t, asked, "the job that was just sent needs a decision")
			state, _, address := server.MachineState(site.Machine)
			require.Equal(t, "U", state)
			require.Equal(t, "symaix2.example", address)
			require.Equal(t, opcontest.ScheduleOnHold, server.Status(site.HeldBefore), "what a person held before stays held")
			require.Equal(t, opcontest.ScheduleInProcess, server.Status(site.Nightly))
		})
	}
}

// TestRealLaunches lets many connections to a real OpenSSH server launch the same macro at once.
func TestRealLaunches(t *testing.T) {
	for _, shell := range []string{"ksh93", "dash", "bash"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			b, _ := realMachines(t, "/bin/sh")
			b.cfg.Shell = shellPath(t, shell)
			run := symitar.NewRunID()
			b.cfg.Poll = 100 * time.Millisecond
			b.cfg.Limits.Look = 5 * time.Minute // so many launches share this machine
			const callers, each = 10, 10
			codes := make([]int, callers*each)
			errs := make([]error, callers*each)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			var all sync.WaitGroup
			var pairs []*symitar.Pair
			for c := range callers {
				pair, err := symitar.NewPair(b.cfg)
				require.NoError(t, err)
				t.Cleanup(func() { _ = pair.Close() })
				pairs = append(pairs, pair)
				for i := range each {
					all.Go(func() { codes[c*each+i], errs[c*each+i] = pair.LaunchOnce(ctx, run) })
				}
			}
			all.Wait()
			launched := 0
			for i, code := range codes {
				require.NoError(t, errs[i])
				require.Contains(t, []int{0, 72, 75}, code, "launched, known, or held for a moment by an owner not readable yet")
				if code == 0 {
					launched++
				}
			}
			require.Equal(t, 1, launched)
			_, err := pairs[0].Resume(ctx, run, symitar.PurposeSwitchover)
			require.NoError(t, err)
			_, err = pairs[1].Fire(ctx, run, symitar.PurposeSwitchover)
			require.NoError(t, err, "firing the same run again follows the first")
			require.Equal(t, 1, b.sim.MacroRuns())
			require.Zero(t, b.sim.Overlaps())
			require.False(t, b.sim.EverTwoPrimaries())
		})
	}
}
