// Labcheck finds out on a lab server what the vendor's texts leave open about Identity Manager's protocol, and prints
// the idm.Dialect to use.
//
// Copy lab.example.yaml, fill it in, then:
//
//	labcheck -config lab.yaml
//	labcheck -config lab.yaml -json
//	labcheck -config lab.yaml -write-to-scratch-driver "cn=Scratch,cn=Lab Set,o=system"
//
// Without the last flag nothing is changed on the server; that settles the framing of the arguments. The flag names the
// scratch driver of the file once more and allows labcheck to enable, start, stop and disable that one driver and to
// set its passwords; that settles the polarity of the resync flag. No other object is ever written.
//
// The exit status is 0 when everything that was tried is settled, 1 when something is not, 2 when called wrongly.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/01b61c5c/failover"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := program(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func program(ctx context.Context, args []string, out, complaints io.Writer) int {
	flags := flag.NewFlagSet("labcheck", flag.ContinueOnError)
	flags.SetOutput(complaints)
	config := flags.String("config", "lab.yaml", "configuration `file`, YAML or JSON; unknown keys are refused")
	asJSON := flags.Bool("json", false, "print the result as JSON")
	write := flags.String("write-to-scratch-driver", "",
		"CHANGES the driver with this `DN`, which must be scratch.driver of the file: enables it with and without "+
			"resynchronization, starts and stops it, overwrites and clears its passwords")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(complaints, "labcheck: %q is not understood\n", flags.Args())
		return 2
	}
	r, err := check(ctx, *config, *write)
	if r != nil {
		if err := r.print(out, *asJSON); err != nil {
			fmt.Fprintln(complaints, "labcheck:", err)
			return 1
		}
	}
	if err != nil {
		fmt.Fprintln(complaints, "labcheck:", err)
		if next := failover.NextOf(err); next != "" {
			fmt.Fprintln(complaints, "next:", next)
		}
		return 1
	}
	if !r.settled() {
		return 1
	}
	return 0
}

func (r *result) print(out io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	_, err := io.WriteString(out, r.String())
	return err
}
