// Compose is a team's own tool in a module of its own: three packages joined, a step of its own over SSH; approval,
// progress and report over HTTP. Started again, it goes on: compose site.json CHG-1042
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/remote"
	"github.com/01b61c5c/failover/runbook"
	"github.com/01b61c5c/failover/symitar"
)

// site is the configuration. Its SSH logins name an agent, so that it holds no secret.
type site struct {
	OpCon, Machine, Group, Target string
	Trust                         failover.TLS
	Nodes                         []cluster.Address
	Core                          symitar.Config
	App                           failover.SSH
}

func main() {
	var s site
	must(0, json.Unmarshal(must(os.ReadFile(os.Args[1])), &s))
	p := s.procedure(must(opcon.New(opcon.Config{URL: s.OpCon, TLS: s.Trust, Token: runbook.Secret{Env: "TOKEN"}.Func()})),
		must(cluster.NewWindows(cluster.WindowsConfig{Nodes: s.Nodes})), must(symitar.NewPair(s.Core)),
		must(remote.New(remote.Config{SSH: s.App})))
	open := failover.OpenJournal
	if _, err := os.Stat("compose.journal"); err != nil {
		open = failover.CreateJournal
	}
	d := &desk{journal: must(open("compose.journal")), answers: make(chan failover.Approval)}
	go func() { log.Fatal(http.ListenAndServe("127.0.0.1:8080", d)) }()
	log.Print(must(p.Run(context.Background(), failover.RunOptions{Journal: d.journal, Actor: os.Getenv("USER"),
		Reason: os.Args[2], Gate: d.ask, Confirm: d.confirm, Observer: func(e failover.Event) { d.last.Store(&e) }})))
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// procedure moves group and core side by side, and then lets the application stand still while its page changes.
func (s site) procedure(oc *opcon.Client, c cluster.Cluster, core *symitar.Pair, app *remote.Host) failover.Procedure {
	off := must(opcon.QuiesceStages(oc, opcon.QuiesceOptions{Machine: s.Machine, Mode: opcon.ModePlanned, Reason: "move"}))
	on := must(opcon.ResumeStages(oc, opcon.ResumeOptions{Machine: s.Machine, Repoint: opcon.RepointHostStayed,
		Reason: "move"}))
	page := failover.Stage{Name: "page", Outage: true, Steps: []failover.Step{show(app, "moved", "here")}}
	batch := failover.Procedure{Name: "batch", Stages: []failover.Stage{off.Check, off.Hold, off.Drain, off.Down, page,
		on.Repoint, on.Prove, on.Decide, on.Release}}
	files := must(cluster.Transfer(c, cluster.TransferOptions{Group: s.Group, Target: s.Target}))
	return must(failover.Join(failover.JoinOptions{Name: "site.Move"}, failover.Part{Name: "files", Procedure: files},
		failover.Part{Name: "core", Procedure: must(symitar.Switchover(core))},
		failover.Part{Name: "batch", Procedure: batch, After: []string{"files", "core"}}))
}

// show is a step of the team's own. Writing the page again is harmless; the outcome is that of the upload.
func show(app *remote.Host, page, before string) failover.Step {
	put := func(ctx context.Context, text string) error {
		_, err := app.Upload(ctx, strings.NewReader(text), "/page", remote.UploadOptions{Mode: 0o644})
		return err
	}
	return failover.Step{ID: page, Title: "Show the page " + page, Target: app.Address(), Kind: failover.Change,
		Apply: func(ctx context.Context) error { return put(ctx, page) },
		Undo:  func(ctx context.Context) error { return put(ctx, before) },
		Observe: func(ctx context.Context) (failover.Observation, error) {
			text, err := app.ReadFile(ctx, "/page", 64)
			return failover.Observation{Done: string(text) == page, Found: "it is " + string(text), Would: "show " + page}, err
		}}
}

// desk is where a person approves: GET / shows question and progress, POST /?findings=HASH agrees, GET /report reports.
type desk struct {
	journal *failover.Journal
	asked   atomic.Pointer[failover.Request]
	answers chan failover.Approval
	last    atomic.Pointer[failover.Event]
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, by := d.asked.Load(), r.Header.Get("X-Remote-User") // set by the proxy in front
	asked := q != nil && string(q.Findings) == r.URL.Query().Get("findings")
	switch {
	case r.Method == http.MethodPost && by != "" && asked && d.asked.CompareAndSwap(q, nil):
		d.answers <- failover.Approval{By: by, From: "http"}
	case r.Method == http.MethodPost:
		http.Error(w, "this is not asked, or nobody is logged in", http.StatusConflict)
	case r.URL.Path == "/report":
		_ = d.journal.Report().WriteHTML(w)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"asked": q, "last": d.last.Load()})
	}
}

// ask waits for the answer. The handler that takes the question away owes exactly one answer.
func (d *desk) ask(ctx context.Context, r failover.Request) (failover.Approval, error) {
	d.asked.Store(&r)
	select {
	case a := <-d.answers:
		return a, nil
	case <-ctx.Done():
		return failover.Approval{}, context.Cause(ctx)
	}
}

func (d *desk) confirm(ctx context.Context, r failover.Request) (failover.Statement, error) {
	a, err := d.ask(ctx, r)
	return failover.Statement{By: a.By, Says: "done: " + r.Step.Title, Reason: "confirmed over http"}, err
}
