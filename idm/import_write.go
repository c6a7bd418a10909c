package idm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/behind"
)

func (imp *importer) write(ctx context.Context) error {
	if imp.report.Differing+imp.report.OnlyInExport == 0 {
		return nil
	}
	var wrote int64
	tell := func() {
		if wrote++; wrote%1000 == 0 {
			failover.Progress(ctx, fmt.Sprintf("%d objects written to %s", wrote, imp.server.DN()))
		}
	}
	err := imp.pass(ctx, func(w, h *object) func() error {
		if h == nil {
			tell()
			return func() error { return imp.create(ctx, w) }
		}
		return imp.modify(ctx, h, imp.replicated(w, h))
	}, isContainer)
	if err != nil {
		return err
	}
	failover.Progress(ctx, "all objects exist on "+imp.server.DN()+
		"; writing what names other objects and the per-server values")
	return imp.pass(ctx, func(w, h *object) func() error {
		target := h
		if h == nil {
			target, h = w, &object{}
		}
		return imp.modify(ctx, target, slices.Concat(imp.references(w, h), imp.perServer(w, h)))
	}, func(*object) bool { return false })
}

// isContainer reports whether other objects can lie below. Classes nobody knows here count as such.
func isContainer(o *object) bool {
	switch o.class() {
	case "DirXML-Rule", "DirXML-StyleSheet", "DirXML-Resource", "DirXML-GlobalConfigDef", "DirXML-Job",
		"DirXML-Entitlement", "DirXML-SharedProfile":
		return false
	}
	return true
}

// pass goes over the objects of the export in order. What change returns runs beside others, unless alone says that
// the objects behind have to wait for it. After a failure nothing more is begun and what runs is waited for.
func (imp *importer) pass(ctx context.Context, change func(want, have *object) func() error,
	alone func(*object) bool) error {
	g, going := errgroup.WithContext(ctx) // ends with the first failure, and with it the walk
	g.SetLimit(defaultConnections)
	err := imp.each(going, func(w, h *object, _ []byte) error {
		if w == nil {
			return nil
		}
		do := change(w, h)
		if do != nil && alone(w) {
			return do()
		}
		if do != nil {
			g.Go(do)
		}
		return nil
	})
	return cmp.Or(g.Wait(), err)
}

func (imp *importer) create(ctx context.Context, w *object) error {
	attributes := w.plain
	if own := find(w.notes, serverList); own != nil {
		attributes = append(slices.Clone(attributes), Attribute{Name: serverList, Values: own})
	}
	err := imp.server.Add(ctx, w.dn, attributes...)
	lost := failover.OutcomeOf(err) == failover.InDoubt
	if (lost || errors.Is(err, ErrExists)) && ctx.Err() == nil {
		// Lost answer, or the object of a run that broke: what counts is what is there.
		e, rerr := imp.server.Read(ctx, w.dn, imp.in.roles.requested()...)
		switch {
		case rerr == nil && len(imp.replicated(w, imp.in.roles.split(e, imp.server.DN()))) == 0:
			err = nil
		case errors.Is(rerr, ErrNoEntry):
			if err = imp.server.Add(ctx, w.dn, attributes...); lost {
				err = behind.Effect(err)
			}
		}
	}
	if failover.OutcomeOf(err) != failover.NotApplied {
		imp.written.Add(1)
	}
	if err == nil {
		imp.created.Add(1)
	}
	return imp.at(w.line, err)
}

// modify returns the write that settles the deltas, or nil when there is nothing to write.
func (imp *importer) modify(ctx context.Context, o *object, deltas []delta) func() error {
	var changes []AttributeChange
	for _, d := range deltas {
		switch {
		case d.missing != nil && len(d.have) > 0:
			changes = append(changes, d.change(ChangeAdd, d.missing))
		case d.want != nil && d.mayStandBesideALock():
			changes = append(changes, d.swap()...)
		case d.want != nil:
			changes = append(changes, d.change(ChangeReplace, d.want))
		}
	}
	if len(changes) == 0 {
		return nil
	}
	return func() error {
		err := imp.server.Modify(ctx, o.dn, changes...)
		if failover.OutcomeOf(err) == failover.InDoubt && ctx.Err() == nil {
			err = imp.again(ctx, o.dn, changes)
		}
		if failover.OutcomeOf(err) != failover.NotApplied {
			imp.written.Add(1)
		}
		if err == nil && o.line == 0 { // it was on the server before
			imp.changed.Store(strings.ToLower(o.dn), true)
		}
		return imp.at(o.line, err)
	}
}

// again settles a modification whose answer was lost: replacing is repeated, added values are added where they are
// missing.
func (imp *importer) again(ctx context.Context, dn string, changes []AttributeChange) error {
	e, err := imp.server.Read(ctx, dn, imp.in.roles.requested()...)
	if err != nil {
		return behind.Effect(err)
	}
	var rest []AttributeChange
	for _, c := range changes {
		switch c.Kind {
		case ChangeAdd:
			c.Values = missingValues(c.Name, c.Values, e.Get(c.Name))
		case ChangeDelete:
			c.Values = presentValues(c.Name, c.Values, e.Get(c.Name))
		}
		if c.Kind == ChangeReplace || len(c.Values) > 0 {
			rest = append(rest, c)
		}
	}
	if len(rest) > 0 {
		err = behind.Effect(imp.server.Modify(ctx, dn, rest...))
	}
	return err
}
