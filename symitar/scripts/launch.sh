# launch.sh STATE RUN USER SHELL STDIN_BYTES RUNNER NAMES EXPECT ANSWERER MACRO [ARG...], behind marks.sh and processes.sh
#
# EXPECT is empty, or the path of expect, which then runs MACRO under the script ANSWERER. NAMES are the programs that
# must not run when MACRO is started: the macro itself, whoever called it, and the daemon that calls it.
# Starts MACRO at most once for the run id RUN. Whoever calls this script again, late or twice at the same time, cannot
# start it a second time: mkdir has exactly one creator, for the lock, for the folder of the run, and (in runner.sh)
# for the mark "fired". Ends within about a second; the macro runs on by itself.
#
#   exit 0   "@@LAUNCHED RUN PID"     72  this run was launched or voided before
# All others prove that this call fires nothing:
#   exit 73  "@@TOOL NAME": a program is missing     74  logged in as somebody else     75  "@@HELD OWNER": another run has the lock
#   exit 76  the answers on stdin did not arrive whole     78  MACRO cannot be executed
#   exit 79  "@@UNSEEN WHY": the process list cannot be trusted     80  "@@FOREIGN ...": one of NAMES runs
#   exit 60-66, 77  see marks.sh
main() {
	state=$1 run=$2 user=$3 shell=$4 bytes=$5 runner=$6 names=$7 expect=$8 answerer=$9
	shift 9
	mask=$(umask)
	umask 077
	dir=$state/run.$run
	[ ! -d "$dir" ] || { echo "@@KNOWN $run"; exit 72; }
	[ "$(id -un)" = "$user" ] || { echo "@@USER $(id -un)"; exit 74; }
	[ -x "$1" ] && [ ! -d "$1" ] || { echo "@@MACRO $1"; exit 78; }
	[ -z "$expect" ] || [ -x "$expect" ] || { echo "@@MACRO $expect"; exit 78; }
	for tool in nohup ps awk sed mkdir mv date; do
		command -v "$tool" >/dev/null 2>&1 || { echo "@@TOOL $tool"; exit 73; }
	done
	home
	hold "$run"
	seen=$(look "" "" "" "$state" $names)
	me=$(printf '%s\n' "$seen" | sed -n 's/^me=//p')
	foreign=$(printf '%s\n' "$seen" | sed -n 's/^named=//p')
	if [ -n "$foreign" ]; then
		# What runs may be this very run, launched by somebody who was faster: then its folder was made before it fired.
		[ ! -d "$dir" ] || { echo "@@KNOWN $run"; exit 72; }
		printf '@@FOREIGN %s\n' "$foreign"
		exit 80
	fi
	[ -n "$me" ] || { echo "@@UNSEEN $(printf '%s\n' "$seen" | sed -n 's/^unseen=//p')"; exit 79; }
	mark "$dir" || { echo "@@KNOWN $run"; exit 72; }
	# From here on nobody else can launch this run, and before nohup nothing can fire.
	need "$dir/processes" "launcher $me"
	need "$dir/names" "$names"
	need "$dir/runner" "$runner"
	[ -z "$expect" ] || need "$dir/answerer" "$answerer"
	if [ "$bytes" -gt 0 ]; then
		said=$(cat 2>&1 >"$dir/answers") || cannot "$dir/answers"
		[ "$(wc -c <"$dir/answers")" -eq "$bytes" ] || { rm -f "$dir/answers"; exit 76; }
	fi
	need "$dir/log" ""
	# In two steps: yash would keep a copy of the session's output open in the runner, and with it the session.
	(
		exec </dev/null >"$dir/log" 2>&1
		exec nohup "$shell" "$dir/runner" watch "$state" "$run" "$shell" "$mask" "$expect" "$@"
	) &
	echo "@@LAUNCHED $run $!"
}

main "$@"
