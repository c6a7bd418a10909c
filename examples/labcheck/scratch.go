package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/internal/waiting"
)

// scratchDriver is the one driver labcheck changes.
type scratchDriver struct {
	*result
	server             *idm.Server
	dn                 string
	watch, start, poll time.Duration
}

// scratch is items 4, 7 and the rest of 5. The driver is found disabled and left disabled.
func (r *result) scratch(ctx context.Context, conf idm.Config, l lab) (err error) {
	if r.Framing == "" {
		r.add(4, askPolarity, open, "operation 9 has several arguments: the framing must be settled first")
		return nil
	}
	conf.Dialect = r.dialect()
	server, err := idm.Dial(ctx, conf)
	if err != nil {
		return err
	}
	s := scratchDriver{result: r, server: server, dn: l.Scratch.Driver,
		watch: time.Duration(l.Scratch.Watch), start: time.Duration(l.Scratch.Start), poll: time.Duration(l.Scratch.Poll)}
	defer func() { err = errors.Join(err, s.server.Close()) }()
	if err := s.isScratch(ctx); err != nil {
		return err
	}
	r.Wrote = s.dn
	// However it ends, also by an interrupt: the driver goes back to where it was.
	defer func() { err = errors.Join(err, s.putBack(context.WithoutCancel(ctx))) }()
	s.whileDisabled(ctx)
	if err := s.polarity(ctx); err != nil {
		return err
	}
	if r.Resync != "" {
		conf.Dialect = r.dialect()
		proven, err := idm.Dial(ctx, conf)
		if err != nil {
			return err
		}
		err = s.server.Close()
		if s.server = proven; err != nil {
			return err
		}
		if err := s.whileEnabled(ctx); err != nil {
			return err
		}
	}
	return s.passwordOperations(ctx)
}

// isScratch refuses whatever does not look like a driver nobody needs.
func (s scratchDriver) isScratch(ctx context.Context) error {
	refuse := func(next, format string, args ...any) error {
		return &failover.Error{Op: "use as a scratch driver", Target: s.dn, Outcome: failover.NotApplied, Next: next,
			Err: fmt.Errorf("%w: %s", failover.ErrPrecondition, fmt.Sprintf(format, args...))}
	}
	e, err := s.server.Read(ctx, s.dn, "objectClass")
	if err != nil {
		return err
	}
	if !e.HasClass("DirXML-Driver") {
		return refuse("name a driver", "it is no DirXML-Driver")
	}
	status, err := s.server.Status(ctx, s.dn)
	if err != nil {
		return err
	}
	if status.State != idm.StateStopped || status.Option != idm.StartDisabled {
		return refuse("make a driver with the null shim and leave it disabled",
			"it is %s: a scratch driver is stopped and disabled", status)
	}
	dn, err := noObjectOf(ctx, s.server, s.dn)
	if err != nil {
		return err
	}
	if dn != "" {
		return refuse("make a driver with the null shim", "%s is associated with it: the driver is in use", dn)
	}
	return nil
}

// whileDisabled is what item 5 asks of a disabled driver.
func (s scratchDriver) whileDisabled(ctx context.Context) {
	s.add(5, "stop a driver that is stopped", learned, "%s", inWords(s.server.Stop(ctx, s.dn)))
	s.add(5, "start a driver that is disabled", learned, "%s", inWords(s.server.Start(ctx, s.dn)))
}

// polarity is item 4. Nobody has published on which act the flag counts, when the driver leaves Disabled or already
// when it is disabled, so all four ways are tried. The connection sends 1 for ResyncNone and 0 for ResyncEvents.
func (s scratchDriver) polarity(ctx context.Context) error {
	if err := s.until(ctx, idm.StateStopped); err != nil { // a start that was taken although the driver is disabled
		return err
	}
	if err := s.server.SetStartOption(ctx, s.dn, idm.StartManual, idm.ResyncNone); err != nil {
		return err
	}
	const one, zero = 0, 1
	var grown [2][2]int64 // by the flag of disabling, by the flag of enabling
	flags := [2]idm.Resync{one: idm.ResyncNone, zero: idm.ResyncEvents}
	for i, disabling := range flags {
		for k, enabling := range flags {
			bytes, err := s.fills(ctx, disabling, enabling)
			if err != nil {
				return err
			}
			grown[i][k] = bytes
		}
	}
	if err := s.server.SetStartOption(ctx, s.dn, idm.StartDisabled, idm.ResyncNone); err != nil {
		return err
	}
	found := fmt.Sprintf("the cache grew by, in bytes: disabled with 1 and enabled with 1: %d, 1 and 0: %d, 0 and 1: %d, "+
		"0 and 0: %d", grown[one][one], grown[one][zero], grown[zero][one], grown[zero][zero])
	fills := func(disabling, enabling int) bool { return grown[disabling][enabling] > 0 }
	act := "both acts count"
	switch {
	case fills(one, one) == fills(zero, one) && fills(one, zero) == fills(zero, zero):
		act = "the act of enabling counts"
	case fills(one, one) == fills(one, zero) && fills(zero, one) == fills(zero, zero):
		act = "the act of disabling counts"
	}
	switch {
	case !fills(one, one) && fills(zero, zero):
		s.Resync = idm.ResyncFlagOneSkips.String()
		s.add(4, askPolarity, expected, "%s; 1 means do not synchronize, %s", found, act)
	case fills(one, one) && !fills(zero, zero):
		s.Resync = idm.ResyncFlagOneSyncs.String()
		s.add(4, askPolarity, learned, "%s; 1 means synchronize, %s", found, act)
	case fills(one, one):
		s.add(4, askPolarity, open, "%s; repeat it while nothing changes in the tree", found)
	default:
		s.add(4, askPolarity, open, "%s; see that the driver has a subscriber filter with a class that has objects, and "+
			"give a longer scratch.watch; if nothing changes, the flag means something nobody has thought of: ask the vendor",
			found)
	}
	return nil
}

// fills disables the driver, which empties the cache, enables it and watches by how much the cache grows.
func (s scratchDriver) fills(ctx context.Context, disabling, enabling idm.Resync) (int64, error) {
	if err := s.server.SetStartOption(ctx, s.dn, idm.StartDisabled, disabling); err != nil {
		return 0, err
	}
	before := int64(0)
	if stats, err := s.server.Stats(ctx, s.dn); err == nil { // an engine may refuse the figures of a disabled driver
		before = stats.CacheBytes
	}
	if err := s.server.SetStartOption(ctx, s.dn, idm.StartManual, enabling); err != nil {
		return 0, err
	}
	grown := int64(0)
	for until := time.Now().Add(s.watch); ; {
		stats, err := s.server.Stats(ctx, s.dn)
		if err != nil && !errors.Is(err, idm.ErrWrongState) {
			return 0, err
		}
		if err == nil {
			grown = stats.CacheBytes - before
		}
		if grown > 0 || time.Now().After(until) {
			break
		}
		if err := wait(ctx, s.poll); err != nil {
			return 0, err
		}
	}
	return max(grown, 0), nil
}

// whileEnabled is what item 5 asks of a running driver. A driver that does not start is a finding, not an error.
func (s scratchDriver) whileEnabled(ctx context.Context) error {
	if err := s.server.SetStartOption(ctx, s.dn, idm.StartManual, idm.ResyncNone); err != nil {
		return err
	}
	const running = "start a driver that runs, disable a driver that runs"
	if err := s.server.Start(ctx, s.dn); err != nil {
		s.add(5, running, open, "the scratch driver does not start: %s", inWords(err))
		return nil
	}
	if err := s.until(ctx, idm.StateRunning); err != nil {
		s.add(5, running, open, "the scratch driver does not start: %v", err)
		return ctx.Err()
	}
	s.add(5, "start a driver that runs", learned, "%s", inWords(s.server.Start(ctx, s.dn)))
	s.add(5, "disable a driver that runs", learned, "%s",
		inWords(s.server.SetStartOption(ctx, s.dn, idm.StartDisabled, idm.ResyncNone)))
	return nil
}

// passwordOperations is item 7: are they taken. They are cleared again.
func (s scratchDriver) passwordOperations(ctx context.Context) error {
	if err := s.putBack(ctx); err != nil {
		return err
	}
	value := failover.NewSecret(rand.Text())
	for _, p := range []struct {
		what       string
		set, clear func() error
	}{
		{"SetAppPassword (67), ClearAppPassword (69)",
			func() error { return s.server.SetApplicationPassword(ctx, s.dn, value) },
			func() error { return s.server.ClearApplicationPassword(ctx, s.dn) }},
		{"SetRemoteLoaderPassword (71), ClearRemoteLoaderPassword (73)",
			func() error { return s.server.SetRemoteLoaderPassword(ctx, s.dn, value) },
			func() error { return s.server.ClearRemoteLoaderPassword(ctx, s.dn) }},
		{"a plain write of DirXML-ShimAuthPassword", func() error {
			return s.server.Modify(ctx, s.dn,
				idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-ShimAuthPassword", value.Reveal())})
		}, func() error {
			return s.server.Modify(ctx, s.dn,
				idm.AttributeChange{Kind: idm.ChangeReplace, Attribute: idm.Text("DirXML-ShimAuthPassword")})
		}},
	} {
		s.add(7, p.what, learned, "%s, %s", inWords(p.set()), inWords(p.clear()))
	}
	s.namedPassword(ctx, value)
	return ctx.Err()
}

func (s scratchDriver) namedPassword(ctx context.Context, value failover.Secret) {
	const question, name = "SetNamedPassword (75), ListNamedPasswords (81), RemoveNamedPassword (77)", "labcheck"
	listed := func() (bool, error) {
		list, err := s.server.NamedPasswords(ctx, s.dn)
		return slices.ContainsFunc(list, func(p idm.NamedPassword) bool { return p.Name == name }), err
	}
	if err := s.server.SetNamedPassword(ctx, s.dn, idm.NamedPassword{Name: name, DisplayName: "made by labcheck"},
		value); err != nil {
		s.add(7, question, open, "75: %s", inWords(err))
		return
	}
	there, err := listed()
	removed := s.server.RemoveNamedPassword(ctx, s.dn, name)
	still, errAfter := listed()
	switch err := errors.Join(err, removed, errAfter); {
	case err != nil:
		s.add(7, question, differs, "%v", err)
	case !there || still:
		s.add(7, question, differs, "listed after setting: %t, after removing: %t", there, still)
	default:
		s.add(7, question, expected, "listed after setting, gone after removing")
	}
}

// putBack leaves the driver stopped and disabled.
func (s scratchDriver) putBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.start)
	defer cancel()
	err := func() error {
		if err := s.until(ctx, idm.StateStopped); err != nil {
			return err
		}
		option, err := s.server.StartOption(ctx, s.dn)
		if err != nil || option == idm.StartDisabled {
			return err
		}
		if err := s.server.SetStartOption(ctx, s.dn, idm.StartDisabled, idm.ResyncNone); err != nil {
			return err
		}
		option, err = s.server.StartOption(ctx, s.dn)
		if err == nil && option != idm.StartDisabled {
			err = fmt.Errorf("it is still %s", option)
		}
		return err
	}()
	if err != nil {
		return &failover.Error{Op: "put back the scratch driver", Target: s.dn, Outcome: failover.InDoubt,
			Next: "stop and disable it by hand", Err: err}
	}
	return nil
}

// until waits for a state; where that is stopped and the driver is not, it asks for the stop.
func (s scratchDriver) until(ctx context.Context, want idm.State) error {
	asked, started := want != idm.StateStopped, false
	for until := time.Now().Add(s.start); ; {
		state, err := s.server.State(ctx, s.dn)
		switch {
		case err != nil:
			return err
		case state == want:
			return nil
		case !asked && state != idm.StateStopping:
			if err := s.server.Stop(ctx, s.dn); err != nil && !errors.Is(err, idm.ErrWrongState) {
				return err
			}
			asked = true
		case want == idm.StateRunning && started && state == idm.StateStopped:
			return errors.New("it went back to stopped; the reason is in its trace")
		}
		started = started || state == idm.StateStarting
		if time.Now().After(until) {
			return fmt.Errorf("it is %s, not %s, after %s", state, want, s.start)
		}
		if err := wait(ctx, s.poll); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	return waiting.For(ctx, d)
}
