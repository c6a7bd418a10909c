package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// office is the simulated OpCon of the drill. The server lives in memory; what happened to it is kept in a file after
// every request, so that a second process finds it as it was.
type office struct {
	server    *opcontest.Server
	site      *opcontest.Scenario
	transport *http.Transport
	file      string
	mu        sync.Mutex
	earlier   []opcontest.Effect // wrong starts seen by an earlier process
	decided   map[string]bool    // jobs on which a person has decided, by name
	leave     bool               // the person decides against what is proposed: nothing is started again
}

const (
	opconMachine   = "SYMAIX1"
	homeAddress    = "symaix1.drill.example"
	partnerAddress = "symaix2.drill.example"
)

// officeFaults are what can go wrong at OpCon while the pair itself is well.
var officeFaults = []fault{
	{"opcon-hold-fails", "OpCon refuses to hold one of the schedules"},
	{"opcon-never-drains", "OpCon counts a running job on the machine for ever"},
	{"opcon-token-expires", "OpCon's token expires in the middle"},
	{"opcon-lost-reply", "the hold takes effect and the line drops before OpCon's answer"},
	{"opcon-agent-mute", "the agent on the new host never answers OpCon"},
}

// officeFaultList are the faults of OpCon's simulator, those of single requests and those of the site as a whole.
func officeFaultList() []fault {
	list := slices.Clone(officeFaults)
	for _, f := range opcontest.Faults() {
		list = append(list, fault{f.Name, f.Title})
	}
	return list
}

// ofOffice reports whether a fault is one of OpCon's.
func ofOffice(name string) bool {
	return slices.ContainsFunc(officeFaultList(), func(f fault) bool { return f.name == name })
}

// officeState is what survives the process.
type officeState struct {
	Machine     [4]string // state, asked, FQDN, IP
	Schedules   []opcontest.ScheduleStatus
	Jobs        []jobState
	WrongStarts []opcontest.Effect
	Decided     map[string]bool
}

type jobState struct {
	Status    opcontest.JobStatus
	StartedOn string
}

func openOffice(dir string, s settings, pair *symitartest.Pair) (*office, error) {
	at := map[string]string{homeAddress: symitartest.Home, partnerAddress: symitartest.Partner}
	server, err := opcontest.Open(opcontest.Config{Polls: 1, ReportAfter: 4, Hooks: opcontest.Hooks{
		Agent: func(address string) bool { return at[address] != "" && pair.AgentRuns(at[address]) },
		Right: func(address string) bool { return at[address] != "" && pair.Role(at[address]) == "primary" },
	}})
	if err != nil {
		return nil, err
	}
	o := &office{server: server, site: server.Symitar(opconMachine, homeAddress), file: filepath.Join(dir, "opcon.json"),
		decided: map[string]bool{}, leave: s.repair && s.fault == "decision-corrected",
		transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.CertPool(), MinVersion: tls.VersionTLS12}}}
	o.server.Change(func() {
		o.site.Running.Ticks, o.site.JustSent.Ticks = 6, 6
		if slices.Contains(pair.Primaries(), symitartest.Home) {
			o.site.JustSent.Status = opcontest.JobRunning // the host is alive: what was just sent begins, and ends
		}
	})
	if err := o.load(); err != nil {
		return nil, errors.Join(err, o.close())
	}
	if slices.ContainsFunc(opcontest.Faults(), func(f opcontest.Fault) bool { return f.Name == s.fault }) {
		if err := server.Arm(s.fault); err != nil {
			return nil, errors.Join(err, o.close())
		}
	}
	switch s.fault {
	case "opcon-hold-fails":
		server.FailItem("hold", o.site.Branch.Name, "not allowed for this user", -1)
	case "opcon-never-drains":
		server.Change(func() { o.site.Machine.StuckJobs = 1 })
	case "opcon-token-expires":
		server.Inject(opcontest.Injection{Kind: opcontest.InjectionExpireTokens, Method: http.MethodPost,
			Path: "/api/scheduleactions"})
	case "opcon-lost-reply":
		server.Inject(opcontest.Injection{Kind: opcontest.InjectionCutAfter, Method: http.MethodPost,
			Path: "/api/scheduleactions"})
	case "opcon-agent-mute":
		server.Change(func() { o.site.Machine.Mute = true })
	}
	return o, nil
}

// client returns OpCon's part of the pair's configuration.
func (o *office) client(patience time.Duration) (*symitar.OpCon, error) {
	password := func(context.Context) (failover.Secret, error) { return failover.NewSecret("secret"), nil }
	client, err := opcon.New(opcon.Config{URL: o.server.URL, User: "failover_svc", Password: password, Transport: o,
		Poll: 5 * time.Millisecond, MaxPoll: 20 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	return &symitar.OpCon{Client: client, Machine: opconMachine, Reason: "drill", Repoint: opcon.RepointEditRecord,
		Home: opcon.Address{FQDN: homeAddress}, Partner: opcon.Address{FQDN: partnerAddress}, DrainTimeout: patience,
		UpTimeout: patience,
		Decide: func(_ context.Context, jobs []opcon.Interrupted) ([]opcon.Decision, error) {
			var decided []opcon.Decision
			for _, j := range jobs {
				d := j.Proposal
				d.By, d.Reason = "drill", "as proposed"
				if o.leave {
					d.Action, d.MarkFailedFirst, d.Reason = opcon.RerunLeave, false, "OpCon refuses to start it again"
				}
				decided = append(decided, d)
				o.decide(j.Job.Name)
			}
			return decided, nil
		}}, nil
}

// RoundTrip sends a request and keeps what it did before the caller sees the answer.
func (o *office) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.transport.RoundTrip(r)
	if saveErr := o.save(); saveErr != nil {
		return nil, saveErr
	}
	return resp, err
}

func (o *office) schedules() []*opcontest.Schedule {
	s := o.site
	return []*opcontest.Schedule{s.Nightly, s.Branch, s.Statements, s.Child, s.HeldBefore, s.Finished, s.Foreign,
		s.Tomorrow}
}

func (o *office) jobs() []*opcontest.Job {
	return []*opcontest.Job{o.site.Running, o.site.JustSent, o.site.Alternant, o.site.Waiting}
}

func (o *office) decide(job string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.decided[job] = true
}

// lost are the jobs that ran before the move, have no end and no decision, once the schedules are released.
func (o *office) lost() (names []string) {
	if !o.free() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.server.Change(func() {
		for _, j := range []*opcontest.Job{o.site.Running, o.site.JustSent} {
			if m := o.site.Machine; m.FQDN == partnerAddress && j.Status != opcontest.JobFinishedOK && !o.decided[j.Name] {
				names = append(names, j.Name)
			}
		}
	})
	return names
}

func (o *office) wrongStarts() []opcontest.Effect {
	return append(append([]opcontest.Effect(nil), o.earlier...), o.server.WrongStarts()...)
}

func (o *office) save() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := officeState{WrongStarts: o.wrongStarts(), Decided: o.decided}
	o.server.Change(func() {
		m := o.site.Machine
		st.Machine = [4]string{m.State, m.Asked, m.FQDN, m.IP}
		for _, x := range o.schedules() {
			st.Schedules = append(st.Schedules, x.Status)
		}
		for _, j := range o.jobs() {
			st.Jobs = append(st.Jobs, jobState{j.Status, j.StartedOn})
		}
	})
	raw, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if err := os.WriteFile(o.file+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(o.file+".new", o.file)
}

func (o *office) load() error {
	raw, err := os.ReadFile(o.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var st officeState
	if err == nil {
		err = json.Unmarshal(raw, &st)
	}
	if err != nil {
		return err
	}
	o.earlier = st.WrongStarts
	maps.Copy(o.decided, st.Decided)
	o.server.Change(func() {
		m := o.site.Machine
		m.State, m.Asked, m.FQDN, m.IP = st.Machine[0], st.Machine[1], st.Machine[2], st.Machine[3]
		for i, x := range o.schedules() {
			x.Status = st.Schedules[i]
		}
		for i, j := range o.jobs() {
			j.Status, j.StartedOn = st.Jobs[i].Status, st.Jobs[i].StartedOn
		}
	})
	o.server.Reconnect(o.site.Machine)
	return nil
}

// free reports whether everything the run held is released again and what was held before is not.
func (o *office) free() bool {
	for _, x := range o.schedules() {
		held := o.server.Status(x) == opcontest.ScheduleOnHold
		if held != (x == o.site.HeldBefore) {
			return false
		}
	}
	return true
}

func (o *office) close() error {
	o.transport.CloseIdleConnections()
	o.server.Close()
	return nil
}
