package idmtest_test

import (
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm/idmtest"
)

func TestPasswordsAreWriteOnly(t *testing.T) {
	tree, _ := pair(t, nil)
	two := tree.Server("srv2")
	c, driver := admin(t, tree, two), idmtest.DriverDN(0)
	c.run(67, driver, "hidden-1")
	c.run(71, driver, "hidden-2")
	c.run(75, driver, "extra", "An extra one", "hidden-3")
	c.replace(driver, "userPassword", "hidden-4")
	require.True(t, two.HasPassword(driver, "application", "", "hidden-1"))
	require.True(t, two.HasPassword(driver, "remote loader", "", "hidden-2"))
	require.True(t, two.HasPassword(driver, "named", "Extra", "hidden-3"))
	require.True(t, two.HasPassword(driver, "object", "", "hidden-4"))
	require.False(t, tree.Server("srv1").HasPassword(driver, "named", "extra", "hidden-3"), "stored per server")
	require.True(t, tree.Server("srv1").HasPassword(driver, "object", "", "hidden-4"), "the object password replicates")

	p, err := c.ext(81, driver)
	require.NoError(t, err)
	var names []string
	for _, pair := range p.Children {
		names = append(names, pair.Children[0].Value.(string)+"="+pair.Children[1].Value.(string))
	}
	require.Equal(t, []string{"extra=An extra one", "policy-token=policy-token of Driver01",
		"svc-account=svc-account of Driver01"}, names)
	e := c.read(driver, "*", "+", "userPassword", "DirXML-NamedPasswords", "DirXML-ShimAuthPassword")
	for _, a := range e.Attributes {
		require.NotContains(t, strings.Join(a.Values, " "), "hidden")
	}
	require.Len(t, e.GetRawAttributeValue("DirXML-ShimAuthPassword"), 8)
	for _, r := range tree.Requests() {
		require.NotContains(t, strings.Join(r.Arguments, " "), "hidden")
	}
	c.run(77, driver, "EXTRA")
	c.refuses("(-602)", 77, driver, "extra")
}

func TestStatisticsComeInChunks(t *testing.T) {
	tree, _ := pair(t, nil)
	two := tree.Server("srv2")
	c, driver := admin(t, tree, two), idmtest.DriverDN(0)
	c.run(9, driver, 1, 1)
	tree.Change()
	p, err := c.ext(19, driver, 1, 0)
	require.NoError(t, err)
	handle, size := int(p.Children[0].Value.(int64)), int(p.Children[1].Value.(int64))
	var data []byte
	for len(data) < size {
		p, err := c.ext(33, handle, 100, 0)
		require.NoError(t, err)
		require.LessOrEqual(t, p.Children[0].Data.Len(), 100)
		data = append(data, p.Children[0].Data.Bytes()...)
	}
	require.Equal(t, 1, two.OpenResults())
	c.run(35, handle)
	require.Zero(t, two.OpenResults())
	c.refuses("(-641)", 33, handle, 100, 0)
	require.Contains(t, string(data), `driver-dn="\IDMTEST\system\ds1\Driver01"`)
	require.Contains(t, string(data), "<size>2060</size>")
	require.Contains(t, string(data), "<oldest>20260301120000")
	c.refuses("Protocol Error", 33, handle)
}

func TestCacheView(t *testing.T) {
	tree, clock := pair(t, nil)
	one := tree.Server("srv1")
	c, driver := admin(t, tree, one), idmtest.DriverDN(0)
	c.refuses("running", 41, driver, 1, 0, 100, 0)
	c.run(17, driver)
	clock.pass(5 * second)
	tree.Change()
	c.refuses("(-641)", 41, driver, 1, 0, 100, 0) // for a moment after a stop
	p, err := c.ext(41, driver, 1, 1, 3, 0)
	require.NoError(t, err)
	require.Equal(t, int64(4), p.Children[2].Value)
	p, err = c.ext(33, int(p.Children[0].Value.(int64)), 64512, 0)
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(p.Children[0].Value.(string), "<modify "))
	c.refuses("(-641)", 43, driver, 0, 0, "", 1)
	c.run(43, driver, 0, 5, "", 1)
	require.Zero(t, one.Cached(driver))
	p, err = c.ext(41, driver, 1, 0, 100, 0)
	require.NoError(t, err)
	require.Equal(t, int64(0), p.Children[0].Value)

	_, err = c.ext(41, driver, 1, 0, 10001, 0)
	require.Error(t, err)
	require.False(t, one.Up(), "the heap is exhausted")
}

func TestAssociation(t *testing.T) {
	for name, mode := range map[string]idmtest.Association{"at once": idmtest.AssociationAtOnce,
		"after restart": idmtest.AssociationAfterRestart} {
		t.Run(name, func(t *testing.T) {
			tree, _ := pair(t, func(c *idmtest.Config) { c.Servers[1].OutsideSet, c.Association = true, mode })
			two := tree.Server("srv2")
			c, driver := admin(t, tree, two), idmtest.DriverDN(0)
			c.refuses("(-601)", 1)
			c.refuses("(-603)", 7, driver)
			require.Equal(t, 0x48070003, c.number(11), "the version needs no driver set")
			c.run(3, idmtest.DriverSetDN)
			require.Contains(t, c.read(idmtest.DriverSetDN, "DirXML-ServerList").GetAttributeValues("DirXML-ServerList"),
				two.DN())
			if mode == idmtest.AssociationAfterRestart {
				c.refuses("(-603)", 7, driver)
				require.NoError(t, two.Restart())
				c = admin(t, tree, two)
			}
			require.Equal(t, 0, c.number(7, driver))
			p, err := c.ext(1)
			require.NoError(t, err)
			require.Equal(t, idmtest.DriverSetDN, p.Children[0].Value)

			c.run(5)
			require.NotContains(t, c.read(idmtest.DriverSetDN, "DirXML-ServerList").GetAttributeValues("DirXML-ServerList"),
				two.DN())
			c.refuses("(-603)", 7, driver)
		})
	}
}

func TestServerListWrittenByLDAPWorksAfterARestart(t *testing.T) {
	tree, _ := pair(t, func(c *idmtest.Config) { c.Servers[1].OutsideSet = true })
	two := tree.Server("srv2")
	c := admin(t, tree, two)
	change := ldap.NewModifyRequest(idmtest.DriverSetDN, nil)
	change.Add("DirXML-ServerList", []string{two.DN()})
	require.NoError(t, c.Modify(change))
	c.refuses("(-603)", 7, idmtest.DriverDN(0))
	require.NoError(t, two.Restart())
	require.Equal(t, 0, admin(t, tree, two).number(7, idmtest.DriverDN(0)))
}

func TestNewDriverHasToBeInitialized(t *testing.T) {
	tree, _ := pair(t, nil)
	c := admin(t, tree, tree.Server("srv2"))
	dn := "cn=Fresh," + idmtest.DriverSetDN
	add := ldap.NewAddRequest(dn, nil)
	add.Attribute("objectClass", []string{"DirXML-Driver"})
	require.NoError(t, c.Add(add))
	c.refuses("(-603)", 13, dn)
	c.run(39, dn)
	require.Equal(t, 0, c.number(13, dn))
	require.NoError(t, c.Del(ldap.NewDelRequest(dn, nil)))
	c.refuses("(-601)", 13, dn)
}

func TestJobsRunWhereTheirListSays(t *testing.T) {
	tree, _ := pair(t, nil)
	one, two := tree.Server("srv1"), tree.Server("srv2")
	c, job := admin(t, tree, two), "cn=Nightly,"+idmtest.DriverSetDN
	require.True(t, one.RunsJob(job))
	c.refuses("(-641)", 55, job)
	c.replace(job, "DirXML-ServerList", two.DN())
	require.False(t, two.RunsJob(job), "the engine has not been told")
	c.run(53, job)
	require.True(t, two.RunsJob(job))
	c.run(55, job)
	p, err := c.ext(59, job)
	require.NoError(t, err)
	require.Equal(t, int64(1), p.Children[0].Value)
	c.run(57, job)
	require.Equal(t, 1, tree.Counters(job).JobRuns)
}

func TestRemovedReplicaTakesTheServersDataAlong(t *testing.T) {
	tree, _ := pair(t, nil)
	two := tree.Server("srv2")
	require.NoError(t, two.RemoveReplica(idmtest.DriverSetDN))
	c := admin(t, tree, two)
	c.refuses("(-783)", 13, idmtest.DriverDN(0))
	require.NoError(t, two.AddReplica(idmtest.DriverSetDN, idmtest.ReplicaReadWrite))
	require.NoError(t, two.Restart())
	c = admin(t, tree, two)
	require.Equal(t, 0, c.number(13, idmtest.DriverDN(0)))
	require.Empty(t, c.read(idmtest.DriverDN(0), "*").GetAttributeValue("DirXML-ShimAuthID"))
	require.False(t, two.HasPassword(idmtest.DriverDN(0), "application", "", idmtest.DriverPasswords(0).Application))
}

func TestServersWithoutEngine(t *testing.T) {
	tree, _ := pair(t, func(c *idmtest.Config) {
		c.Servers = append(c.Servers, idmtest.ServerConfig{Name: "bare", Engine: idmtest.EngineAbsent},
			idmtest.ServerConfig{Name: "raw", Engine: idmtest.EngineNotInitialized})
	})
	bare, raw := admin(t, tree, tree.Server("bare")), admin(t, tree, tree.Server("raw"))
	bare.refuses("unrecognized extended operation", 11)
	require.NotContains(t, bare.read("", "supportedExtension").GetAttributeValues("supportedExtension"),
		"2.16.840.1.113719.1.14.100.11")
	require.Equal(t, 0x48070003, raw.number(11))
	raw.refuses("VRDIM not initialized (-783)", 13, idmtest.DriverDN(0))
}

func TestFramingIsStrict(t *testing.T) {
	driver := idmtest.DriverDN(0)
	wrapped := func(c *client) error {
		seq := ber.NewSequence("")
		for _, a := range []any{driver, 1, 1} {
			seq.AppendChild(element(a))
		}
		v := ber.Encode(ber.ClassContext, ber.TypePrimitive, 1, nil, "")
		v.AppendChild(seq)
		_, err := c.Extended(ldap.NewExtendedRequest("2.16.840.1.113719.1.14.100.9", v))
		return err
	}
	tree, _ := pair(t, nil)
	c := admin(t, tree, tree.Server("srv2"))
	require.True(t, ldap.IsErrorWithCode(wrapped(c), ldap.LDAPResultProtocolError))
	c.refuses("not 2", 9, driver, 1)
	c.refuses("argument 2", 9, driver, "1", 1)

	tree, _ = pair(t, func(c *idmtest.Config) { c.Framing, c.OmitResponseName = idmtest.FramingSequence, true })
	c = admin(t, tree, tree.Server("srv2"))
	require.NoError(t, wrapped(c))
	c.refuses("SEQUENCE", 9, driver, 1, 1)
	require.Equal(t, 1, c.number(7, driver), "one argument is never wrapped")
}
