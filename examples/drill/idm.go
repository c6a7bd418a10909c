package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/idm/idmtest"
)

// drivers moves twelve drivers from a dead server to the standby, guards the old server when it comes back, and moves
// them back.
func drivers() scenario {
	sc := scenario{name: "idm", open: openDrivers}
	for _, f := range idmtest.Faults() {
		sc.faults = append(sc.faults, fault{f.Name, f.Title})
	}
	return sc
}

func openDrivers(_ context.Context, dir string, s settings) (*stage, error) {
	site, err := openTree(dir, s.fault)
	if err != nil {
		return nil, err
	}
	return &stage{
		acts: []act{
			{name: "failover", before: site.crash, build: site.failover},
			{name: "guard", before: site.comeBack, build: site.guard},
			{name: "failback", build: site.failback},
		},
		confirm: done,
		judge:   func(context.Context) (verdict, error) { return site.judge("srv1"), nil },
		close:   site.close}, nil
}

// done is a person who does each manual step.
func done(_ context.Context, q failover.Request) (failover.Statement, error) {
	return failover.Statement{By: "drill", Says: q.Step.ID + " is done", Reason: "the drill's person did it"}, nil
}

func openTree(dir, fault string) (*driverSite, error) {
	tree, err := idmtest.Open(filepath.Join(dir, "tree"), idmtest.Config{Drivers: 12, AutoDelay: time.Minute,
		Servers: []idmtest.ServerConfig{{Name: "srv1"}, {Name: "srv2", Prepared: true}}})
	if err != nil {
		return nil, err
	}
	if fault != "" {
		if err := tree.Arm(fault); err != nil {
			return nil, errors.Join(err, tree.Close())
		}
	}
	since, err := noted(filepath.Join(dir, "since"))
	if err != nil {
		return nil, errors.Join(err, tree.Close())
	}
	return &driverSite{tree: tree, dir: dir, since: since}, nil
}

// driverSite is the tree and the connections to it.
type driverSite struct {
	tree  *idmtest.Tree
	dir   string
	since time.Time
	open  []*idm.Server
}

func (d *driverSite) dial(ctx context.Context, name string) (*idm.Server, error) {
	password := func(context.Context) (failover.Secret, error) { return failover.NewSecret(idmtest.AdminPassword), nil }
	s, err := idm.Dial(ctx, idm.Config{URL: d.tree.Server(name).URL(), TLS: failover.TLS{Roots: d.tree.Roots()},
		UserDN: idmtest.AdminDN, Password: password})
	if err == nil {
		d.open = append(d.open, s)
	}
	return s, err
}

func (d *driverSite) close() error {
	var errs []error
	for _, s := range d.open {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, d.tree.Close())...)
}

// crash is where the story begins: the server with the running drivers loses power.
func (d *driverSite) crash(context.Context) error {
	d.tree.Server("srv1").Kill()
	return nil
}

func (d *driverSite) comeBack(context.Context) error {
	if d.tree.Server("srv1").Up() {
		return nil
	}
	return d.tree.Server("srv1").Start()
}

func (d *driverSite) route(target *idm.Server) idm.Route {
	return idm.Route{DriverSet: idmtest.DriverSetDN, Drivers: d.tree.Drivers(), Target: target, Passwords: drillPassword,
		Settle: 50 * time.Millisecond, Poll: 10 * time.Millisecond, StartTimeout: 10 * time.Second,
		StopTimeout: 10 * time.Second}
}

func (d *driverSite) failover(ctx context.Context) (failover.Procedure, error) {
	target, err := d.dial(ctx, "srv2")
	if err != nil {
		return failover.Procedure{}, err
	}
	return idm.Failover(idm.FailoverOptions{Route: d.route(target), SourceDN: d.tree.Server("srv1").DN(), Since: d.since,
		TrySource: func(ctx context.Context) (*idm.Server, error) { return d.dial(ctx, "srv1") },
		SourceDead: failover.Statement{By: "drill", Says: "srv1 lost power and stays off",
			Reason: "the drill switched it off"}})
}

func (d *driverSite) guard(ctx context.Context) (failover.Procedure, error) {
	active, err := d.dial(ctx, "srv2")
	if err != nil {
		return failover.Procedure{}, err
	}
	return idm.GuardOldServer(idm.GuardOptions{DriverSet: idmtest.DriverSetDN, Drivers: d.tree.Drivers(), Active: active,
		OldDN: d.tree.Server("srv1").DN(),
		Dial:  func(ctx context.Context) (*idm.Server, error) { return d.dial(ctx, "srv1") }, Poll: 10 * time.Millisecond,
		Wait: time.Minute})
}

func (d *driverSite) failback(ctx context.Context) (failover.Procedure, error) {
	o, err := d.between(ctx, "srv2", "srv1")
	if err != nil {
		return failover.Procedure{}, err
	}
	return idm.Failback(o)
}

// switchover is the planned move, which only a drill of the whole site makes.
func (d *driverSite) switchover(ctx context.Context) (failover.Procedure, error) {
	o, err := d.between(ctx, "srv1", "srv2")
	if err != nil {
		return failover.Procedure{}, err
	}
	return idm.Switchover(o)
}

func (d *driverSite) between(ctx context.Context, source, target string) (idm.SwitchoverOptions, error) {
	from, err := d.dial(ctx, source)
	if err != nil {
		return idm.SwitchoverOptions{}, err
	}
	to, err := d.dial(ctx, target)
	if err != nil {
		return idm.SwitchoverOptions{}, err
	}
	return idm.SwitchoverOptions{Route: d.route(to), Source: from, CacheDir: d.dir}, nil
}

func (d *driverSite) judge(where string) verdict {
	v := verdict{twoActive: len(d.tree.Overlaps()) > 0}
	resyncs, there := 0, 0
	for _, driver := range d.tree.Drivers() {
		resyncs += d.tree.Counters(driver).AutoResyncs
		if slices.Equal(d.tree.Active(driver), []string{where}) {
			there++
		}
	}
	v.once = []effect{{what: "resync nobody asked for", times: resyncs, most: 0}}
	v.end = fmt.Sprintf("%d of %d drivers run on %s and nowhere else", there, len(d.tree.Drivers()), where)
	v.asWanted = there == len(d.tree.Drivers())
	return v
}

// drillPassword is the vault of the drill.
func drillPassword(_ context.Context, need idm.SecretNeeded) (failover.Secret, error) {
	for i := range 12 {
		if !idm.SameDN(need.Object, idmtest.DriverDN(i)) {
			continue
		}
		p := idmtest.DriverPasswords(i)
		switch need.Kind {
		case idm.SecretApplication:
			return failover.NewSecret(p.Application), nil
		case idm.SecretRemoteLoader:
			return failover.NewSecret(p.RemoteLoader), nil
		case idm.SecretDriverObject:
			return failover.NewSecret(p.Object), nil
		case idm.SecretNamed:
			return failover.NewSecret(p.Named[need.Name]), nil
		}
	}
	if need.Kind == idm.SecretNamed && need.Name == "set-wide" {
		return failover.NewSecret(idmtest.SetPassword), nil
	}
	return failover.Secret{}, idm.ErrNoPassword
}

// noted keeps the time up to which the old server was known to work, the same for a process that resumes.
func noted(path string) (time.Time, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		raw = []byte(time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, strings.TrimSpace(string(raw)))
}
