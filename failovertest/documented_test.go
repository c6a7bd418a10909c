package failovertest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/clustertest"
	"github.com/01b61c5c/failover/failovertest"
)

// complaints keeps what a check says against a package.
type complaints struct {
	testing.TB
	said []string
}

func (c *complaints) Helper() {}
func (c *complaints) Errorf(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

// pages are the forms in which the packages list their steps.
var pages = map[string]string{
	"titles": "// Package p.\n//\n// # Move\n//\n//  1. check/one: Look\n//  2. move/two: Move it\n//  3. call/three: " +
		"Call\n//\n// # Other\n//\n//  1. x/y: Z\npackage p\n",
	"kinds": "// Package p.\n//\n// # Move\n//\n//\t    step        kind   what\n//\t 1. check/one  check  looks\n//\t " +
		"2. move/two   once   moves (firm)\n//\t    verify/…   check  one per site\n//\t 3. call/three manual\npackage p\n",
	"marks": "// Package p.\n//\n// # Move\n//\n//  1. check/one: look (check)\n//  2. move/two: move it (once) [A5]\n// " +
		" 3. call/three: call (manual) [A7.1]\npackage p\n",
	"both": "/*\nPackage p.\n\n# Move\n\n 1. check/one (check): Look\n 2. move/two (once): Move it\n 3. call/three " +
		"(manual): Call\n*/\npackage p\n",
}

// staged is a procedure of steps that are given under their whole IDs.
func staged(steps []failover.Step) failover.Procedure {
	var p failover.Procedure
	for _, s := range steps {
		stage, id, _ := strings.Cut(s.ID, "/")
		s.ID = id
		p.Stages = append(p.Stages, failover.Stage{Name: stage, Steps: []failover.Step{s}})
	}
	return p
}

func TestDocumentedComparesNumberIDKindAndTitle(t *testing.T) {
	steps := []failover.Step{{ID: "check/one", Title: "Look", Kind: failover.Check},
		{ID: "move/two", Title: "Move it", Kind: failover.Once},
		{ID: "call/three", Title: "Call", Kind: failover.Manual}}
	says := func(page string, steps []failover.Step) string {
		file := filepath.Join(t.TempDir(), "doc.go")
		require.NoError(t, os.WriteFile(file, []byte(page), 0o600))
		c := &complaints{TB: t}
		failovertest.Documented(c, file, map[string]failover.Procedure{"Move": staged(steps)})
		return strings.Join(c.said, "\n")
	}
	for name, page := range pages {
		require.Empty(t, says(page, steps), name)
		assert.Contains(t, says(page, steps[:2]), "row 3, call/three, is no step", name)
		assert.Contains(t, says(page, append(steps[:3:3], failover.Step{ID: "new/four", Kind: failover.Check})),
			"step 4, new/four (check), is not listed", name)
		assert.Contains(t, says(page, []failover.Step{steps[0], steps[2], steps[1]}),
			"row 2 is move/two, and the step is call/three", name)
		assert.Contains(t, says(strings.Replace(page, "2. move", "4. move", 1), steps), "has the wrong number; it is 2", name)
		assert.Contains(t, says(strings.Replace(page, "# Move", "# Moving", 1), steps),
			`no list of steps under the heading "Move"`, name)
		other := append([]failover.Step{}, steps...)
		other[1].Title, other[1].Kind = "Move them", failover.Change
		if said := says(page, other); name == "titles" {
			assert.Contains(t, said, `is called "Move it", and the step "Move them"`)
		} else {
			assert.Contains(t, said, "is listed as a once, and the step is a change")
		}
	}
}

// TestDocumentedReadsAPackage shows the check with the documentation of package cluster.
func TestDocumentedReadsAPackage(t *testing.T) {
	sim := clustertest.Start(t, clustertest.TwoNodes("a", "the target", "g", "s"))
	c, err := sim.Cluster()
	require.NoError(t, err)
	p, err := cluster.Transfer(c, cluster.TransferOptions{Group: "g", Target: "the target", Then: cluster.AfterMoveBack})
	require.NoError(t, err)
	failovertest.Documented(t, filepath.Join("..", "cluster", "doc.go"), map[string]failover.Procedure{"Transfer": p})
	c2 := &complaints{TB: t}
	p.Stages = p.Stages[1:]
	failovertest.Documented(c2, filepath.Join("..", "cluster", "doc.go"), map[string]failover.Procedure{"Transfer": p})
	require.NotEmpty(t, c2.said)
}
