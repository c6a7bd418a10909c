package eft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
)

// verify returns the checks that the upgrade was successful while node n has the group. They hold up to the step
// guards.
func (u upgrade) verify(stage, sentence string, n Node, guards string) failover.Stage {
	title := " on " + n.Name()
	steps := []failover.Step{
		u.wait("service", "See the service run"+title+" and nowhere else", n.Name(),
			added+"two running services are the worst outcome", firm, guards,
			func(ctx context.Context) (string, error) {
				if _, err := remembered(ctx); err != nil {
					return "", err
				}
				g, err := u.o.Cluster.Group(ctx, u.o.Group)
				if err != nil {
					return "", err
				}
				if g.Owner != n.Name() {
					return "", refuse("verify owner", n.Name(), "find out who moved the group", cluster.ErrOtherOwner, "%s", g)
				}
				return u.runsOn(ctx, n)
			}),
	}
	if u.o.Admin == nil {
		steps = append(steps, failover.Step{ID: "settings", Title: "Compare the settings and the version" + title,
			Target: n.Name(), Kind: failover.Manual, Source: sentence,
			Help: fmt.Sprintf("Log in through the administration interface while %s has the group, compare the settings with "+
				"those before, see version %s in Help > About, see the licence activated, and confirm.",
				n.Name(), u.o.Installer.Version)})
		return failover.Stage{Name: stage, Steps: steps}
	}
	steps = append(steps,
		u.wait("version", "See the running server tell the new version"+title, n.Name(), sentence, firm, guards,
			func(ctx context.Context) (string, error) {
				s, _, err := u.after(ctx)
				if err == nil && s.Version != u.o.Installer.Version {
					err = refuse("verify version", n.Name(), "find out which program the service runs", ErrWrongVersion,
						"it says %s, wanted is %s", s.Version, u.o.Installer.Version)
				}
				return s.Version.String(), err
			}),
		u.wait("settings", "See the settings as they were"+title, n.Name(), sentence, waivable, guards,
			func(ctx context.Context) (string, error) {
				s, before, err := u.after(ctx)
				if err != nil {
					return "", err
				}
				if changes := Diff(before, s); len(changes) > 0 {
					return "", &failover.Error{Op: "compare settings", Target: n.Name(), Outcome: failover.NotApplied,
						Next: "read the differences; set them right, roll back, or waive this step with a reason",
						Err:  &SettingsError{changes}}
				}
				return before.compared(), nil
			}),
		u.wait("licence", "See the licences as they were"+title, n.Name(),
			"activatingthesoftware, eft8-0-7: each node needs its own activation (documented)", waivable, guards,
			func(ctx context.Context) (string, error) {
				s, before, err := u.after(ctx)
				if err != nil {
					return "", err
				}
				var worse []string
				for _, module := range slices.Sorted(maps.Keys(before.Licences)) {
					if was, is := before.Licences[module], s.Licences[module]; was != is {
						worse = append(worse, fmt.Sprintf("%s: %q, was %q", module, is, was))
					}
				}
				if len(worse) > 0 {
					err = refuse("verify licences", n.Name(), "activate the licence on this node, or waive this step with a reason",
						ErrLicence, "%s", strings.Join(worse, "; "))
				}
				if len(before.Licences) == 0 {
					return "not compared: no licence was told before", err
				}
				return fmt.Sprintf("%d modules as before", len(before.Licences)), err
			}),
	)
	return failover.Stage{Name: stage, Steps: steps}
}

// after reads the settings now and those remembered.
func (u upgrade) after(ctx context.Context) (now, before Settings, err error) {
	before, ok, err := settingsFact.Load(ctx)
	if err == nil && !ok {
		err = errNotYet
	}
	if err != nil {
		return now, before, err
	}
	now, err = u.o.Admin.Read(ctx)
	return now, before, err
}

// wait builds a Check that looks again until it holds: sites start after the service, and a gateway reconnects later.
// What it finds at the last look is what the error says.
func (u upgrade) wait(id, title, target, source string, f firmness, guards string,
	find func(context.Context) (string, error)) failover.Step {
	// The look that the end of the time cuts off says nothing; the one before it says why.
	var last atomic.Pointer[error]
	return failover.Step{ID: id, Title: title, Target: target, Kind: failover.Check, Firm: bool(f), Guards: guards,
		Source: source, Wait: true, Timeout: u.o.Verify, Poll: u.o.Poll,
		Observe: later(func(ctx context.Context) (failover.Observation, error) {
			found, err := find(ctx)
			if ctx.Err() == nil {
				last.Store(&err)
			} else if before := last.Load(); err != nil && before != nil && *before != nil {
				err = *before
			}
			return failover.Observation{Done: err == nil, Found: found}, soften(err)
		})}
}

// soften keeps a finding from ending the wait at once: only the end of the time makes it final.
func soften(err error) error {
	if err == nil || errors.Is(err, errNotYet) {
		return err
	}
	return &pending{err}
}

// pending is an error that hides from the engine that it is final, and nothing else.
type pending struct{ err error }

func (p *pending) Error() string { return p.err.Error() }

func (p *pending) Is(target error) bool {
	return target != failover.ErrPrecondition && errors.Is(p.err, target) //nolint:errorlint // the one sentinel to hide
}

func (p *pending) As(target any) bool { return errors.As(p.err, target) }

// consoles returns one step per machine whose administration interface must follow: a look at its version where it can
// be read, the word of a person elsewhere.
func (u upgrade) consoles(sentence string) failover.Stage {
	stage := failover.Stage{Name: "consoles"}
	for _, c := range u.o.Consoles {
		id, todo := c.Name, fmt.Sprintf("upgrade the administration interface on %s to version %s", c.Name,
			u.o.Installer.Version)
		if c.Version == nil {
			stage.Steps = append(stage.Steps,
				failover.Step{ID: id, Title: "Upgrade the administration interface on " + c.Name, Target: c.Name,
					Kind: failover.Manual, Source: sentence,
					Timeout: readTime, Help: strings.ToUpper(todo[:1]) + todo[1:] + ", and confirm."})
			continue
		}
		s := look(id, "See the new version of the administration interface on "+c.Name, c.Name, sentence, waivable, "",
			func(ctx context.Context) (string, error) {
				v, err := c.Version(ctx)
				switch {
				case err != nil:
					err = &failover.Error{Op: "read version", Target: c.Name, Outcome: failover.NotApplied,
						Next: "make the machine reachable and run again, or waive this step with the word of whoever upgraded it",
						Err:  err}
				case v != u.o.Installer.Version:
					err = refuse("verify console", c.Name, todo+", then run again", ErrWrongVersion, "it has %s", v)
				}
				return v.String(), err
			})
		// In a plan the old version is the rule and no obstacle. A machine that does not answer is asked again.
		s.Wait, s.Poll = true, u.o.Poll
		stage.Steps = append(stage.Steps, s)
	}
	return stage
}

// ProgramVersion returns a Console.Version that reads what a program file on a Windows machine says its version is, for
// example the administration interface cftpsai.exe. The file not being there is an error that wraps ErrNotInstalled.
func ProgramVersion(n Node, path string) func(context.Context) (Version, error) {
	return func(ctx context.Context) (Version, error) {
		f, err := n.File(ctx, path)
		if err == nil && f.Version.IsZero() {
			err = refuse("read version", n.Name(), "correct the path of the program", ErrNotInstalled,
				"%s is not there or tells no version", path)
		}
		return f.Version, err
	}
}
