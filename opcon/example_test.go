package opcon_test

import (
	"context"
	"fmt"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// Example holds a machine still, lets the service move, and sets the machine going again.
func Example() {
	server, err := opcontest.Open(opcontest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	server.Symitar("SYMAIX1", "symaix1.example.org")

	ctx := context.Background()
	client, err := opcon.New(opcon.Config{URL: server.URL,
		TLS: failover.TLS{Fingerprints: []string{server.Fingerprint()}}, User: "failover_svc",
		Password: func(context.Context) (failover.Secret, error) {
			return failover.NewSecret("secret"),
				nil
		}, Poll: 1, MaxPoll: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close(ctx) }()

	record, err := client.Quiesce(ctx, opcon.QuiesceOptions{Machine: "SYMAIX1", Mode: opcon.ModeUnplanned,
		Reason: "CHG0042"})
	fmt.Println(len(record.Held), "schedules held", err)

	// … the service moves …

	resume := opcon.ResumeOptions{Reason: "CHG0042", Repoint: opcon.RepointEditRecord,
		Address: opcon.Address{FQDN: "symaix2.example.org"}}
	record, err = client.Reconnect(ctx, record, resume)
	if err != nil {
		fmt.Println(err)
		return
	}
	jobs, err := client.Interrupted(ctx, record)
	for _, j := range jobs {
		fmt.Println(j.Job, "-", j.Why)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err = client.Release(ctx, record, resume)
	fmt.Println("now at", record.MovedTo, err)
	// Output:
	// 4 schedules held <nil>
	// 2026-08-22 SYM NIGHTLY / CLOSEDAY - sent, maybe never begun
	// 2026-08-22 SYM NIGHTLY / GOODNIGHT - failed since
	// now at symaix2.example.org <nil>
}
