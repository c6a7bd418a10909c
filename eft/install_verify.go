package eft

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/01b61c5c/failover"
)

func (u upgrade) noCleanConfig(n Node, next string) failover.Step {
	return u.awaited(look("no-clean-config", "No empty configuration appeared on "+n.Name()+"'s own disk", n.Name(),
		"HA FAQ, eft8-1: the service makes an empty configuration when it finds none (documented)", waivable, next,
		func(ctx context.Context) (string, error) {
			const op = "check configuration"
			was, is, err := since(ctx, n)
			if err != nil {
				return "", err
			}
			if dir := strange(is.LocalConfigs, was.LocalConfigs, u.ConfigDir); dir != "" {
				return "", refuse(op, n.Name(), "see that it was made after the installer began, is on the node's own disk and "+
					"holds no site of yours; then move it aside, without deleting it, and run again", ErrCleanConfig, "%s", dir)
			}
			if was.ConfigDir != "" && is.ConfigDir != "" && !sameDir(was.ConfigDir, is.ConfigDir) {
				return "", refuse(op, n.Name(), "set the configuration directory back", ErrConfigDir, "it was %q and is %q",
					was.ConfigDir, is.ConfigDir)
			}
			return "none", nil
		}))
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

// asBefore reports whether account and start mode of a service are what they were.
func (s Service) asBefore(was Service) bool {
	return s.StartMode == was.StartMode && strings.EqualFold(s.Account, was.Account)
}

// against tells both, now and before.
func (s Service) against(was Service) string {
	return fmt.Sprintf("%s as %s, was %s as %s", s.StartMode, s.Account, was.StartMode, was.Account)
}

// service puts start mode and account back as they were.
func (u upgrade) service(n Node) failover.Step {
	const op = "restore service"
	return u.change("service", "Put account and start mode of the service on "+n.Name()+" back as they were", n.Name(),
		"windowsaccountfortheeftservice, eft82: the account is lost in an upgrade (documented)",
		func(ctx context.Context) (failover.Observation, error) {
			was, is, err := startModes(ctx, n)
			return failover.Observation{Done: err == nil && is.asBefore(was), Note: is.against(was),
				Would: "set what was remembered"}, err
		}, func(ctx context.Context) error {
			was, is, err := startModes(ctx, n)
			if err != nil {
				return err
			}
			c := ServiceConfig{StartMode: was.StartMode}
			if !strings.EqualFold(was.Account, is.Account) {
				c.Account = was.Account
				if needsPassword(was.Account) {
					if u.AccountPassword == nil {
						return refuse(op, n.Name(), "set the account by hand or give AccountPassword, then run again", ErrAccount,
							"it was %s and is %s", was.Account, is.Account)
					}
					if c.Password, err = u.AccountPassword(ctx); err != nil {
						return unchanged(op, n.Name(), "make the password available and run again", err)
					}
				}
			}
			return n.ConfigureService(ctx, is.Name, c)
		}, nil)
}

// complete is the last look at a node before it may take the group.
func (u upgrade) complete(role string, n Node, guards string) failover.Step {
	return u.awaited(look("verify", "See the new version complete on "+n.Name()+
		", the service stopped, account and start mode as before", n.Name(),
		added+"exit code 0 is no proof", firm, guards, func(ctx context.Context) (string, error) {
			const op = "verify node"
			before, f, err := since(ctx, n)
			is, isErr := f.service(op)
			was, wasErr := before.service(op)
			running, _, strayErr := u.strays(ctx, n)
			switch err := cmp.Or(err, isErr, wasErr, strayErr); {
			case err != nil:
				return "", err
			case !f.has(u.Installer.Version):
				return "", refuse(op, n.Name(), "repair the node by hand, then run again", ErrInstallerFailed, "%s", f)
			case len(running) > 0:
				return "", refuse(op, n.Name(), "stop the service and find out what started it", ErrServiceRunning, "%s", f)
			case !is.asBefore(was):
				return "", refuse(op, n.Name(), "set them as they were, then run again", ErrServiceSettings, "%s", is.against(was))
			case role != u.last:
				return f.String(), nil
			}
			// A second node that registers the service under another name than the resource starts now could not take it.
			other := u.node(u.first)
			first, err := service(ctx, other, op)
			if err == nil && !strings.EqualFold(first.Name, is.Name) {
				err = refuse(op, n.Name(), "bring both nodes to one service name", ErrServiceName,
					"%s registers %q, %s registers %q", n.Name(), is.Name, other.Name(), first.Name)
			}
			return f.String(), err
		}))
}
