package symitar

import (
	"embed"
	"strings"
)

//go:embed scripts
var scripts embed.FS

// What runs on the hosts. Each file begins with what it does, what its exit statuses mean and what has to stand before
// it. Of those of the preflight only statedir.sh changes something: it takes away again what it wrote.
var (
	frameScript       = script("frame.sh")
	launchScript      = script("marks.sh", "processes.sh", "launch.sh")
	runnerScript      = preamble + script("marks.sh", "processes.sh", "runner.sh")
	answerScript      = script("answer.exp")
	reserveScript     = script("marks.sh", "reserve.sh")
	statusScript      = script("processes.sh", "status.sh")
	concludeScript    = script("marks.sh", "conclude.sh")
	acknowledgeScript = script("marks.sh", "processes.sh", "acknowledge.sh")
	logScript         = script("log.sh")
	pairLockScript    = script("marks.sh", "pairlock.sh")
	agentScript       = script("marks.sh", "agent.sh")
	filesScript       = script("files.sh")
	identityScript    = script("identity.sh")
	licenceScript     = script("licence.sh")
	macroScript       = script("macro.sh")
	programsScript    = script("processes.sh", "programs.sh")
	respawnScript     = script("respawn.sh")
	rolesScript       = script("roles.sh")
	rootInfoScript    = script("rootinfo.sh")
	shellScript       = script("shell.sh")
	stateDirScript    = script("marks.sh", "statedir.sh")
	symDatesScript    = script("symdates.sh")
	symLocksScript    = script("symlocks.sh")
)

// evalScript runs a command of the site: a slip in it is the command's failure, not that of the script around it.
const evalScript = `eval "$1"`

func script(files ...string) string {
	var b strings.Builder
	for _, file := range files {
		text, err := scripts.ReadFile("scripts/" + file)
		if err != nil {
			panic(err) // a wrong name in the list above shows when any program starts
		}
		b.Write(text)
	}
	return b.String()
}
