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
		func() error { return c.Home.validate("Home") },
		func() error { return c.Partner.validate("Partner") },
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

// rule is something that makes a configuration unusable. Of several that are broken the first is told.
type rule struct {
	broken              bool
	field, wrong, right string
}

func firstBroken(rules ...rule) error {
	for _, r := range rules {
		if r.broken {
			return failover.Invalid("Config."+r.field, r.wrong, r.right)
		}
	}
	return nil
}

// pattern is broken where the text is no regular expression.
func pattern(field, text string) rule {
	_, err := regexp.Compile(text)
	return rule{err != nil, field, fmt.Sprint(err), "write a regular expression in Go's syntax"}
}

func (o On) missing() bool { return o != OnOldPrimary && o != OnNewPrimary }

const chooseSide = "say where the command runs, OnOldPrimary or OnNewPrimary"

func (h HostConfig) validate(field string) error {
	if err := firstBroken(
		rule{h.Name == "", field + ".Name", "is empty", "give the machine the name people use for it"},
		rule{strings.ContainsAny(h.Name, " \t\n/"), field + ".Name", strconv.Quote(h.Name) + " contains a blank or a slash",
			"use one word"},
		rule{h.MachineID == "", field + ".MachineID", "is empty", "fill in what \"uname -m\" prints on " + h.Name},
	); err != nil {
		return err
	}
	return h.SSH.Validate("Config." + field + ".SSH")
}

func (c Config) validateHosts() error {
	shared := slices.ContainsFunc(c.Home.SSH.HostKeys,
		func(key string) bool { return slices.Contains(c.Partner.SSH.HostKeys, key) })
	return firstBroken(
		rule{c.Home.Name == c.Partner.Name, "Partner.Name", "is the same as Home.Name", "give each machine its own name"},
		rule{c.Home.SSH.Address == c.Partner.SSH.Address, "Partner.SSH.Address", "is the same as Home's",
			"give each machine's own fixed administration address, never an alias that moves"},
		rule{c.Home.MachineID == c.Partner.MachineID, "Partner.MachineID", "is the same as Home's",
			"fill in what \"uname -m\" prints on " + c.Partner.Name},
		rule{shared, "Partner.SSH.HostKeys", "contains a key of Home",
			"pin each machine's own key; two machines must not share one"},
	)
}

func (m Macro) validate() error {
	const ask = "; no public text says, ask Jack Henry or look into your own runbook"
	rules := []rule{
		{m.Path == "", "Macro.Path", "is empty",
			"fill in the absolute path of the FAILOVER macro, probably /SYM/MACROS/FAILOVER" + ask},
		{!path.IsAbs(m.Path) || strings.Contains(m.Path, "\n"), "Macro.Path",
			strconv.Quote(m.Path) + " is not an absolute path", "write the path from / on"},
		{m.User == "", "Macro.User", "is empty", "fill in the account that must run the macro" + ask},
		{m.On.missing(), "Macro.On", "is not set",
			"say on which host the macro is started, OnOldPrimary or OnNewPrimary" + ask},
		{m.SwitchoverArgs == nil, "Macro.SwitchoverArgs", "is not set",
			"fill in the macro's arguments, an empty list where it takes none" + ask},
		{m.Mode < ModeDetached || m.Mode > ModeHostExpect, "Macro.Mode", "is not set",
			"say whether the macro asks questions: ModeDetached, ModeAnswers or ModeHostExpect" + ask},
		{m.Mode == ModeDetached && len(m.Prompts) > 0, "Macro.Prompts", "is set, but Mode is detached",
			"use ModeAnswers or ModeHostExpect, or remove the prompts"},
		{m.Mode != ModeDetached && len(m.Prompts) == 0, "Macro.Prompts", "is empty, but Mode is " + m.Mode.String(),
			"list the questions and answers, or use ModeDetached"},
		{m.Timeout <= 0, "Macro.Timeout", "is not set", "choose how long to follow the macro, for example 60 minutes" + ask},
		{m.Settle < 0, "Macro.Settle", "is negative", "use zero for the default"},
	}
	for i, p := range m.Prompts {
		field := fmt.Sprintf("Macro.Prompts[%d]", i)
		rules = append(rules,
			rule{m.Mode == ModeHostExpect && p.Question == "", field + ".Question", "is empty",
				"write a regular expression for the question"},
			rule{p.Answer.Empty() && p.Fetch == nil, field + ".Answer", "is empty",
				"give the answer, or a function that fetches it"},
			rule{strings.ContainsAny(p.Answer.Reveal(), "\n\r"), field + ".Answer", "contains a line end",
				"give one line; the line end is added"})
	}
	for _, arg := range slices.Concat(m.SwitchoverArgs, m.FailoverArgs, m.FailbackArgs, []string{m.Path}) {
		rules = append(rules,
			rule{strings.ContainsRune(arg, 0), "Macro", "an argument contains a NUL byte", "remove it"})
	}
	return firstBroken(append(rules, pattern("Macro.Success", m.Success),
		pattern("Macro.Failure", m.Failure))...)
}

func (r Role) validate() error {
	const ask = "no public text says how a role shows; candidates are a marker file, the service address in " +
		"netstat -in, lsvg -o, a mounted /SYM"
	rules := []rule{
		{len(r.Probes) == 0, "Role.Probes", "is empty", "fill in at least one command that tells the role; " + ask},
		{r.Quorum <= len(r.Probes)/2 || r.Quorum > len(r.Probes), "Role.Quorum",
			fmt.Sprintf("is %d of %d probes", r.Quorum, len(r.Probes)),
			"choose more than half of the probes and not more than there are"},
	}
	seen := map[string]bool{"": true}
	for i, p := range r.Probes {
		field := fmt.Sprintf("Role.Probes[%d]", i)
		rules = append(rules,
			rule{seen[p.Name], field + ".Name", "is empty or used twice", "give each probe its own name"},
			rule{p.Command == "", field + ".Command", "is empty", ask},
			rule{p.Primary == "" || p.Secondary == "", field, "does not say both what a primary and what a secondary shows",
				"fill in the regular expressions Primary and Secondary"},
			pattern(field+".Primary", p.Primary), pattern(field+".Secondary", p.Secondary))
		seen[p.Name] = true
	}
	return firstBroken(rules...)
}

func (r Replication) validate() error {
	const field = "Replication"
	waived := r.Waiver != (failover.Statement{})
	if r.Command == "" && waived {
		return r.Waiver.Validate("Config." + field + ".Waiver")
	}
	lag, err := regexp.Compile(r.Lag)
	return firstBroken(
		rule{r.Command == "", field + ".Command", "is empty", "fill in the command that shows how far the secondary is " +
			"behind, or give a Waiver with a person's statement; no public command shows it"},
		rule{waived, field + ".Waiver", "is set together with Command", "choose one of them"},
		rule{r.On.missing(), field + ".On", "is not set", chooseSide},
		rule{r.Unit <= 0, field + ".Unit", "is not set", "say what one of the number is, for example a second"},
		rule{r.MaxLag < 0, field + ".MaxLag", "is negative", "use zero for no lag at all"},
		rule{err != nil || lag.NumSubexp() != 1, field + ".Lag",
			strconv.Quote(r.Lag) + " is not a regular expression with exactly one group", "write for example lag=([0-9]+)"},
	)
}

func (l Licence) validate() error {
	return firstBroken(
		rule{l.Path == "" && (l.User != "" || len(l.Patterns) > 0), "Licence.Path",
			"is empty, but User or Patterns is set", "fill in the path of the licence file"},
		rule{l.Path != "" && !path.IsAbs(l.Path), "Licence.Path", strconv.Quote(l.Path) + " is not an absolute path",
			"write the path from / on"},
	)
}

func (c Config) validatePaths() error {
	var rules []rule
	for field, value := range map[string]string{"SymRoot": c.SymRoot, "RootInfoDir": c.RootInfoDir,
		"StateDir": c.StateDir, "Shell": c.Shell, "RSJ": c.RSJ,
		"Agent.Control": c.Agent.Control} {
		clean := path.IsAbs(value) && path.Clean(value) == value && !strings.ContainsAny(value, "\n\t")
		rules = append(rules, rule{!clean, field, strconv.Quote(value) + " is not a clean absolute path",
			"write the path from / on, without . or .. or a slash at the end"})
	}
	shell := path.Base(c.Shell)
	return firstBroken(append(rules,
		rule{!plainPath.MatchString(c.Shell), "Shell", strconv.Quote(c.Shell) + " holds more than letters, digits and ._-+/",
			"the login shell gets it as one plain word, so give a plain path"},
		rule{slices.Contains(notPosix, shell), "Shell", shell + " is no POSIX shell",
			"give /bin/sh or /usr/bin/ksh; the account's login shell may be " + shell},
		rule{c.StateDir == "/" || c.StateDir == c.SymRoot || strings.HasPrefix(c.StateDir, c.SymRoot+"/"), "StateDir",
			strconv.Quote(c.StateDir) + " is below " + c.SymRoot,
			"choose a local folder that does not move or replicate with the service, for example " + defaultStateDir})...)
}

// validatePrograms refuses names that could never be found in a list of processes, and would be absent for ever.
func (c Config) validatePrograms() error {
	rules := []rule{{len(c.Agent.Must) == 0, "Agent.Must", "is empty",
		"name the processes of a running agent, or leave it nil"}}
	names := map[string]string{"Macro.Path": c.Macro.name(), "FailoverD": c.FailoverD}
	for i, must := range c.Agent.Must {
		names[fmt.Sprintf("Agent.Must[%d]", i)] = must
	}
	for field, name := range names {
		rules = append(rules, rule{!plainName.MatchString(name), field, strconv.Quote(name) + " is not one plain word",
			"a program is known by its name without folder: use letters, digits and ._+-"})
	}
	return firstBroken(rules...)
}

func (c Config) validateLimits() error {
	l := c.Limits
	return firstBroken(
		rule{l.DiskPercent < 1 || l.DiskPercent > 100, "Limits.DiskPercent", "is " + strconv.Itoa(l.DiskPercent),
			"choose 1 to 100"},
		rule{min(l.ClockSkew, l.ErrorsSince, l.Look, c.Agent.Timeout) < 0 || l.DatesAgeDays < 0,
			"Limits or Config.Agent.Timeout", "is negative", "use zero for the default"},
		rule{c.Poll < 0, "Poll", "is negative", "use zero for the default"},
		rule{l.Quiet <= 0, "Limits.Quiet", "is not set",
			"choose how long to wait for jobs and batch queue to come to rest, for example 30 minutes"},
	)
}

func (c Config) validateVerify() error {
	var rules []rule
	seen := map[string]bool{"": true, "roles": true, "macro-result": true, "failoverd": true, "sym-dates": true,
		"old-primary-silent": true}
	for i, v := range c.Verify {
		field := fmt.Sprintf("Verify[%d]", i)
		rules = append(rules,
			rule{seen[v.Name] || strings.ContainsAny(v.Name, " \t\n/"), field + ".Name",
				strconv.Quote(v.Name) + " is empty, taken or not one word", "give each verification its own name"},
			rule{v.Title == "", field + ".Title", "is empty", "write the sentence a runbook would have"},
			rule{v.On.missing(), field + ".On", "is not set", chooseSide},
			rule{v.Command == "", field + ".Command", "is empty", "fill in a command that changes nothing"},
			rule{v.Want == "" && v.Reject == "", field + ".Want", "is empty, and so is Reject",
				"say what the output must or must not contain"},
			rule{v.Within < 0, field + ".Within", "is negative", "use zero for the default"},
			pattern(field+".Want", v.Want), pattern(field+".Reject", v.Reject))
		seen[v.Name] = true
	}
	return firstBroken(rules...)
}

var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._+-]+$`)

var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)

// notPosix are shells that do not read our scripts.
var notPosix = []string{"csh", "tcsh", "bsd-csh", "fish", "rc", "es", "rbash", "rksh", "nologin", "false"}

func parseName(into *int, kind string, names []string, text []byte) error {
	if n := slices.Index(names, string(text)); n > 0 {
		*into = n
		return nil
	}
	return failover.Invalid(kind, strconv.Quote(string(text))+" is unknown", "use one of "+strings.Join(names[1:], ", "))
}
