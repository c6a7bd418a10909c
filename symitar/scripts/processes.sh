# processes.sh stands before the scripts that look at processes. It defines functions only.
#
# look RUN RECORDS MACRO STATE NAME... reads the list of all processes once and prints:
#
#   unseen=WHY          the list cannot be trusted: what it does not show may be there all the same
#   me=PID PGID START   the shell that asks; START is in seconds after process 1 began, so no clock that is set moves it
#   alive=KIND PID COMMAND         belongs to the run RUN, or may belong to it; KIND is launcher, runner, macro or left
#   named=NAME PID USER COMMAND    runs the program NAME, or may run it, and does not belong to RUN
#
# To RUN belong: the processes written down in RECORDS (lines ROLE PID PGID START), as long as their number was not given
# to another one; their process group; whoever names the folder of the run; and whoever runs MACRO since the run began.
# A program is known by the last part of any word of the command line, alone or with an ending such as .ksh: behind
# expect, su, sudo or a shell it counts too. Only programs that read files do not count. Words below STATE are ours.
look() {
	look_run=$1 look_records=$2 look_macro=$3 look_state=$4
	shift 4
	{
		ps -eo pid,ppid,pgid,user,etime,args 2>/dev/null
		echo "@@ $?"
	} | LOOK_ME=$$ LOOK_RUN=$look_run LOOK_RECORDS=$look_records LOOK_MACRO=$look_macro LOOK_STATE=$look_state LOOK_NAMES=$* awk '
	function base(word) {
		sub(/.*\//, "", word)
		sub(/^-/, "", word)
		return tolower(word)
	}
	function seconds(t, d, n, part) {
		if (t !~ /^([0-9]+-)?([0-9]+:)?[0-9]+:[0-9]+$/) return -1
		d = 0
		if (index(t, "-")) {
			d = substr(t, 1, index(t, "-") - 1)
			t = substr(t, index(t, "-") + 1)
		}
		n = split(t, part, ":")
		return d * 86400 + (n == 3 ? part[1] * 3600 + part[2] * 60 + part[3] : part[1] * 60 + part[2])
	}
	function runs(text, want, n, i, word, b, rest, first) {
		n = split(text, word, /[][ \t"\047();&|<>`=,]+/)
		want = tolower(want)
		for (i = 1; i <= n; i++) {
			if (word[i] == "" || word[i] == state || state != "" && index(word[i], state "/") == 1) continue
			b = base(word[i])
			if (!first && (b in reader)) return 0
			first = 1
			if (b == want) return 1
			rest = substr(b, length(want) + 1)
			if (index(b, want) == 1 && rest ~ /^[^a-z0-9]/ && rest !~ /^\.(log|out|err|txt|lst|doc|pid)$/) return 1
		}
		return 0
	}
	function reads(text, word) {
		split(text, word, /[ \t]+/)
		return base(word[1]) in reader
	}
	function mine(p, n) {
		for (n = 0; n < 50 && p > 1; n++) {
			if (p == me) return 1
			p = parent[p]
		}
		return 0
	}
	BEGIN {
		me = ENVIRON["LOOK_ME"]; run = ENVIRON["LOOK_RUN"]; macro = base(ENVIRON["LOOK_MACRO"]); state = ENVIRON["LOOK_STATE"]
		names = split(ENVIRON["LOOK_NAMES"], name, " ")
		n = split("grep egrep fgrep rg vi vim view ed more less pg tail head cat ls ps find man diff cksum csum sum wc cp file strings printf echo", list, " ")
		for (i = 1; i <= n; i++) reader[list[i]] = 1
		began = -1
		n = split(ENVIRON["LOOK_RECORDS"], list, "\n")
		for (i = 1; i <= n; i++) if (split(list[i], part, " ") == 4) {
			recorded[part[2]] = part[4]
			role[part[2]] = part[1]
			if (part[3] > 1 && !(part[3] in group)) group[part[3]] = part[4]
			if (began < 0 || part[4] < began) began = part[4] + 0
		}
		status = "unknown"
	}
	$1 == "@@" && NF == 2 { status = $2; next }
	/<defunct>[ \t]*$/ || $1 !~ /^[0-9]+$/ || NF < 3 { next }
	{
		pid = $1
		order[++rows] = pid
		parent[pid] = $2
		pgid[pid] = $3
		user[pid] = $4
		age[pid] = seconds($5)
		text = $0
		for (i = 1; i <= 5; i++) sub(/^[ \t]*[^ \t]+/, "", text)
		sub(/^[ \t]+/, "", text)
		args[pid] = text
	}
	END {
		# procps prints a huge age for a process that began while ps looked. Nothing is older than process 1. Where it is the
		# asker, it has just begun; of another one the age is not known.
		for (p in age) if (age[1] >= 0 && age[p] > age[1] + 3) age[p] = p == me ? 0 : -1
		if (status != 0) print "unseen=ps ended with exit status " status
		else if (!(me in parent)) print "unseen=ps does not show the process that asks"
		else if (!(1 in parent)) print "unseen=ps does not show process 1, so perhaps not all others either"
		else if (age[1] < 0 || age[me] < 0) print "unseen=ps does not show how old processes are"
		else {
			seen = 1
			print "me=" me " " pgid[me] " " age[1] - age[me]
		}
		if (run != "" && began < 0) print "unseen=no process of the run was written down"
		booted = seen && began >= 0 && age[1] + 3 < began
		# The number of a group is not given away while a member lives: a leader that is younger leads another group.
		for (g in group) reused[g] = booted || seen && (g in parent) && age[g] >= 0 && age[1] - age[g] > group[g] + 3
		for (i = 1; i <= rows; i++) {
			pid = order[i]
			if (mine(pid)) continue
			start = seen && age[pid] >= 0 ? age[1] - age[pid] : -1
			kind = ""
			if (run != "") {
				if ((pid in recorded) && !booted && (start < 0 || start - recorded[pid] <= 3 && recorded[pid] - start <= 3)) kind = role[pid]
				else if (index(args[pid], state "/run." run) && !reads(args[pid])) kind = "runner"
				else if (began >= 0 && macro != "" && (start < 0 || start >= began - 3) && runs(args[pid], macro)) kind = "macro"
				else if ((pgid[pid] in group) && pgid[pid] != pgid[me] && !reused[pgid[pid]]) kind = "left"
			}
			if (kind != "") {
				print "alive=" kind " " pid " " args[pid]
				continue
			}
			for (n = 1; n <= names; n++) if (runs(args[pid], name[n])) {
				print "named=" name[n] " " pid " " user[pid] " " args[pid]
				break
			}
		}
	}'
}
