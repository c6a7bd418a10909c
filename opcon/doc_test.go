package opcon_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// TestDocListsTheSteps keeps the package's documentation and the steps it describes the same.
func TestDocListsTheSteps(t *testing.T) {
	client := newSite(t, opcontest.Config{}).client
	q, err := opcon.QuiesceStages(client, planned())
	require.NoError(t, err)
	o := resumed()
	o.OldAgent = func(context.Context) (failover.Observation, error) { return failover.Observation{Done: true}, nil }
	r, err := opcon.ResumeStages(client, o)
	require.NoError(t, err)
	failovertest.Documented(t, "doc.go", map[string]failover.Procedure{
		"Steps of a quiesce": {Stages: []failover.Stage{q.Check, q.Hold, q.Drain, q.Down}},
		"Steps of a resume":  {Stages: []failover.Stage{r.Repoint, r.Prove, r.Decide, r.Release}},
	})
}
