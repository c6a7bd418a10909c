package idmtest_test

import (
	"crypto/tls"
	"fmt"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover/idm/idmtest"
)

// A server that comes back starts its drivers although they run elsewhere by now, and the tree tells.
func Example() {
	tree, err := idmtest.Open("",
		idmtest.Config{Drivers: 1, Servers: []idmtest.ServerConfig{{Name: "old"}, {Name: "standby", Prepared: true}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = tree.Close() }()
	old, standby := tree.Server("old"), tree.Server("standby")
	old.Kill()

	conn, err := ldap.DialURL(standby.URL(),
		ldap.DialWithTLSConfig(&tls.Config{RootCAs: tree.Roots(), MinVersion: tls.VersionTLS12}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Bind(idmtest.AdminDN, idmtest.AdminPassword); err != nil {
		fmt.Println(err)
		return
	}
	c := &client{Conn: conn}
	driver := idmtest.DriverDN(0)
	if _, err := c.ext(9, driver, 1, 1); err != nil { // StartManual, without resync
		fmt.Println(err)
	}
	if _, err := c.ext(15, driver); err != nil { // start
		fmt.Println(err)
	}
	fmt.Println("active on", tree.Active(driver), "overlaps", len(tree.Overlaps()))

	if err := old.Start(); err != nil {
		fmt.Println(err)
	}
	fmt.Println("active on", tree.Active(driver), "overlaps", len(tree.Overlaps()))
	// Output:
	// active on [standby] overlaps 0
	// active on [old standby] overlaps 1
}
