package idmtest_test

import (
	"crypto/tls"
	"fmt"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover/idm/idmtest"
)

// A tool is tested against sets of thousands of policies: the simulator must not be what the test waits for.
func BenchmarkTenThousandPolicies(b *testing.B) {
	tree, err := idmtest.Open("", idmtest.Config{Drivers: 10, Policies: 1000, PolicyBytes: 3500})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	conn, err := ldap.DialURL(tree.Server("srv1").URL(),
		ldap.DialWithTLSConfig(&tls.Config{RootCAs: tree.Roots(), MinVersion: tls.VersionTLS12}))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Bind(idmtest.AdminDN, idmtest.AdminPassword); err != nil {
		b.Fatal(err)
	}
	b.Run("search", func(b *testing.B) {
		for b.Loop() {
			res, err := conn.SearchWithPaging(ldap.NewSearchRequest(idmtest.DriverSetDN, ldap.ScopeWholeSubtree, 0, 0, 0, false,
				"(objectClass=*)", []string{"*"}, nil), 500)
			if err != nil || len(res.Entries) < 10000 {
				b.Fatal(len(res.Entries), err)
			}
		}
	})
	b.Run("modify", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			r := ldap.NewModifyRequest(fmt.Sprintf("cn=Policy%03d,cn=Subscriber,%s", i%500*2+1, idmtest.DriverDN(i%10)), nil)
			r.Replace("XmlData", []string{fmt.Sprintf("<policy n='%d'/>", i)})
			if err := conn.Modify(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
