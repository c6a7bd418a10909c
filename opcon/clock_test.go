package opcon

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStartsWithoutAnOffset: in the night when the clocks are set, a start without an offset may be an hour off.
func TestStartsWithoutAnOffset(t *testing.T) {
	at := func(text string) time.Time {
		moment, ok := parseTime(text)
		require.True(t, ok)
		return moment
	}
	taken, now := at("2026-11-01T00:30:00-05:00"), at("2026-11-01T01:45:00-06:00") // at 2:00 it was 1:00 again
	require.True(t, Job{Started: "2026-11-01T01:50:00"}.dueWithin(taken, now), "the first 1:50 has passed")
	require.False(t, Job{Started: "2026-11-01T01:50:00-06:00"}.dueWithin(taken, now), "the second one has not")
	require.False(t, Job{Started: "2026-11-01T09:00:00"}.dueWithin(taken, now))
}
