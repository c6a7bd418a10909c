package powershelltest

// Shell is what sshd on a Windows machine hands a command line to: the registry value DefaultShell.
type Shell int

// The shells that are in use.
const (
	ShellCmd        Shell = iota // cmd.exe, which is the default
	ShellPowerShell              // powershell.exe -c
	ShellPwsh                    // pwsh.exe -c
	ShellBash                    // bash.exe -c
)

// Shells returns all of them, by name.
func Shells() map[string]Shell {
	return map[string]Shell{"cmd": ShellCmd, "powershell": ShellPowerShell, "pwsh": ShellPwsh, "bash": ShellBash}
}

// Exit returns what arrives of a program's exit status. PowerShell with -c ends with 0 or 1 (documented; seen: 7.6), a
// POSIX shell has eight bits.
func (s Shell) Exit(status int) int {
	switch {
	case s == ShellBash:
		return status & 0xff
	case s != ShellCmd && status != 0:
		return 1
	}
	return status
}

// NotFound returns what the shell says of a program that is not there: text on standard error, and the exit status.
func (s Shell) NotFound(program string) (string, int) {
	switch s {
	case ShellPowerShell: // 5.1 breaks lines at 80 columns
		return program + " : Die Benennung \"" + program + "\" wurde nicht als Name eines Cmdlet erkannt.\r\n" +
			"    + CategoryInfo          : ObjectNotFound: (" + program + ":String) [], CommandNotFo\r\n   undException\r\n" +
			"    + FullyQualifiedErrorId : CommandNotFoundException\r\n", 1
	case ShellPwsh: // 7 names no error category (seen: 7.6)
		return "\x1b[31;1m" + program + ": \x1b[31;1mThe term '" + program + "' is not recognized as a name of a cmdlet, function, " +
			"script file, or executable program.\x1b[0m\r\n", 1
	case ShellBash:
		return "bash: line 1: " + program + ": command not found\n", 127
	case ShellCmd:
	}
	return "'" + program + "' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n", 9009
}
