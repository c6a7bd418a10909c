package symitar

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
)

// Validate refuses a configuration the procedures could not run safely with. It is called by [NewPair].
func (c Config) Validate() error {
	c = c.withDefaults()
	checks := []func() error{
		func() error { return c.Home.validate("Config.Home") },
		func() error { return c.Partner.validate("Config.Partner") },
		c.validateHosts, c.Macro.validate, c.Role.validate, c.Replication.validate, c.validatePaths, c.validatePrograms,
		c.validateLimits,
		c.Licence.validate, c.validateVerify, c.validateOpCon,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (h HostConfig) validate(field string) error {
	switch {
	case h.Name == "":
		return failover.Invalid(field+".Name", "is empty", "give the machine the name people use for it")
	case strings.ContainsAny(h.Name, " \t\n/"):
		return failover.Invalid(field+".Name", strconv.Quote(h.Name)+" contains a blank or a slash", "use one word")
	case h.MachineID == "":
		return failover.Invalid(field+".MachineID", "is empty", "fill in what \"uname -m\" prints on "+h.Name)
	}
	return h.SSH.Validate(field + ".SSH")
}

func (c Config) validateHosts() error {
	switch {
	case c.Home.Name == c.Partner.Name:
		return failover.Invalid("Config.Partner.Name", "is the same as Home.Name", "give each machine its own name")
	case c.Home.SSH.Address == c.Partner.SSH.Address:
		return failover.Invalid("Config.Partner.SSH.Address", "is the same as Home's",
			"give each machine's own fixed administration address, never an alias that moves")
	case c.Home.MachineID == c.Partner.MachineID:
		return failover.Invalid("Config.Partner.MachineID", "is the same as Home's",
			"fill in what \"uname -m\" prints on "+c.Partner.Name)
	}
	for _, key := range c.Home.SSH.HostKeys {
		if slices.Contains(c.Partner.SSH.HostKeys, key) {
			return failover.Invalid("Config.Partner.SSH.HostKeys", "contains a key of Home",
				"pin each machine's own key; two machines must not share one")
		}
	}
	return nil
}

func (m Macro) validate() error {
	const ask = "; no public text says, ask Jack Henry or look into your own runbook"
	switch {
	case m.Path == "":
		return failover.Invalid("Config.Macro.Path", "is empty",
			"fill in the absolute path of the FAILOVER macro, probably /SYM/MACROS/FAILOVER"+ask)
	case !path.IsAbs(m.Path) || strings.ContainsAny(m.Path, "\n"):
		return failover.Invalid("Config.Macro.Path", strconv.Quote(m.Path)+" is not an absolute path",
			"write the path from / on")
	case m.User == "":
		return failover.Invalid("Config.Macro.User", "is empty", "fill in the account that must run the macro"+ask)
	case m.On != OnOldPrimary && m.On != OnNewPrimary:
		return failover.Invalid("Config.Macro.On", "is not set",
			"say on which host the macro is started, OnOldPrimary or OnNewPrimary"+ask)
	case m.SwitchoverArgs == nil:
		return failover.Invalid("Config.Macro.SwitchoverArgs", "is not set",
			"fill in the macro's arguments, an empty list where it takes none"+ask)
	case m.Mode < ModeDetached || m.Mode > ModeHostExpect:
		return failover.Invalid("Config.Macro.Mode", "is not set",
			"say whether the macro asks questions: ModeDetached, ModeAnswers or ModeHostExpect"+ask)
	case m.Mode == ModeDetached && len(m.Prompts) > 0:
		return failover.Invalid("Config.Macro.Prompts", "is set, but Mode is detached",
			"use ModeAnswers or ModeHostExpect, or remove the prompts")
	case m.Mode != ModeDetached && len(m.Prompts) == 0:
		return failover.Invalid("Config.Macro.Prompts", "is empty, but Mode is "+m.Mode.String(),
			"list the questions and answers, or use ModeDetached")
	case m.Timeout <= 0:
		return failover.Invalid("Config.Macro.Timeout", "is not set",
			"choose how long to follow the macro, for example 60 minutes"+ask)
	case m.Settle < 0:
		return failover.Invalid("Config.Macro.Settle", "is negative", "use zero for the default")
	}
	for i, p := range m.Prompts {
		field := fmt.Sprintf("Config.Macro.Prompts[%d]", i)
		switch {
		case m.Mode == ModeHostExpect && p.Question == "":
			return failover.Invalid(field+".Question", "is empty", "write a regular expression for the question")
		case p.Answer.Empty() && p.Fetch == nil:
			return failover.Invalid(field+".Answer", "is empty", "give the answer, or a function that fetches it")
		case strings.ContainsAny(p.Answer.Reveal(), "\n\r"):
			return failover.Invalid(field+".Answer", "contains a line end", "give one line; the line end is added")
		}
	}
	for _, args := range [][]string{m.SwitchoverArgs, m.FailoverArgs, m.FailbackArgs, {m.Path}} {
		for _, arg := range args {
			if strings.ContainsRune(arg, 0) {
				return failover.Invalid("Config.Macro", "an argument contains a NUL byte", "remove it")
			}
		}
	}
	return compiles(map[string]string{"Config.Macro.Success": m.Success, "Config.Macro.Failure": m.Failure})
}

func (r Role) validate() error {
	const ask = "no public text says how a role shows; candidates are a marker file, the service address in netstat -in, " +
		"lsvg -o, a mounted /SYM"
	if len(r.Probes) == 0 {
		return failover.Invalid("Config.Role.Probes", "is empty", "fill in at least one command that tells the role; "+ask)
	}
	if r.Quorum <= len(r.Probes)/2 || r.Quorum > len(r.Probes) {
		return failover.Invalid("Config.Role.Quorum", fmt.Sprintf("is %d of %d probes", r.Quorum, len(r.Probes)),
			"choose more than half of the probes and not more than there are")
	}
	seen := map[string]bool{}
	for i, p := range r.Probes {
		field := fmt.Sprintf("Config.Role.Probes[%d]", i)
		switch {
		case p.Name == "" || seen[p.Name]:
			return failover.Invalid(field+".Name", "is empty or used twice", "give each probe its own name")
		case p.Command == "":
			return failover.Invalid(field+".Command", "is empty", ask)
		case p.Primary == "" || p.Secondary == "":
			return failover.Invalid(field, "does not say both what a primary and what a secondary shows",
				"fill in the regular expressions Primary and Secondary")
		}
		seen[p.Name] = true
		if err := compiles(map[string]string{field + ".Primary": p.Primary, field + ".Secondary": p.Secondary}); err != nil {
			return err
		}
	}
	return nil
}

func (r Replication) validate() error {
	const field = "Config.Replication"
	if r.Command == "" {
		if r.Waiver == (failover.Statement{}) {
			return failover.Invalid(field+".Command", "is empty",
				"fill in the command that shows how far the secondary is behind, or give a Waiver with a person's statement; no "+
					"public command shows it")
		}
		return r.Waiver.Validate(field + ".Waiver")
	}
	switch {
	case r.Waiver != (failover.Statement{}):
		return failover.Invalid(field+".Waiver", "is set together with Command", "choose one of them")
	case r.On != OnOldPrimary && r.On != OnNewPrimary:
		return failover.Invalid(field+".On", "is not set", "say where the command runs, OnOldPrimary or OnNewPrimary")
	case r.Unit <= 0:
		return failover.Invalid(field+".Unit", "is not set", "say what one of the number is, for example a second")
	case r.MaxLag < 0:
		return failover.Invalid(field+".MaxLag", "is negative", "use zero for no lag at all")
	}
	re, err := regexp.Compile(r.Lag)
	if err != nil || re.NumSubexp() != 1 {
		return failover.Invalid(field+".Lag", strconv.Quote(r.Lag)+" is not a regular expression with exactly one group",
			"write for example lag=([0-9]+)")
	}
	return nil
}

func (l Licence) validate() error {
	if l.Path == "" && (l.User != "" || len(l.Patterns) > 0) {
		return failover.Invalid("Config.Licence.Path", "is empty, but User or Patterns is set",
			"fill in the path of the licence file")
	}
	if l.Path != "" && !path.IsAbs(l.Path) {
		return failover.Invalid("Config.Licence.Path", strconv.Quote(l.Path)+" is not an absolute path",
			"write the path from / on")
	}
	return nil
}

func (c Config) validatePaths() error {
	for field, value := range map[string]string{"Config.SymRoot": c.SymRoot, "Config.RootInfoDir": c.RootInfoDir,
		"Config.StateDir": c.StateDir, "Config.Shell": c.Shell, "Config.RSJ": c.RSJ,
		"Config.Agent.Control": c.Agent.Control} {
		if !path.IsAbs(value) || path.Clean(value) != value || strings.ContainsAny(value, "\n\t") {
			return failover.Invalid(field, strconv.Quote(value)+" is not a clean absolute path",
				"write the path from / on, without . or .. or a slash at the end")
		}
	}
	if !plainPath.MatchString(c.Shell) {
		return failover.Invalid("Config.Shell", strconv.Quote(c.Shell)+" holds more than letters, digits and ._-+/",
			"the login shell gets it as one plain word, so give a plain path")
	}
	if base := path.Base(c.Shell); slices.Contains(notPosix, base) {
		return failover.Invalid("Config.Shell", base+" is no POSIX shell",
			"give /bin/sh or /usr/bin/ksh; the account's login shell may be "+base)
	}
	if c.StateDir == "/" || c.StateDir == c.SymRoot || strings.HasPrefix(c.StateDir, c.SymRoot+"/") {
		return failover.Invalid("Config.StateDir", strconv.Quote(c.StateDir)+" is below "+c.SymRoot,
			"choose a local folder that does not move or replicate with the service, for example "+defaultStateDir)
	}
	return nil
}

// validatePrograms refuses names that could never be found in a list of processes, and would be absent for ever.
func (c Config) validatePrograms() error {
	if len(c.Agent.Must) == 0 {
		return failover.Invalid("Config.Agent.Must", "is empty", "name the processes of a running agent, or leave it nil")
	}
	names := map[string]string{"Config.Macro.Path": c.Macro.name(), "Config.FailoverD": c.FailoverD}
	for i, must := range c.Agent.Must {
		names[fmt.Sprintf("Config.Agent.Must[%d]", i)] = must
	}
	for field, name := range names {
		if !plainName.MatchString(name) {
			return failover.Invalid(field, strconv.Quote(name)+" is not one plain word",
				"a program is known by its name without folder: use letters, digits and ._+-")
		}
	}
	return nil
}

func (c Config) validateLimits() error {
	switch l := c.Limits; {
	case l.DiskPercent < 1 || l.DiskPercent > 100:
		return failover.Invalid("Config.Limits.DiskPercent", "is "+strconv.Itoa(l.DiskPercent), "choose 1 to 100")
	case l.ClockSkew < 0 || l.DatesAgeDays < 0 || l.ErrorsSince < 0 || l.Look < 0 || c.Agent.Timeout < 0:
		return failover.Invalid("Config.Limits or Config.Agent.Timeout", "is negative", "use zero for the default")
	case c.Poll < 0:
		return failover.Invalid("Config.Poll", "is negative", "use zero for the default")
	case l.Quiet <= 0:
		return failover.Invalid("Config.Limits.Quiet", "is not set",
			"choose how long to wait for jobs and batch queue to come to rest, for example 30 minutes")
	}
	return nil
}

func (c Config) validateVerify() error {
	seen := map[string]bool{"roles": true, "macro-result": true, "failoverd": true, "sym-dates": true,
		"old-primary-silent": true}
	for i, v := range c.Verify {
		field := fmt.Sprintf("Config.Verify[%d]", i)
		switch {
		case v.Name == "" || seen[v.Name] || strings.ContainsAny(v.Name, " \t\n/"):
			return failover.Invalid(field+".Name", strconv.Quote(v.Name)+" is empty, taken or not one word",
				"give each verification its own name")
		case v.Title == "":
			return failover.Invalid(field+".Title", "is empty", "write the sentence a runbook would have")
		case v.On != OnOldPrimary && v.On != OnNewPrimary:
			return failover.Invalid(field+".On", "is not set", "say where the command runs, OnOldPrimary or OnNewPrimary")
		case v.Command == "":
			return failover.Invalid(field+".Command", "is empty", "fill in a command that changes nothing")
		case v.Want == "" && v.Reject == "":
			return failover.Invalid(field+".Want", "is empty, and so is Reject", "say what the output must or must not contain")
		case v.Within < 0:
			return failover.Invalid(field+".Within", "is negative", "use zero for the default")
		}
		seen[v.Name] = true
		if err := compiles(map[string]string{field + ".Want": v.Want, field + ".Reject": v.Reject}); err != nil {
			return err
		}
	}
	return nil
}

var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._+-]+$`)

var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)

// notPosix are shells that do not read our scripts.
var notPosix = []string{"csh", "tcsh", "bsd-csh", "fish", "rc", "es", "rbash", "rksh", "nologin", "false"}

func compiles(fields map[string]string) error {
	for field, text := range fields {
		if _, err := regexp.Compile(text); err != nil {
			return failover.Invalid(field, err.Error(), "write a regular expression in Go's syntax")
		}
	}
	return nil
}

func parseName(into *int, kind string, names []string, text []byte) error {
	if n := slices.Index(names, string(text)); n > 0 {
		*into = n
		return nil
	}
	return failover.Invalid(kind, strconv.Quote(string(text))+" is unknown", "use one of "+strings.Join(names[1:], ", "))
}
