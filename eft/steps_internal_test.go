package eft

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a check says that does not hold is its error: "enough" beside it would be untrue.
func TestACheckThatFailsTellsNoFinding(t *testing.T) {
	s := look("space", "There is room", "n", "", firm, "", func(context.Context) (string, error) {
		return "enough", refuse("check space", "n", "free some space", ErrNoSpace, "1 byte is free")
	})
	obs, err := s.Observe(t.Context())
	require.ErrorIs(t, err, ErrNoSpace)
	require.Empty(t, obs)
}
