package symitar

import (
	"path"
	"strconv"
	"strings"
)

// process is one row of a process list.
type process struct {
	pid     int64 // AIX numbers pass ten million (documented)
	user    string
	args    string
	defunct bool
}

// parseProcesses reads "ps -eo pid,ppid,user,args". Rows of defunct processes lack fields (documented) and are kept
// with what they have; rows that do not begin with a number, such as the header, are left out.
func parseProcesses(text string) []process {
	var list []process
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		pid, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			continue
		}
		p := process{pid: pid}
		if strings.Contains(line, "<defunct>") {
			p.defunct = true
			list = append(list, p)
			continue
		}
		if len(f) < 4 {
			continue
		}
		p.user = f[2]
		p.args = strings.Join(f[3:], " ")
		list = append(list, p)
	}
	return list
}

// parseFullProcesses reads the table of "ps -ef", which the agent's status prints: UID PID PPID C STIME TTY TIME
// COMMAND. STIME is one field (hh:mm:ss) or two (Mon dd), so the command begins behind the field that looks like a time
// of the form mm:ss with a terminal before it, not at a fixed position.
func parseFullProcesses(text string) []process {
	var list []process
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		pid, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			continue
		}
		p := process{pid: pid, user: f[0]}
		if strings.Contains(line, "<defunct>") {
			p.defunct = true
			list = append(list, p)
			continue
		}
		at := 7 // UID PID PPID C STIME TTY TIME
		if len(f) > 5 && isMonth(f[4]) {
			at = 8
		}
		if len(f) <= at {
			continue
		}
		p.args = strings.Join(f[at:], " ")
		list = append(list, p)
	}
	return list
}

func isMonth(s string) bool {
	switch s {
	case "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec":
		return true
	}
	return false
}

// interpreters run the program that stands in one of their arguments.
var interpreters = map[string]bool{"sh": true, "ksh": true, "ksh88": true, "ksh93": true, "bash": true, "dash": true, "bsh": true,
	"perl": true, "nohup": true, "env": true, "nice": true, "exec": true}

// runs reports whether the process is the program called name, ignoring case: by the last part of its own path, or,
// where an interpreter runs it, by the first argument that is not an option. "grep FAILOVERD" is not.
func (p process) runs(name string) bool {
	f := strings.Fields(p.args)
	for i, word := range f {
		if i > 0 && (strings.HasPrefix(word, "-") || strings.Contains(word, "=") && !strings.Contains(word, "/")) {
			continue
		}
		base := path.Base(strings.TrimPrefix(word, "-"))
		if strings.EqualFold(base, name) {
			return true
		}
		if !interpreters[strings.ToLower(base)] {
			return false
		}
	}
	return false
}

func (p process) String() string { return strconv.FormatInt(p.pid, 10) + " " + p.args }

// respawner is something that would start a program again.
type respawner struct {
	source string // inittab, src, crontab
	line   string
}

// parseRespawners finds what would start the program called name: inittab lines that are not off, active subsystems,
// crontab lines. unread lists the sources that could not be read, partly those that could be read in part only.
func parseRespawners(text, name string) (found, dormant []respawner, unread, partly []string) {
	name = strings.ToLower(name)
	for line := range strings.SplitSeq(text, "\n") {
		if source, why, ok := strings.Cut(line, "? "); ok && source == "crontab" {
			partly = append(partly, source+", "+why)
			continue
		}
		source, rest, ok := strings.Cut(line, ": ")
		if !ok || strings.ContainsAny(source, " !") {
			if source, why, ok := strings.Cut(line, "! "); ok && !strings.Contains(source, " ") {
				unread = append(unread, source+" ("+why+")")
			}
			continue
		}
		rest = strings.TrimSpace(rest)
		if !strings.Contains(strings.ToLower(rest), name) {
			continue
		}
		r := respawner{source, rest}
		switch source {
		case "inittab":
			if strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "#") {
				continue // a comment, on AIX and elsewhere
			}
			if f := strings.SplitN(rest, ":", 4); len(f) == 4 && f[2] == "off" {
				dormant = append(dormant, r)
				continue
			}
		case "src":
			f := strings.Fields(rest)
			if f[len(f)-1] == "inoperative" {
				dormant = append(dormant, r)
				continue
			}
		case "crontab":
			command := rest
			if user, after, ok := strings.Cut(rest, ": "); ok && !strings.ContainsAny(user, " *") {
				command = after
			}
			if strings.HasPrefix(strings.TrimSpace(command), "#") {
				continue
			}
		}
		found = append(found, r)
	}
	return found, dormant, unread, partly
}
