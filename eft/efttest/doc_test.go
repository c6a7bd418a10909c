package efttest_test

import (
	"bufio"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/efttest"
)

// TestTheDocumentationListsTheSteps compares the numbered lists of the package documentation with the procedures.
func TestTheDocumentationListsTheSteps(t *testing.T) {
	procedures := map[string]failover.Procedure{}
	for name, l := range map[string]efttest.Layout{"Upgrade": efttest.LocalProgram, "UpgradeShared": efttest.SharedProgram} {
		w := open(t, t.TempDir(), l)
		o, err := w.Options()
		require.NoError(t, err)
		o.Quiesce = eft.Quiesce{For: 1}
		p, err := eft.Upgrade(o)
		if l == efttest.SharedProgram {
			p, err = eft.UpgradeShared(o)
		}
		require.NoError(t, err)
		procedures[name] = p
		if name == "Upgrade" {
			hash := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
			procedures["Rollback"], err = eft.Rollback(eft.RollbackOptions{Options: o, Old: efttest.OldVersion, Copy: "c", Manifest: hash})
			require.NoError(t, err)
		}
	}
	f, err := os.Open("../doc.go")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	heading, item := regexp.MustCompile(`^# Steps of (\w+)$`), regexp.MustCompile(`^ *(\d+)\. ([^ :]+): `)
	listed := map[string][]string{}
	in := ""
	for scan := bufio.NewScanner(f); scan.Scan(); {
		if m := heading.FindStringSubmatch(scan.Text()); m != nil {
			in = m[1]
		} else if m := item.FindStringSubmatch(scan.Text()); m != nil {
			listed[in] = append(listed[in], m[2])
			require.Equal(t, strconv.Itoa(len(listed[in])), m[1], m[2])
		}
	}
	require.Len(t, listed, len(procedures))
	for name, p := range procedures {
		var ids []string
		for _, s := range p.Steps {
			ids = append(ids, s.ID)
		}
		require.Equal(t, ids, listed[name], name)
	}
}
