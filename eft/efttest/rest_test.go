package efttest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

func rest(t *testing.T, w *efttest.World) (*efttest.REST, *eft.REST) {
	t.Helper()
	srv := w.ServeREST()
	t.Cleanup(srv.Close)
	admin, err := eft.NewREST(srv.Config())
	require.NoError(t, err)
	return srv, admin
}

func TestUpgradeJudgedOverREST(t *testing.T) {
	for _, fault := range []string{"", "setting-lost"} {
		w := efttest.Start(t, efttest.LayoutLocal)
		srv, admin := rest(t, w)
		if fault != "" {
			require.NoError(t, w.Arm(fault))
		}
		o, err := w.Options()
		require.NoError(t, err)
		o.Admin = admin
		if fault == "" {
			o.Verify = time.Minute
		}
		p, err := eft.Upgrade(o)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "j")
		j, err := failovertest.JournalAt(path)
		require.NoError(t, err)
		_, err = p.Run(t.Context(), failover.RunOptions{Journal: j, Actor: "anna", Reason: "test", Confirm: w.Confirm})
		require.NoError(t, j.Close())
		require.Empty(t, srv.Unknown(), "asked for nothing that is not documented")
		if fault == "" {
			require.NoError(t, err)
			upgraded(t, w)
			continue
		}
		lost, ok := errors.AsType[*eft.SettingsError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, []eft.SettingChange{
			{Path: "sites/MySite/event-rules/nightly/enabled", Before: "true", Gone: true},
			{Path: "sites/MySite/listenerSettings/sftp/port", Before: "22", After: "2222"},
		}, withoutNoise(lost.Changes))
	}
}

func withoutNoise(list []eft.SettingChange) []eft.SettingChange {
	var out []eft.SettingChange
	for _, c := range list {
		if !strings.HasSuffix(c.Path, "nightly/id") && !strings.HasSuffix(c.Path, "nightly/name") {
			out = append(out, c)
		}
	}
	return out
}

func TestRESTLogsInAgainWhenTheServiceMoved(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	srv, admin := rest(t, w)
	before, err := admin.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "[redacted]", before.Values["server/smtp/password"])
	require.NotContains(t, fmt.Sprint(before), "never shown")
	require.Equal(t, map[string]string{"EFTServer": "Registered"}, before.Licences)
	c, err := w.Cluster()
	require.NoError(t, err)
	o, err := w.Options()
	require.NoError(t, err)
	_, err = c.Move(t.Context(), efttest.Group, efttest.PassiveNode, o.Move)
	require.NoError(t, err)
	after, err := admin.Read(t.Context())
	require.NoError(t, err)
	require.Empty(t, eft.Diff(before, after))
	require.Equal(t, 2, count(srv.Requests(), "POST /admin/v1/authentication"), "once, and once more after the token died")
}

func count(list []string, want string) int {
	n := 0
	for _, s := range list {
		if s == want {
			n++
		}
	}
	return n
}

// TestARefusedPasswordIsNotSentForEver looks as often as a verification does: the account must not be locked by it.
func TestARefusedPasswordIsNotSentForEver(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	srv, _ := rest(t, w)
	c, password := srv.Config(), "wr0ng"
	c.Password = func(context.Context) (failover.Secret, error) { return failover.NewSecret(password), nil }
	admin, err := eft.NewREST(c)
	require.NoError(t, err)
	for range 10 {
		_, err = admin.Read(t.Context())
		require.ErrorIs(t, err, eft.ErrREST)
		require.NotContains(t, err.Error(), password)
	}
	require.Equal(t, 3, count(srv.Requests(), "POST /admin/v1/authentication"))
	password = efttest.RESTPassword
	_, err = admin.Read(t.Context())
	require.NoError(t, err, "another password is sent")
}

func TestRESTRefusals(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	srv, _ := rest(t, w)
	good := srv.Config()
	read := func(change func(*eft.RESTConfig)) error {
		c := good
		change(&c)
		admin, err := eft.NewREST(c)
		require.NoError(t, err)
		_, err = admin.Read(t.Context())
		return err
	}
	wrong := func(context.Context) (failover.Secret, error) { return failover.NewSecret("wr0ng"), nil }
	for name, err := range map[string]error{
		"wrong password":    read(func(c *eft.RESTConfig) { c.Password = wrong }),
		"not trusted":       read(func(c *eft.RESTConfig) { c.TLS = failover.TLS{} }),
		"wrong fingerprint": read(func(c *eft.RESTConfig) { c.TLS.Fingerprints = []string{strings.Repeat("0", 64)} }),
	} {
		require.Equal(t, failover.NotApplied, failover.OutcomeOf(err), name)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "wr0ng", name)
		require.NotContains(t, err.Error(), efttest.RESTPassword, name)
		require.NotEmpty(t, failover.NextOf(err), name)
	}
	srv.FailNext("/server", http.StatusInternalServerError)
	require.ErrorIs(t, read(func(*eft.RESTConfig) {}), eft.ErrREST)
	// What every version has must be there: only a setting may be withheld.
	for _, path := range []string{"/server", "/nodes", "/sites"} {
		srv.FailNext(path, http.StatusForbidden)
		require.ErrorIs(t, read(func(*eft.RESTConfig) {}), eft.ErrREST, path)
	}
	srv.FailNext("/sites", http.StatusNotFound)
	require.ErrorIs(t, read(func(*eft.RESTConfig) {}), eft.ErrREST)
	require.NoError(t, read(func(*eft.RESTConfig) {}))

	for field, change := range map[string]func(*eft.RESTConfig){
		"URL": func(c *eft.RESTConfig) { c.URL = "http://eft:4450" }, "User": func(c *eft.RESTConfig) { c.User = "" },
		"Password":                    func(c *eft.RESTConfig) { c.Password = nil },
		"RESTConfig.TLS.Fingerprints": func(c *eft.RESTConfig) { c.TLS.Fingerprints = []string{"00"} },
		"Login":                       func(c *eft.RESTConfig) { c.Login = "X" },
		"Timeout":                     func(c *eft.RESTConfig) { c.Timeout = -1 },
	} {
		c := good
		change(&c)
		_, err := eft.NewREST(c)
		require.ErrorIs(t, err, failover.ErrInvalid, field)
		require.ErrorContains(t, err, field)
	}
}

// patience is for how long users are waited for who do not go.
const patience = 2 * time.Second

// A server that does not tell who is connected is not quiet.
func TestQuietIsTold(t *testing.T) {
	w := efttest.Start(t, efttest.LayoutLocal)
	srv, admin := rest(t, w)
	s, err := admin.Read(t.Context())
	require.NoError(t, err)
	require.True(t, s.Activity.Idle())
	for _, path := range []string{"/sites/status", "/server/status"} {
		srv.FailNext(path, 404)
		s, err = admin.Read(t.Context())
		require.NoError(t, err)
		require.Nil(t, s.Activity, path)
	}
	untold := func(_ *clustertest.Model, s *efttest.State) error {
		s.Activity = nil
		return nil
	}
	o, err := w.Options()
	require.NoError(t, err)
	o.Quiesce = patience
	p, err := eft.Upgrade(o)
	require.NoError(t, err)
	p = edit(t, p, "stage/compare", func(step *failover.Step) { // the server stops telling behind the checks
		inner := step.Observe
		step.Observe = func(ctx context.Context) (failover.Observation, error) {
			require.NoError(t, w.Update(untold))
			return inner(ctx)
		}
	})
	_, err = p.Run(t.Context(), options(w, failovertest.Journal(t), nil))
	require.ErrorIs(t, err, cluster.ErrNotTold)
	_, m, err := w.State()
	require.NoError(t, err)
	require.Empty(t, m.Counters.Moves)

	s, err = admin.Read(t.Context())
	require.NoError(t, err)
	require.Nil(t, s.Activity, "documents without counts")
	for _, count := range []string{"", "connectedUserCount", "runningEventRuleCount", "runningAWTaskCount",
		"activeClientUploadCount", "activeServerDownloadCount"} {
		require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
			s.Activity, s.Untold = &eft.Activity{Tasks: 1}, count
			return nil
		}))
		s, err = admin.Read(t.Context())
		require.NoError(t, err)
		if count != "" {
			require.Nil(t, s.Activity, "a count that is not there is not zero: %s", count)
			continue
		}
		require.False(t, s.Activity.Idle(), "a task that runs would be cut off")
	}

	for quiesce, want := range map[time.Duration]error{patience: cluster.ErrNotTold, 0: nil} {
		w := efttest.Start(t, efttest.LayoutLocal)
		require.NoError(t, w.Update(untold))
		o, err := w.Options()
		require.NoError(t, err)
		o.Quiesce = quiesce
		require.ErrorIs(t, play(t, w, o, nil), want)
		st, _, err := w.State()
		require.NoError(t, err)
		require.Equal(t, want == nil, len(st.Counters.InstallerRuns) == 2, "it is said before anything is changed")
	}
}

func TestQuiesce(t *testing.T) {
	for _, waive := range []map[string]string{nil, {"quiesce/wait": "the window ends"}} {
		w := efttest.Start(t, efttest.LayoutLocal)
		require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
			s.Activity = &eft.Activity{Users: 3}
			return nil
		}))
		o, err := w.Options()
		require.NoError(t, err)
		o.Quiesce = patience
		p, err := eft.Upgrade(o)
		require.NoError(t, err)
		run := options(w, failovertest.Journal(t), nil)
		run.Waive = waive
		_, err = p.Run(t.Context(), run)
		_, m, stateErr := w.State()
		require.NoError(t, stateErr)
		if waive != nil {
			require.NoError(t, err)
			upgraded(t, w)
			continue
		}
		require.ErrorIs(t, err, eft.ErrNodeBusy)
		require.ErrorContains(t, err, "3 users")
		require.Empty(t, m.Counters.Moves)
		require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
	}
}

// Users come back while a run waits for a person.
func TestQuietIsLookedAtAgainRightBeforeTheMove(t *testing.T) {
	for name, l := range layouts {
		w := efttest.Start(t, l)
		o, err := w.Options()
		require.NoError(t, err)
		o.Quiesce = patience
		p, down := fromOptions(t, l, o), "move/move"
		if l == efttest.LayoutShared {
			down = "offline/group"
		}
		users := func(n int) {
			require.NoError(t, w.Update(func(_ *clustertest.Model, s *efttest.State) error {
				s.Activity = &eft.Activity{Users: n}
				return nil
			}))
		}
		j := failovertest.Journal(t)
		report, err := p.Run(t.Context(), options(w, j, agree(down, nil)))
		require.ErrorIs(t, err, failover.ErrWaiting)
		require.Equal(t, failover.StatusAlready, status(report, "quiesce/wait"), name)
		users(7)
		_, err = p.Run(t.Context(), options(w, j, nil))
		require.ErrorIs(t, err, eft.ErrNodeBusy, name)
		_, m, err := w.State()
		require.NoError(t, err)
		require.Empty(t, m.Counters.Moves)
		require.Equal(t, cluster.StateOnline, m.GroupState(efttest.Group))
		users(0)
		_, err = p.Run(t.Context(), options(w, j, nil))
		require.NoError(t, err, name)
		upgraded(t, w)
	}
}

func fromOptions(t *testing.T, l efttest.Layout, o eft.Options) failover.Procedure {
	t.Helper()
	build := eft.Upgrade
	if l == efttest.LayoutShared {
		build = eft.UpgradeShared
	}
	return made(build)(t, nil, o)
}
