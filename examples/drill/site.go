package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/symitar"
	"github.com/01b61c5c/failover/symitar/symitartest"
)

// site moves everything that runs at one place, as one joined procedure: the drivers of Identity Manager and the
// Symitar host side by side, and the file service once the host is there.
func site() scenario {
	sc := scenario{name: "site", repairs: true, open: openSite}
	for _, f := range symitartest.Faults() {
		if f.Name == "statedir-full" {
			sc.faults = append(sc.faults, fault{f.Name, f.About})
		}
	}
	return sc
}

func openSite(_ context.Context, dir string, s settings) (_ *stage, err error) {
	var opened []*stage
	closeAll := func() error {
		var errs []error
		for _, st := range opened {
			errs = append(errs, st.close())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	parts := []failover.Part{{Name: "drivers"}, {Name: "host"}, {Name: "files", After: []string{"host"}}}
	for i, open := range []func(dir string) (*stage, error){
		func(dir string) (*stage, error) {
			d, err := openTree(dir, "")
			if err != nil {
				return nil, err
			}
			return &stage{acts: []act{{build: d.switchover}}, close: d.close,
				judge: func(context.Context) (verdict, error) { return d.judge("srv2"), nil }}, nil
		},
		func(dir string) (*stage, error) { return openPair(dir, s, bothOn, symitar.Switchover) },
		func(dir string) (*stage, error) { return openTransfer(dir, "", cluster.AfterMoveStay) },
	} {
		place := filepath.Join(dir, parts[i].Name)
		if err := os.MkdirAll(place, 0o700); err != nil {
			return nil, err
		}
		st, err := open(place)
		if err != nil {
			return nil, err
		}
		opened = append(opened, st)
	}
	build := func(ctx context.Context) (failover.Procedure, error) {
		for i, st := range opened {
			p, err := st.acts[0].build(ctx)
			if err != nil {
				return failover.Procedure{}, err
			}
			parts[i].Procedure = p
		}
		return failover.Join(failover.JoinOptions{Name: "drill.Site"}, parts...)
	}
	return &stage{acts: []act{{build: build}}, confirm: done, close: closeAll,
		judge: func(ctx context.Context) (verdict, error) {
			all := verdict{asWanted: true}
			var ends []string
			for _, st := range opened {
				v, err := st.judge(ctx)
				if err != nil {
					return verdict{}, err
				}
				all.once = append(all.once, v.once...)
				all.twoActive, all.asWanted = all.twoActive || v.twoActive, all.asWanted && v.asWanted
				all.faulty = all.faulty || v.faulty
				ends = append(ends, v.end)
			}
			all.end = strings.Join(ends, "; ")
			return all, nil
		}}, nil
}
