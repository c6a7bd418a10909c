package peers

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSlapdReplicatesAllButWhatStaysApart(t *testing.T) {
	a := StartSlapd(t, SlapdOptions{DSAName: "cn=a,o=system", Tree: "TESTTREE"})
	b := StartSlapd(t, SlapdOptions{DSAName: "cn=b,o=system", Tree: "TESTTREE", From: a,
		Apart: []string{"DirXML-ShimAuthID"}})
	out, err := a.Tool(t.Context(),
		[]byte("dn: cn=ds,o=system\nobjectClass: DirXML-DriverSet\ncn: ds\n\ndn: cn=drv,cn=ds,o=system\nobjectClass: "+
			"DirXML-Driver\ncn: drv\nDirXML-ShimAuthID: of-a\nDirXML-TraceLevel: 1\n"), "ldapadd")
	require.NoError(t, err, string(out))
	read := func(s *Slapd) string {
		out, err := s.Tool(t.Context(), nil, "ldapsearch", "-LLL", "-b", "cn=drv,cn=ds,o=system", "-s", "base",
			"DirXML-ShimAuthID", "DirXML-TraceLevel")
		if err != nil {
			return err.Error()
		}
		return string(out)
	}
	require.Eventually(t, func() bool { return strings.Contains(read(b), "DirXML-TraceLevel: 1") }, 20*time.Second,
		20*time.Millisecond)
	require.NotContains(t, read(b), "of-a", "a per-server value stays on its server")

	out, err = b.Tool(t.Context(),
		[]byte("dn: cn=drv,cn=ds,o=system\nchangetype: modify\nreplace: DirXML-ShimAuthID\nDirXML-ShimAuthID: of-b\n-\n"),
		"ldapmodify")
	require.NoError(t, err, string(out))
	out, err = a.Tool(t.Context(),
		[]byte("dn: cn=drv,cn=ds,o=system\nchangetype: modify\nreplace: DirXML-TraceLevel\nDirXML-TraceLevel: 2\n-\n"),
		"ldapmodify")
	require.NoError(t, err, string(out))
	require.Eventually(t, func() bool { return strings.Contains(read(b), "DirXML-TraceLevel: 2") }, 20*time.Second,
		20*time.Millisecond)
	require.Contains(t, read(b), "of-b", "and survives changes that replicate")
	require.Contains(t, read(a), "of-a")

	dse, err := b.Tool(t.Context(), nil, "ldapsearch", "-LLL", "-b", "", "-s", "base", "dsaName", "directoryTreeName")
	require.NoError(t, err)
	require.Contains(t, string(dse), "dsaName: cn=b,o=system")
	require.Contains(t, string(dse), "directoryTreeName: TESTTREE")
}
