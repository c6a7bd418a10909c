package symitar_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

func TestDocumentedStepsAreTheProcedures(t *testing.T) {
	sim := symitartest.Start(t)
	cfg := sim.Config()
	cfg.Verify = nil // the site's own steps are on no list
	pair, err := symitar.NewPair(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = pair.Close() })
	there, err := symitar.Switchover(pair)
	require.NoError(t, err)
	back, err := symitar.Failback(pair)
	require.NoError(t, err)
	gone, err := symitar.Failover(pair, failover.Statement{By: "a", Says: "b", Reason: "c"})
	require.NoError(t, err)
	failovertest.Documented(t, "doc.go",
		map[string]failover.Procedure{"Steps of Switchover": there, "Steps of Failover": gone})
	failovertest.Documented(t, "doc.go", map[string]failover.Procedure{"Steps of Switchover": back})
	for _, p := range []failover.Procedure{there, back, gone} {
		require.NotNil(t, p.Lock, "every procedure runs under the pair's lock")
		for _, stage := range p.Stages {
			require.Equal(t, stage.Name == "macro", stage.Outage, stage.Name)
			for _, s := range stage.Steps {
				require.NotEmpty(t, s.Source, s.ID)
			}
		}
	}
}

// TestSeed looks for every sentence of the vendor's procedure in the package documentation.
func TestSeed(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	doc := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\n//", "\n")), " ")
	for _, sentence := range []string{
		"swap a primary and secondary machine if the primary machine becomes unavailable for some reason",
		"four main FAILOVER configurations",
		"Neither the FAILOVER macro nor the FAILOVERD daemon has to run or be configured for RSJ or OpCon",
		"the complete FAILOVER system must be implemented",
		"A technical discussion for implementing the Episys Failover System for disaster preparedness 10Nov02",
		"on the Symitar web site for customers; contact Symitar for assistance",
		"If the FAILOVER systems are not fully configured, RSJ will not run",
		"all of their RSJ licenses in a single file on both systems",
		"brought down in OpCon before the macro is run",
		"all schedules for the Symitar machine should be placed on hold",
		"prevents OpCon from inadvertently running jobs on the wrong machine",
		"the users' responsibility once the macro has been run",
		"until it is determined exactly what needs to run or be re-run",
		"a program or a sequence of programs is interrupted because of the macro",
		"OpCon has just sent a job or series of jobs to the primary and the macro is activated",
		"not run on the secondary machine; multiple jobs and schedules may need to be re-run",
		"FAILOVERD should not be run; FAILOVER should be run manually",
		"no notification facility to OpCon that the primary machine has been replaced with the secondary machine",
	} {
		require.Contains(t, doc, sentence)
	}
}
