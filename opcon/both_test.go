package opcon_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// TestBothDoorsHaveTheSameRules: Resume releases no more than the steps do: neither goes on over jobs that nobody has
// decided upon.
func TestBothDoorsHaveTheSameRules(t *testing.T) {
	ctx := context.Background()
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	rec, err := s.client.Quiesce(ctx, unplanned())
	require.NoError(t, err)
	s.swap()
	rec, err = s.client.Resume(ctx, rec, resumed())
	require.ErrorIs(t, err, failover.ErrWaiting)
	require.ErrorContains(t, err, "SYM NIGHTLY / CLOSEDAY")
	require.ErrorContains(t, err, "SYM NIGHTLY / GOODNIGHT")
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
	require.NotEmpty(t, failover.NextOf(err))
	require.Zero(t, s.Count("release", ""))

	o := resumed()
	o.Decide = asProposed(func(*opcon.Decision) {})
	_, err = s.client.Resume(ctx, rec, o)
	require.NoError(t, err)
	require.Equal(t, 4, s.Count("release", ""))
	require.Equal(t, 2, s.Count("restartOnHold", ""))
	s.lawful(t)
}
