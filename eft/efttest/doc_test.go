package efttest_test

import (
	"bufio"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
	"github.com/01b61c5c/failover/failovertest"
)

// TestTheDocumentationListsTheSteps compares the numbered lists of the package documentation with the procedures.
func TestTheDocumentationListsTheSteps(t *testing.T) {
	procedures := map[string]failover.Procedure{}
	for name, l := range map[string]efttest.Layout{"Upgrade": efttest.LayoutLocal, "UpgradeShared": efttest.LayoutShared} {
		w := efttest.Start(t, l)
		o, err := w.Options()
		require.NoError(t, err)
		o.Quiesce = time.Second
		p, err := eft.Upgrade(o)
		if l == efttest.LayoutShared {
			p, err = eft.UpgradeShared(o)
		}
		require.NoError(t, err)
		procedures[name] = p
		if name == "Upgrade" {
			hash := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
			procedures["Rollback"], err = eft.Rollback(eft.RollbackOptions{Options: o, Old: efttest.OldVersion, Copy: "c",
				Manifest: hash})
			require.NoError(t, err)
		}
	}
	f, err := os.Open("../doc.go")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	sentence := regexp.MustCompile(`\[([AB][0-9.]+)\]$`)
	heading, item := regexp.MustCompile(`^# Steps of (\w+)$`), regexp.MustCompile(`^ *\d+\. ([^ :]+): `)
	marks := map[string]map[string]string{"Upgrade": {}, "UpgradeShared": {}, "Rollback": {}}
	in := ""
	for scan := bufio.NewScanner(f); scan.Scan(); {
		if m := heading.FindStringSubmatch(scan.Text()); m != nil {
			in = m[1]
		} else if m := item.FindStringSubmatch(scan.Text()); m != nil {
			if mark := sentence.FindStringSubmatch(scan.Text()); mark != nil {
				marks[in][m[1]] = mark[1]
			}
		}
	}
	role := strings.NewReplacer(efttest.ActiveNode, "the active node", efttest.PassiveNode, "the passive node")
	for name, p := range procedures {
		for _, stage := range p.Stages {
			for i := range stage.Steps {
				stage.Steps[i].Title = role.Replace(stage.Steps[i].Title)
			}
		}
		failovertest.Documented(t, "../doc.go", map[string]failover.Procedure{"Steps of " + name: p})
	}
	// Every sentence of the vendor's page has become a step, and the marks say what the steps say of themselves.
	source := regexp.MustCompile(`^Upgrading the Server in a Cluster, (local disk|shared storage), step ([0-9.]+): `)
	for name, want := range map[string][]string{"Upgrade": {"A1", "A2", "A3", "A4", "A5", "A6", "A7.1", "A7.2", "A8"},
		"UpgradeShared": {"B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9.1", "B9.2", "B10"}, "Rollback": nil} {
		found := map[string]bool{}
		for _, s := range procedures[name].AllSteps() {
			said := ""
			if m := source.FindStringSubmatch(s.Source); m != nil {
				said = map[string]string{"local disk": "A", "shared storage": "B"}[m[1]] + m[2]
				found[said] = true
			}
			require.Equal(t, said, marks[name][s.ID], "%s %s", name, s.ID)
			require.NotEmpty(t, s.Source, s.ID)
		}
		require.ElementsMatch(t, want, slices.Collect(maps.Keys(found)), name)
	}
}
