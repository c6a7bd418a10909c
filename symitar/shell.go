package symitar

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote"
)

//go:embed scripts/shell.sh
var shellScript string

// noShell says in words what an answer without a begin mark tells, and what helps.
func noShell(shell, stdout, stderr string, exit int) (why, next string) {
	text := strings.ToLower(stdout + "\n" + stderr)
	said := fmt.Sprintf(" (exit status %d%s%s)", exit, tail(", it printed: ", stdout), tail(", and: ", stderr))
	has := func(list ...string) bool {
		for _, s := range list {
			if strings.Contains(text, s) {
				return true
			}
		}
		return false
	}
	switch {
	case has("restricted"):
		return "the account has a restricted shell, which does not run " + shell + said,
			"give the account an ordinary login shell, or use another account"
	case has("not currently available", "currently not available", "nologin"):
		return "the account is closed for logins" + said, "give the account a login shell, or use another account"
	case menu.MatchString(text):
		return "a menu stands before the shell" + said,
			"let the account run commands over SSH without the menu, or use another account"
	case has("syntax error", "parse error", "unexpected", "unmatched", "missing }"):
		return shell + " does not read our scripts: it is no POSIX shell, or what was sent did not arrive whole" + said,
			"set Config.Shell to a POSIX shell such as /bin/sh or /usr/bin/ksh"
	case exit == 126 || exit == 127 || has("not found", "no such file", "unknown command"):
		return "the login shell does not find or run " + shell + said, "set Config.Shell to a POSIX shell that is on the host"
	case has("password"):
		return "a question about the password stands before the shell" + said, "log in by hand once and change the password"
	}
	return "what was sent did not come to a shell: a forced command (ForceCommand, or command= at the key) or a profile " +
			"that ends the session stands before it" + said,
		"let the account run commands over SSH, or use another account"
}

var menu = regexp.MustCompile(`selection ?:|menu|userid ?:|dedicate this console|choose an? `)

// usableShell proves that the account runs our scripts, and has the programs they need. What is in the way is said
// here, before anything is sent that changes something.
func usableShell(ctx context.Context, h *Host) (failover.Item, error) {
	out, err := h.read(ctx, "try the account's shell", shellScript)
	if errors.Is(err, errNoShell) || errors.Is(err, remote.ErrRefused) {
		return failover.Item{Found: plain(err) + "; " + failover.NextOf(err)}, nil
	}
	if err != nil {
		return failover.Item{}, err
	}
	kv := keyValues(out)
	var missing []string
	for line := range strings.Lines(out) {
		if tool, ok := strings.CutPrefix(strings.TrimSpace(line), "missing="); ok {
			missing = append(missing, tool)
		}
	}
	if kv["looked"] != "yes" {
		return failover.Item{Found: "the account's shell answers, and does not carry out our script"}, nil
	}
	if len(missing) > 0 {
		return failover.Item{Found: "not found with Config.Path: " + strings.Join(missing, ", ")}, nil
	}
	found := "scripts run with " + h.set.Shell
	if kv["login"] != "" {
		found += " behind the login shell " + kv["login"]
	}
	if kv["forced"] != "" {
		found += "; a forced command stands before it and passes them on"
	}
	return failover.Item{Done: true, Found: found}, nil
}
