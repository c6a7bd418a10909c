package remote_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote"
	"github.com/01b61c5c/failover/remote/remotetest"
)

// A step of a team's own: put a file in place, run a script with a parameter, and tell the three outcomes apart.
func Example() {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(folder) }()
	shell := &remotetest.Shell{Dir: folder}
	server, err := remotetest.NewServer(shell.Handle, remotetest.WithFiles(folder))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	// In place of server.SSH(): failover.SSH{Address: "app1-admin:22", User: "ops", HostKeys: []string{"SHA256:…"}, Key:
	// …}
	host, err := remote.New(remote.Config{SSH: server.SSH()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = host.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	file, err := host.Upload(ctx, strings.NewReader("mode=standby\n"), "/app.conf", remote.UploadOptions{Mode: 0o640})
	fmt.Println("upload:", failover.OutcomeOf(err), file.Size, "bytes")

	res, err := host.Run(ctx,
		remote.Command{Name: "read the mode", Line: remote.ShellLine("/bin/sh", `grep "^$1=" app.conf`, "mode")})
	fmt.Printf("run: %s, exit status %d, %q\n", failover.OutcomeOf(err), res.Exit, res.Stdout)

	server.Inject(remotetest.FaultDropStatus, 1)
	res, err = host.Run(ctx, remote.Command{Name: "switch", Line: "exit 0"})
	fmt.Println("line cut:", failover.OutcomeOf(err), "sent:", res.Sent, errors.Is(err, remote.ErrLineLost))

	server.Stop()
	_, err = host.Run(ctx, remote.Command{Name: "switch", Line: "exit 0"})
	fmt.Println("server down:", failover.OutcomeOf(err), "answer:", remote.AnswerOf(err))

	// Output:
	// upload: applied 13 bytes
	// run: applied, exit status 0, "mode=standby\n"
	// line cut: in-doubt sent: true true
	// server down: not-applied answer: some
}
