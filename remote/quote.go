package remote

import "strings"

// Quote makes s one word of a POSIX shell command line, whatever it contains. It uses single quotes only, which
// every Bourne-like shell reads the same way. A NUL byte cannot be passed to any command; [Host.Run] refuses it.
func Quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// ShellLine builds the command line that lets shell run script with args as its positional parameters $1, $2, …:
//
//	/bin/sh -c 'script' failover 'arg' 'arg'
//
// The script travels as one argument inside the exec request, so it arrives whole or not at all. It must not be
// piped to "sh -s": a cut stream runs the part that arrived.
func ShellLine(shell, script string, args ...string) string {
	var b strings.Builder
	b.WriteString(word(shell))
	b.WriteString(" -c ")
	b.WriteString(Quote(script))
	b.WriteString(" failover")
	for _, arg := range args {
		b.WriteByte(' ')
		b.WriteString(Quote(arg))
	}
	return b.String()
}

// EnvLine puts environment variables, given as NAME=value, in front of a command line of one simple command, such as
// ShellLine builds. It goes through /usr/bin/env, because not every login shell takes NAME=value in front of a command;
// the SSH protocol's own way needs the server's consent (AcceptEnv). Never pass a secret: command lines are visible in
// ps.
func EnvLine(line string, env ...string) string {
	if len(env) == 0 {
		return line
	}
	var b strings.Builder
	b.WriteString("/usr/bin/env")
	for _, kv := range env {
		b.WriteByte(' ')
		b.WriteString(Quote(kv))
	}
	b.WriteByte(' ')
	b.WriteString(line)
	return b.String()
}

// word leaves plain paths unquoted so that command lines stay readable in ps and logs.
func word(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+", r)
	}
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return Quote(s)
	}
	return s
}
