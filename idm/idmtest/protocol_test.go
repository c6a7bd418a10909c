package idmtest_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm/idmtest"
)

func (c *client) find(base string, scope int, filter string, controls ...ldap.Control) *ldap.SearchResult {
	c.t.Helper()
	res, err := c.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter,
		[]string{"cn"}, controls))
	require.NoError(c.t, err)
	return res
}

func TestFilters(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Users: 9})
	c := admin(t, tree, tree.Server("srv1"))
	c.replace(tree.Users()[0], "description", "star * and (brace)", `back\slash`)
	c.replace(tree.Users()[1], "loginCount", "12")
	c.replace(tree.Users()[2], "loginCount", "9")
	c.replace(tree.Users()[3], "DirXML-Associations", idmtest.DriverDN(0)+"#1#key-1")
	tests := []struct {
		filter string
		want   int
	}{
		{"(cn=user001)", 1},
		{"(CN=USER001)", 1},
		{"(2.5.4.3=user001)", 1},
		{"(cn=user00*)", 9},
		{"(cn=*r00*)", 9},
		{"(cn=u*e*1)", 1},
		{"(cn=*9)", 1},
		{"(mail=*)", 9},
		{"(!(mail=*))", 0},
		{"(&(sn=User 1)(mail=user001@example.com))", 1},
		{"(|(cn=user001)(cn=user002)(cn=nobody))", 2},
		{"(&)", 9},
		{"(|)", 0},
		{"(loginCount>=10)", 1},
		{"(loginCount<=12)", 2},
		{"(sn~=user  1)", 1},
		{`(description=star \2a and \28brace\29)`, 1},
		{`(description=back\5cslash)`, 1},
		{"(description=*)", 1},
		{"(unknownAttribute=x)", 0},
		{"(!(unknownAttribute=x))", 0},
		{"(|(unknownAttribute=x)(cn=user001))", 1},
		{"(ou:dn:=users)", 9},
		{"(cn:caseExactMatch:=USER001)", 0},
		{"(cn:caseIgnoreMatch:=USER001)", 1},
		{"(:dn:2.5.13.2:=users)", 9},
		{"(cn:9.9.9:=user001)", 0},
		{"(objectClass=inetorgperson)", 9},
		{"(DirXML-Associations=" + strings.ToUpper(idmtest.DriverDN(0)) + "#1#key-1)", 1},
		{"(DirXML-Associations=" + idmtest.DriverDN(0) + "#1#*)", 1},
	}
	for _, test := range tests {
		t.Run(test.filter, func(t *testing.T) {
			res := c.find(idmtest.UsersDN, ldap.ScopeSingleLevel, test.filter)
			require.Len(t, res.Entries, test.want)
		})
	}
}

func TestScopesAndSelection(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Drivers: 2, Users: 3})
	c := admin(t, tree, tree.Server("srv1"))
	require.Len(t, c.find("o=data", ldap.ScopeBaseObject, "(objectClass=*)").Entries, 1)
	require.Len(t, c.find("o=data", ldap.ScopeSingleLevel, "(objectClass=*)").Entries, 1)
	require.Len(t, c.find("O=DATA", ldap.ScopeWholeSubtree, "(objectClass=*)").Entries, 5)
	all := c.find("", ldap.ScopeWholeSubtree, "(objectClass=*)").Entries
	seen := map[string]bool{"": true}
	for _, e := range all {
		_, parent, _ := strings.Cut(e.DN, ",")
		require.True(t, seen[parent], "%s before its parent", e.DN)
		seen[e.DN] = true
	}
	require.Len(t, c.find("", ldap.ScopeSingleLevel, "(objectClass=*)").Entries, 2)

	user := tree.Users()[0]
	require.Len(t, c.read(user, "1.1").Attributes, 0)
	require.Len(t, c.read(user, "cn", "CN", "2.5.4.3").Attributes, 1)
	plain, oper := c.read(user), c.read(user, "*", "+")
	require.Empty(t, plain.GetAttributeValue("entryDN"))
	require.Equal(t, user, oper.GetAttributeValue("entryDN"))
	require.Len(t, oper.GetRawAttributeValue("GUID"), 16)
	res, err := c.Search(ldap.NewSearchRequest(user, ldap.ScopeBaseObject, 0, 0, 0, true, "(objectClass=*)",
		[]string{"cn"}, nil))
	require.NoError(t, err)
	require.Empty(t, res.Entries[0].Attributes[0].Values, "types only")
}

func TestLimitsAndPages(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Users: 25, SizeLimit: 20})
	c := admin(t, tree, tree.Server("srv1"))
	req := ldap.NewSearchRequest(idmtest.UsersDN, ldap.ScopeSingleLevel, 0, 0, 0, false, "(cn=*)", []string{"cn"}, nil)
	res, err := c.Search(req)
	require.True(t, ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded))
	require.Len(t, res.Entries, 20)
	req.SizeLimit = 7
	res, err = c.Search(req)
	require.True(t, ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded))
	require.Len(t, res.Entries, 7)

	req.SizeLimit = 0
	req.Controls = nil
	res, err = c.SearchWithPaging(req, 10)
	require.NoError(t, err)
	require.Len(t, res.Entries, 25)
	require.Len(t, tree.Asked(
		func(r idmtest.Request) bool { return r.Op == idmtest.OperationSearch && len(r.Controls) == 1 }), 3)

	stale := ldap.NewControlPaging(10)
	stale.SetCookie([]byte("never given"))
	req.Controls = []ldap.Control{stale}
	_, err = c.Search(req)
	require.True(t, ldap.IsErrorWithCode(err, ldap.LDAPResultUnwillingToPerform))
}

func TestControls(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	c := admin(t, tree, tree.Server("srv1"))
	del := ldap.NewDelRequest(tree.Users()[0], []ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.805", true, "")})
	require.True(t, ldap.IsErrorWithCode(c.Del(del), ldap.LDAPResultUnavailableCriticalExtension))
	require.True(t, tree.Exists(tree.Users()[0]))
	del.Controls[0] = ldap.NewControlString("1.2.840.113556.1.4.805", false, "")
	require.NoError(t, c.Del(del), "a control that is not critical is passed over")
}

func TestBind(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s := tree.Server("srv1")
	c := dial(t, tree, s)
	require.ErrorContains(t, c.Bind(idmtest.AdminDN, "wrong"), "failed authentication (-669)")
	require.ErrorContains(t, c.Bind("cn=nobody,o=system", "x"), "no such entry (-601)")
	require.ErrorContains(t, c.Bind("nonsense", "x"), "(-610)")
	require.ErrorContains(t, c.MD5Bind("127.0.0.1", "a", "b"), "not offered")

	conn, err := ldap.DialURL(s.ClearURL())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.True(t, ldap.IsErrorWithCode(conn.Bind(idmtest.AdminDN, idmtest.AdminPassword),
		ldap.LDAPResultConfidentialityRequired))
	require.NoError(t, conn.StartTLS(
		&tls.Config{RootCAs: tree.Roots(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}))
	require.NoError(t, conn.Bind(idmtest.AdminDN, idmtest.AdminPassword))

	untrusting, err := ldap.DialURL(s.URL(), ldap.DialWithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}))
	require.ErrorContains(t, err, "certificate")
	require.Nil(t, untrusting)
}

func TestLegacyServersNeedOldSuites(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{LegacyTLS: true, Servers: []idmtest.ServerConfig{{Name: "srv1"}}})
	s := tree.Server("srv1")
	_, err := ldap.DialURL(s.URL(),
		ldap.DialWithTLSConfig(&tls.Config{RootCAs: tree.Roots(), MinVersion: tls.VersionTLS12}))
	require.ErrorContains(t, err, "handshake failure")
	conn, err := ldap.DialURL(s.URL(),
		ldap.DialWithTLSConfig(&tls.Config{RootCAs: tree.Roots(), MinVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

func TestWritesAreCheckedAsTheDirectoryDoes(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	c := admin(t, tree, tree.Server("srv1"))
	driver, user, set := idmtest.DriverDN(0), tree.Users()[0], idmtest.DriverSetDN
	add := func(dn string, attrs ...string) func() error {
		return func() error {
			r := ldap.NewAddRequest(dn, nil)
			for i := 0; i < len(attrs); i += 2 {
				r.Attribute(attrs[i], strings.Split(attrs[i+1], "|"))
			}
			return c.Add(r)
		}
	}
	modify := func(dn string, change func(*ldap.ModifyRequest)) func() error {
		return func() error {
			r := ldap.NewModifyRequest(dn, nil)
			change(r)
			return c.Modify(r)
		}
	}
	tests := []struct {
		name string
		do   func() error
		code uint16
		text string
	}{
		{"no parent", add("cn=x,o=nowhere", "objectClass", "DirXML-Driver"), 32, "(-601)"},
		{"exists", add(driver, "objectClass", "DirXML-Driver"), 68, "(-606)"},
		{"no class", add("cn=x,"+set, "cn", "x"), 65, "(-609)"},
		{"unknown class", add("cn=x,"+set, "objectClass", "Nonsense"), 65, "(-604)"},
		{"wrong place", add("cn=x,o=data", "objectClass", "DirXML-Driver"), 64, "(-611)"},
		{"below a leaf", add("cn=x,"+user, "objectClass", "groupOfNames"), 64, "(-611)"},
		{"foreign class in a driver", add("cn=x,"+driver, "objectClass", "groupOfNames"), 64, "(-611)"},
		{"job without list", add("cn=x,"+set, "objectClass", "DirXML-Job", "XmlData", "<a/>"), 65, "(-609)"},
		{"unknown attribute", add("cn=x,"+set, "objectClass", "DirXML-Driver", "nonsense", "1"), 16, "(-603)"},
		{"attribute of another class", add("cn=x,"+set, "objectClass", "DirXML-Driver", "XmlData", "<a/>"), 17, "(-608)"},
		{"engine-owned at creation", add("cn=x,"+set, "objectClass", "DirXML-Driver", "DirXML-State", "2"), 50, "(-672)"},
		{"two values where one is allowed", add("cn=x,"+set, "objectClass", "DirXML-Driver", "DirXML-TraceLevel", "1|2"),
			19, "(-612)"},
		{"name of nobody", modify(set,
			func(r *ldap.ModifyRequest) { r.Add("DirXML-ServerList", []string{"cn=gone,o=system"}) }), 19, "(-613)"},
		{"policy of nobody", modify(driver,
			func(r *ldap.ModifyRequest) { r.Add("DirXML-Policies", []string{"cn=gone,o=system#0#4"}) }), 19, "(-613)"},
		{"no number", modify(driver, func(r *ldap.ModifyRequest) { r.Replace("DirXML-TraceLevel", []string{"high"}) }),
			19, "(-613)"},
		{"value twice", modify(set, func(r *ldap.ModifyRequest) {
			r.Add("DirXML-ServerList", []string{strings.ToUpper(tree.Server("srv1").DN())})
		}), 20, "(-614)"},
		{"delete missing value", modify(user, func(r *ldap.ModifyRequest) { r.Delete("mail", []string{"other"}) }),
			16, "(-602)"},
		{"delete missing attribute", modify(user, func(r *ldap.ModifyRequest) { r.Delete("title", nil) }), 16, "(-603)"},
		{"take a mandatory away", modify(user, func(r *ldap.ModifyRequest) { r.Delete("sn", nil) }), 65, "(-609)"},
		{"take the name away", modify(driver, func(r *ldap.ModifyRequest) { r.Replace("cn", []string{"other"}) }),
			67, "(-627)"},
		{"delete a container", func() error { return c.Del(ldap.NewDelRequest(driver, nil)) }, 66, "(-629)"},
		{"delete nobody", func() error { return c.Del(ldap.NewDelRequest("cn=x,"+set, nil)) }, 32, "(-601)"},
		{"move a container", func() error { return c.ModifyDN(ldap.NewModifyDNRequest(driver, "cn=x", true, "o=data")) },
			66, "(-629)"},
		{"rename to a taken name",
			func() error { return c.ModifyDN(ldap.NewModifyDNRequest(driver, "cn=Driver02", true, "")) }, 68, "(-606)"},
		{"no name", func() error { return c.Del(ldap.NewDelRequest("a,b", nil)) }, 34, "(-610)"},
		{"compare nobody", func() error { _, err := c.Compare("cn=x,"+set, "cn", "x"); return err }, 32, "(-601)"},
		{"compare missing attribute", func() error { _, err := c.Compare(user, "title", "x"); return err }, 16, "(-603)"},
	}
	before := len(c.find("", ldap.ScopeWholeSubtree, "(objectClass=*)").Entries)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.do()
			require.ErrorContains(t, err, test.text)
			require.True(t, ldap.IsErrorWithCode(err, test.code), "%v", err)
		})
	}
	require.Len(t, c.find("", ldap.ScopeWholeSubtree, "(objectClass=*)").Entries, before, "nothing came of it")
}

func TestModifyIsAllOrNothing(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	c, user := admin(t, tree, tree.Server("srv1")), tree.Users()[0]
	r := ldap.NewModifyRequest(user, nil)
	r.Replace("title", []string{"chief"})
	r.Delete("description", []string{"not there"})
	require.Error(t, c.Modify(r))
	require.Empty(t, tree.Get("srv1", user, "title"))

	c.replace(user, "loginCount", "5")
	r = ldap.NewModifyRequest(user, nil)
	r.Increment("loginCount", "3")
	require.NoError(t, c.Modify(r))
	require.Equal(t, []string{"8"}, tree.Get("srv1", user, "loginCount"))

	// A value can be exchanged against the one that was read, which is what a lock in the directory is made of.
	r = ldap.NewModifyRequest(user, nil)
	r.Delete("loginCount", []string{"8"})
	r.Add("loginCount", []string{"9"})
	require.NoError(t, c.Modify(r))
	require.Error(t, c.Modify(r))
}

func TestRenameCarriesReferencesAlong(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	c, driver := admin(t, tree, tree.Server("srv1")), idmtest.DriverDN(0)
	require.NoError(t, c.ModifyDN(ldap.NewModifyDNRequest(driver, "cn=Renamed", true, "")))
	renamed := "cn=Renamed," + idmtest.DriverSetDN
	require.Equal(t, []string{"Renamed"}, c.read(renamed, "cn").GetAttributeValues("cn"))
	for _, v := range c.read(renamed, "DirXML-Policies").GetAttributeValues("DirXML-Policies") {
		require.NotContains(t, v, "Driver01")
	}
	require.Equal(t, 2, c.number(13, renamed))
	policy := "cn=SchemaMap," + renamed
	require.NoError(t, c.Del(ldap.NewDelRequest(policy, nil)))
	require.NotContains(t, strings.Join(tree.Get("srv1", renamed, "DirXML-Policies"), "|"), "SchemaMap")

	require.NoError(t, c.ModifyDN(ldap.NewModifyDNRequest("cn=Policy001,cn=Subscriber,"+renamed, "cn=Policy001", true,
		"cn=Publisher,"+renamed)))
	require.Contains(t, strings.Join(tree.Get("srv1", renamed, "DirXML-Policies"), "|"),
		"cn=Policy001,cn=Publisher,"+renamed)
}

func TestCompare(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	c, user := admin(t, tree, tree.Server("srv1")), tree.Users()[0]
	for value, want := range map[string]bool{"USER001@example.com": true, "x": false} {
		ok, err := c.Compare(user, "mail", value)
		require.NoError(t, err)
		require.Equal(t, want, ok)
	}
	ok, err := c.Compare(idmtest.AdminDN, "userPassword", idmtest.AdminPassword)
	require.NoError(t, err)
	require.True(t, ok)
}

func TestRights(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s := tree.Server("srv1")
	require.NoError(t, tree.AddUser("cn=reader,o=system", "pw"))
	require.NoError(t, tree.AddUser("cn=runner,o=system", "pw",
		idmtest.Grant{On: idmtest.DriverSetDN, Rights: 4, Attribute: "DirXML-AccessRun"}))
	require.Error(t, tree.AddUser("cn=lost,o=system", "pw", idmtest.Grant{On: "o=nowhere"}))
	driver := idmtest.DriverDN(0)

	reader := dial(t, tree, s)
	require.NoError(t, reader.Bind("cn=reader,o=system", "pw"))
	require.Equal(t, "2", reader.read(driver, "DirXML-DriverStartOption").GetAttributeValue("DirXML-DriverStartOption"))
	reader.refuses("(-672)", 17, driver)
	change := ldap.NewModifyRequest(driver, nil)
	change.Replace("DirXML-TraceLevel", []string{"1"})
	require.ErrorContains(t, reader.Modify(change), "(-672)")
	require.ErrorContains(t, reader.Del(ldap.NewDelRequest(tree.Users()[0], nil)), "(-672)")

	runner := dial(t, tree, s)
	require.NoError(t, runner.Bind("cn=runner,o=system", "pw"))
	runner.refuses("(-672)", 9, driver, 0, 1)
	runner.refuses("(-672)", 23, driver, 0)
	runner.refuses("(-672)", 67, driver, "x")
	runner.run(17, driver)
	waitState(t, tree, "srv1", driver, idmtest.StateStopped)

	nobody := dial(t, tree, s)
	nobody.refuses("(-672)", 13, driver)
	e := nobody.read(driver)
	require.Equal(t, []string{"objectClass"}, []string{e.Attributes[0].Name})
	require.Len(t, e.Attributes, 1, "the public browses and reads nothing")
	require.Empty(t, nobody.find(idmtest.UsersDN, ldap.ScopeSingleLevel, "(mail=*)").Entries, "nor does a filter tell")
}

func TestServerWithoutReplica(t *testing.T) {
	config := func(tr idmtest.Traversal) idmtest.Config {
		return idmtest.Config{Traversal: tr,
			Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Without: []string{idmtest.DriverSetDN}}}}
	}
	driver := idmtest.DriverDN(0)
	base := ldap.NewSearchRequest(driver, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)",
		[]string{"DirXML-State"}, nil)
	whole := ldap.NewSearchRequest("o=system", ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=DirXML-Driver)", nil,
		nil)

	tree := idmtest.Start(t, config(idmtest.TraversalRefer))
	c := admin(t, tree, tree.Server("srv2"))
	_, err := c.Search(base)
	require.True(t, ldap.IsErrorWithCode(err, ldap.LDAPResultReferral), "%v", err)
	require.True(t, ldap.IsErrorWithCode(c.Del(ldap.NewDelRequest(driver, nil)), ldap.LDAPResultReferral))
	res, err := c.Search(whole)
	require.NoError(t, err)
	require.Empty(t, res.Entries)
	require.Len(t, res.Referrals, 1)
	require.Contains(t, res.Referrals[0], tree.Server("srv1").TLSAddr())
	c.refuses("entry not local (-781)", 13, driver)

	tree = idmtest.Start(t, config(idmtest.TraversalChain))
	c = admin(t, tree, tree.Server("srv2"))
	res, err = c.Search(base)
	require.NoError(t, err)
	require.Equal(t, "2", res.Entries[0].GetAttributeValue("DirXML-State"), "somebody else's value")
	res, err = c.Search(whole)
	require.NoError(t, err)
	require.Len(t, res.Entries, 3)
	tree.Server("srv1").Kill()
	_, err = c.Search(base)
	require.ErrorContains(t, err, "(-626)")

	tree = idmtest.Start(t, config(idmtest.TraversalRefuse))
	_, err = admin(t, tree, tree.Server("srv2")).Search(base)
	require.ErrorContains(t, err, "(-601)")
}

func TestReplicaOperations(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{Servers: []idmtest.ServerConfig{{Name: "srv1"},
		{Name: "srv2", Without: []string{"o=data"}}}})
	c := admin(t, tree, tree.Server("srv1"))
	nds := func(n int, args ...string) (*ldap.ExtendedResponse, error) {
		var v *ber.Packet
		if len(args) > 0 {
			v = ber.Encode(ber.ClassContext, ber.TypePrimitive, 1, nil, "")
			for _, a := range args {
				v.AppendChild(element(a))
			}
		}
		return c.Extended(ldap.NewExtendedRequest(fmt.Sprintf("2.16.840.1.113719.1.27.100.%d", n), v))
	}
	resp, err := nds(19, tree.Server("srv2").DN())
	require.NoError(t, err)
	list, err := ber.DecodePacketErr(resp.Value.Data.Bytes())
	require.NoError(t, err)
	var names []string
	for _, p := range list.Children {
		names = append(names, p.Value.(string))
	}
	require.Equal(t, []string{"", "o=system", idmtest.DriverSetDN}, names)
	_, err = nds(17, tree.Server("srv2").DN(), "o=data")
	require.ErrorContains(t, err, "(-673)")
	resp, err = nds(17, tree.Server("srv1").DN(), "o=data")
	require.NoError(t, err)
	require.Equal(t, byte(ber.TagInteger), resp.Value.Data.Bytes()[0], "elements, not a SEQUENCE")
	resp, err = nds(31)
	require.NoError(t, err)
	require.Equal(t, "\x04\x11"+idmtest.AdminDN, resp.Value.Data.String())
	_, err = nds(33, idmtest.DriverSetDN, idmtest.AdminDN, "DirXML-AccessRun")
	require.NoError(t, err)
	_, err = nds(99)
	require.True(t, ldap.IsErrorWithCode(err, ldap.LDAPResultProtocolError))
}

func TestSubschemaTellsPerServerAttributes(t *testing.T) {
	for _, old := range []bool{false, true} {
		tree := idmtest.Start(t, idmtest.Config{OldSchema: old})
		c := admin(t, tree, tree.Server("srv1"))
		require.Equal(t, "cn=schema", c.read("", "subschemaSubentry").GetAttributeValue("subschemaSubentry"))
		types := c.read("cn=schema", "attributeTypes").GetAttributeValues("attributeTypes")
		find := func(name string) string {
			for _, d := range types {
				if strings.Contains(d, "NAME '"+name+"' ") {
					return d
				}
			}
			return ""
		}
		require.Contains(t, find("DirXML-ShimConfigInfo"), "X-NDS_NEVER_SYNC '1'")
		require.NotContains(t, find("XmlData"), "X-NDS_NEVER_SYNC")
		require.Equal(t, !old, strings.Contains(find("DirXML-DriverStartOption"), "NO-USER-MODIFICATION"))
		change := ldap.NewModifyRequest(idmtest.DriverDN(0), nil)
		change.Replace("DirXML-DriverStartOption", []string{"0"})
		require.ErrorContains(t, c.Modify(change), "(-672)")
	}
}

func TestMonitor(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	s := tree.Server("srv2")
	s.SetRingDelta(90)
	c := admin(t, tree, s)
	search := func(c *client, filter, attr string) []string {
		res, err := c.Search(ldap.NewSearchRequest("cn=monitor", ldap.ScopeWholeSubtree, 0, 0, 0, false, filter,
			[]string{attr}, nil))
		require.NoError(t, err)
		var list []string
		for _, e := range res.Entries {
			list = append(list, e.GetAttributeValue(attr))
		}
		return list
	}
	require.Equal(t, []string{"stopped", "stopped", "stopped"}, search(c, "(driver-state=*)", "driver-state"))
	require.Contains(t, search(c, "(MaxRingDelta=*)", "MaxRingDelta"), "90")
	require.NoError(t, tree.AddUser("cn=reader,o=system", "pw"))
	reader := dial(t, tree, s)
	require.NoError(t, reader.Bind("cn=reader,o=system", "pw"))
	require.Empty(t, search(reader, "(driver-state=*)", "driver-state"))
}
