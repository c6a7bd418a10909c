package idm_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// Keep an export of the driver set, check later that it is good, and write it to the other server when the first one is
// lost.
func ExampleServer_Import() {
	ctx := context.Background()
	tree, err := idmtest.Open("", idmtest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tree.Close() //nolint:errcheck // the end of the example
	password := func(context.Context) (failover.Secret, error) { return failover.NewSecret(idmtest.AdminPassword), nil }
	connect := func(name string) *idm.Server {
		s, err := idm.Dial(ctx, idm.Config{URL: tree.Server(name).URL(), TLS: failover.TLS{Roots: tree.Roots()},
			UserDN: idmtest.AdminDN, Password: password})
		if err != nil {
			fmt.Println(err)
		}
		return s
	}
	dir, err := os.MkdirTemp("", "export")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder

	first := connect("srv1")
	path := filepath.Join(dir, "ds1.ldif")
	if _, err := first.SaveExport(ctx, path, idm.ExportOptions{Base: idmtest.DriverSetDN}); err != nil {
		fmt.Println(err)
		return
	}
	source := first.DN()
	_ = first.Close()
	tree.Server("srv1").Kill()

	check := idm.CheckExport(path, time.Now(), 24*time.Hour)
	fmt.Println("good:", check.Good())

	second := connect("srv2")
	defer second.Close() //nolint:errcheck // the end of the example
	export, closer, err := idm.OpenExport(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closer.Close() //nolint:errcheck // only read
	report, err := second.Import(ctx, export, idm.ImportOptions{ValuesOf: source, MaxAge: 24 * time.Hour})
	if err != nil {
		fmt.Println(err, failover.NextOf(err))
		return
	}
	fmt.Println("created:", report.Created)
	fmt.Println("to be set:", report.Secrets[0])

	// Output:
	// good: true
	// created: 0
	// to be set: application password of cn=Driver01,cn=ds1,o=system on cn=srv2,ou=servers,o=system: the driver logs in to its application
}
