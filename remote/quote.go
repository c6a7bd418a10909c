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
	if strings.Trim(shell, plain) != "" || shell == "" {
		shell = Quote(shell)
	}
	return shell + " -c " + Quote(script) + " failover" + quoteAll(args)
}

// EnvLine puts environment variables, given as NAME=value, in front of a command line of one simple command, such as
// ShellLine builds. It goes through /usr/bin/env, because not every login shell takes NAME=value in front of a command;
// the SSH protocol's own way needs the server's consent (AcceptEnv). Never pass a secret: command lines are visible in
// ps.
func EnvLine(line string, env ...string) string {
	if len(env) == 0 {
		return line
	}
	return "/usr/bin/env" + quoteAll(env) + " " + line
}

func quoteAll(words []string) string {
	var b strings.Builder
	for _, word := range words {
		b.WriteString(" " + Quote(word))
	}
	return b.String()
}

// plain are the characters of a shell's path that stays unquoted, so that command lines are readable in ps and logs.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+"
