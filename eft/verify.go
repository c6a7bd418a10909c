package eft

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

// verify returns the checks that the upgrade was successful while node n has the group. They hold up to the step
// guards.
func (u upgrade) verify(stage, sentence string, n Node, guards string) failover.Stage {
	title := " on " + n.Name()
	service := u.serves(n, guards, added+"two running services are the worst outcome")
	if u.Admin == nil {
		return failover.Stage{Name: stage, Steps: []failover.Step{service, {ID: "settings", Target: n.Name(),
			Title: "Compare the settings and the version" + title, Kind: failover.Manual, Source: sentence,
			Help: fmt.Sprintf("Log in through the administration interface while %s has the group, compare the settings with "+
				"those before, see version %s in Help > About, see the licence activated, and confirm.",
				n.Name(), u.Installer.Version)}}}
	}
	return failover.Stage{Name: stage, Steps: []failover.Step{service,
		u.tells("See the running server tell the new version"+title, sentence, n, u.Installer.Version, guards),
		u.wait("settings", "See the settings as they were"+title, n.Name(), sentence, waivable, guards,
			func(ctx context.Context) (string, error) {
				now, before, err := u.after(ctx)
				if err != nil {
					return "", err
				}
				if changes := Diff(before, now); len(changes) > 0 {
					return "", unchanged("compare settings", n.Name(),
						"read the differences; set them right, waive this step with a reason, or roll back while a node carries the old "+
							"version", &SettingsError{changes})
				}
				return before.compared(), nil
			}),
		u.wait("licence", "See the licences as they were"+title, n.Name(),
			"activatingthesoftware, eft8-0-7: each node needs its own activation (documented)", waivable, guards,
			func(ctx context.Context) (string, error) {
				now, before, err := u.after(ctx)
				if err != nil {
					return "", err
				}
				var worse []string
				for _, module := range slices.Sorted(maps.Keys(before.Licences)) {
					if was, is := before.Licences[module], now.Licences[module]; was != is {
						worse = append(worse, fmt.Sprintf("%s: %q, was %q", module, is, was))
					}
				}
				switch {
				case len(worse) > 0:
					return "", refuse("verify licences", n.Name(), "activate the licence on this node, or waive this step with a "+
						"reason", ErrLicence, "%s", strings.Join(worse, "; "))
				case len(before.Licences) == 0:
					return "not compared: no licence was told before", nil
				}
				return fmt.Sprintf("%d modules as before", len(before.Licences)), nil
			}),
	}}
}

// serves is the check that the service runs on the node and nowhere else. In a plan it is not yet the time.
func (u upgrade) serves(n Node, guards, source string) failover.Step {
	return u.wait("service", "See the service run on "+n.Name()+" and nowhere else", n.Name(), source, firm, guards,
		func(ctx context.Context) (string, error) {
			if _, err := remembered(ctx); err != nil {
				return "", err
			}
			return u.runsOn(ctx, n)
		})
}

// tells is the check that the running server tells a version.
func (u upgrade) tells(title, source string, n Node, want Version, guards string) failover.Step {
	return u.wait("version", title, n.Name(), source, firm, guards, func(ctx context.Context) (string, error) {
		if _, err := remembered(ctx); err != nil {
			return "", err
		}
		s, err := u.Admin.Read(ctx)
		switch {
		case err != nil:
			return "", err
		case s.Version != want:
			return "", refuse("verify version", n.Name(), "find out which program the service runs", ErrWrongVersion,
				"it says %s, wanted is %s", s.Version, want)
		}
		return s.Version.String(), nil
	})
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
	now, err = u.Admin.Read(ctx)
	return now, before, err
}

// consoles returns one step per machine whose administration interface must follow: a look at its version where it can
// be read, the word of a person elsewhere.
func (u upgrade) consoles() failover.Stage {
	stage := failover.Stage{Name: "consoles"}
	sentence := u.vendor("8", "10",
		"upgrade to the same version any installations of the Administrative Interface on any other systems")
	for _, c := range u.Consoles {
		what, to := "the administration interface on "+c.Name, " to version "+u.Installer.Version.String()
		s := failover.Step{ID: c.Name, Title: "Upgrade " + what, Target: c.Name, Kind: failover.Manual, Source: sentence,
			Timeout: readTime, Help: "Upgrade " + what + to + ", and confirm."}
		if c.Version != nil {
			s = look(c.Name, "See the new version of "+what, c.Name, sentence, waivable, "",
				func(ctx context.Context) (string, error) {
					v, err := c.Version(ctx)
					switch {
					case err != nil:
						err = unchanged("read version", c.Name, "make the machine reachable and run again, or waive this step with "+
							"the word of whoever upgraded it", err)
					case v != u.Installer.Version:
						err = refuse("verify console", c.Name, "upgrade "+what+to+", then run again", ErrWrongVersion, "it has %s", v)
					}
					return v.String(), err
				})
			// In a plan the old version is the rule and no obstacle. A machine that does not answer is asked again.
			s.Wait, s.Poll = true, u.Poll
		}
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
