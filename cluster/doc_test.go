package cluster_test

import (
	"go/parser"
	"go/token"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
)

// TestTheDocumentationListsTheSteps compares the numbered list in doc.go with the procedure.
func TestTheDocumentationListsTheSteps(t *testing.T) {
	sim, err := clustertest.New(clustertest.TwoNodes("a", "the target", "g", "s"))
	require.NoError(t, err)
	c, err := sim.Cluster()
	require.NoError(t, err)
	p, err := cluster.Transfer(c, cluster.TransferOptions{Group: "g", Target: "the target", Then: cluster.MoveBack})
	require.NoError(t, err)
	require.NoError(t, p.Validate())
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	require.NoError(t, err)
	var listed, steps []string
	for _, m := range regexp.MustCompile(`(?m)^\s*\d+\. (\S+: .*)$`).FindAllStringSubmatch(f.Doc.Text(), -1) {
		listed = append(listed, m[1])
	}
	for _, s := range p.AllSteps() {
		steps = append(steps, s.ID+": "+s.Title)
	}
	require.Equal(t, listed, steps)
}
