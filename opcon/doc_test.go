package opcon_test

import (
	"context"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// TestDocListsTheSteps keeps the package's documentation and the steps it describes the same.
func TestDocListsTheSteps(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^//  \d+\. ([a-z/-]+): `).FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1])
	}
	var built []string
	r := resumed()
	r.OldAgent = func(context.Context) (failover.Observation, error) { return failover.Observation{Done: true}, nil }
	for _, s := range procedure(t, newSite(t, opcontest.Config{}), planned(), r).Steps {
		if s.ID != "macro" {
			built = append(built, s.ID)
		}
	}
	require.Equal(t, built, listed)
}
