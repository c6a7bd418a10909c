package eft

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

func (u upgrade) noCleanConfig(n Node, next string) failover.Step {
	s := look("no-clean-config", "No empty configuration appeared on "+n.Name()+"'s own disk", n.Name(),
		"HA FAQ, eft8-1: the service makes an empty configuration when it finds none (documented)", waivable, next,
		func(ctx context.Context) (string, error) {
			before, err := remembered(ctx)
			if err != nil {
				return "", err
			}
			f, err := n.Facts(ctx)
			if err != nil {
				return "", err
			}
			if dir := strange(f.LocalConfigs, before.Nodes[n.Name()].LocalConfigs, u.o.ConfigDir); dir != "" {
				return "", refuse("check configuration", n.Name(), "see that it was made after the installer began, is on the "+
					"node's own disk and holds no site of yours; then move it aside, without deleting it, and run again",
					ErrCleanConfig, "%s", dir)
			}
			if was := before.Nodes[n.Name()].ConfigDir; was != "" && f.ConfigDir != "" && !sameDir(was, f.ConfigDir) {
				return "", refuse("check configuration", n.Name(), "set the configuration directory back", ErrConfigDir,
					"it was %q and is %q", was, f.ConfigDir)
			}
			return "none", nil
		})
	s.Observe, s.Wait, s.Poll = later(s.Observe), true, u.o.Poll
	s.Timeout = u.o.Verify
	return s
}

// strange returns a default configuration directory that was not there before. The shared disk may be mounted at one:
// then it is the configuration itself that came into sight.
func strange(now, before []string, config string) string {
	for _, dir := range now {
		if !slices.Contains(before, dir) && !inside(dir, config) && !inside(config, dir) {
			return dir
		}
	}
	return ""
}

// service puts start mode and account back as they were.
func (u upgrade) service(n Node) failover.Step {
	return u.change("service", "Put account and start mode of the service on "+n.Name()+" back as they were", n.Name(),
		"windowsaccountfortheeftservice, eft82: the account is lost in an upgrade (documented)",
		func(ctx context.Context) (failover.Observation, error) {
			was, is, err := u.startModes(ctx, n)
			return failover.Observation{Done: err == nil && was.StartMode == is.StartMode &&
				sameAccount(was.Account, is.Account),
				Note:  fmt.Sprintf("%s as %s, was %s as %s", is.StartMode, is.Account, was.StartMode, was.Account),
				Would: "set what was remembered"}, err
		}, func(ctx context.Context) error {
			was, is, err := u.startModes(ctx, n)
			if err != nil {
				return err
			}
			c := ServiceConfig{StartMode: was.StartMode}
			if !sameAccount(was.Account, is.Account) {
				c.Account = was.Account
				if needsPassword(was.Account) {
					if u.o.AccountPassword == nil {
						return refuse("restore service", n.Name(), "set the account by hand or give AccountPassword, then run again",
							ErrAccount, "it was %s and is %s", was.Account, is.Account)
					}
					if c.Password, err = u.o.AccountPassword(ctx); err != nil {
						return &failover.Error{Op: "restore service", Target: n.Name(), Outcome: failover.NotApplied,
							Next: "make the password available and run again", Err: err}
					}
				}
			}
			return n.ConfigureService(ctx, is.Name, c)
		}, nil)
}

func sameAccount(a, b string) bool { return strings.EqualFold(a, b) }

// complete is the last look at a node before it may take the group.
func (u upgrade) complete(role string, n Node, guards string) failover.Step {
	s := look("verify", "See the new version complete on "+n.Name()+
		", the service stopped, account and start mode as before", n.Name(),
		added+"exit code 0 is no proof", firm, guards, func(ctx context.Context) (string, error) {
			const op = "verify node"
			before, err := remembered(ctx)
			if err != nil {
				return "", err
			}
			f, err := n.Facts(ctx)
			if err != nil {
				return "", err
			}
			is, err := f.service(op)
			if err != nil {
				return "", err
			}
			was, err := before.Nodes[n.Name()].service(op)
			running, _, strayErr := u.strays(ctx, n)
			switch {
			case err != nil:
				return "", err
			case strayErr != nil:
				return "", strayErr
			case !f.has(u.o.Installer.Version):
				return "", refuse(op, n.Name(), "repair the node by hand, then run again", ErrInstallerFailed, "%s", f)
			case len(running) > 0:
				return "", refuse(op, n.Name(), "stop the service and find out what started it", ErrServiceRunning, "%s", f)
			case is.StartMode != was.StartMode || !sameAccount(is.Account, was.Account):
				return "", refuse(op, n.Name(), "set them as they were", ErrServiceSettings, "%s as %s, was %s as %s", is.StartMode,
					is.Account, was.StartMode, was.Account)
			}
			return f.String(), u.sameName(ctx, role, n, is)
		})
	s.Observe, s.Wait, s.Poll = later(s.Observe), true, u.o.Poll
	s.Timeout = u.o.Verify
	return s
}

// sameName refuses a second node that registers the service under another name than the cluster resource starts now.
func (u upgrade) sameName(ctx context.Context, role string, n Node, is Service) error {
	if role != u.lastRole() {
		return nil
	}
	other := u.o.Passive
	if role == "passive" {
		other = u.o.Active
	}
	f, err := other.Facts(ctx)
	if err != nil {
		return err
	}
	first, err := f.service("verify node")
	if err == nil && !strings.EqualFold(first.Name, is.Name) {
		err = refuse("verify node", n.Name(), "bring both nodes to one service name", ErrServiceName,
			"%s registers %q, %s registers %q", n.Name(), is.Name, other.Name(), first.Name)
	}
	return err
}
