# launch.sh STATE RUN USER SHELL STDIN_BYTES RUNNER EXPECT ANSWERER MACRO [ARG...]
#
# EXPECT is empty, or the path of expect, which then runs MACRO under the script ANSWERER.
# Starts MACRO at most once for the run id RUN. Whoever calls this script again, late or twice at the same time, cannot
# start it a second time: mkdir has exactly one creator, for the lock, for the folder of the run, and (in runner.sh)
# for the mark "fired". Ends within about a second; the macro runs on by itself.
#
#   exit 0   "@@LAUNCHED RUN PID"
#   exit 70  STATE cannot be made      71  the lock's owner cannot be written     72  this run was launched or voided before
#   exit 73  the runner cannot be written   74  logged in as somebody else        75  "@@HELD OWNER": another run has the lock
#   exit 76  the answers on stdin did not arrive whole   77  STATE belongs to somebody else or is open to others
#   exit 78  MACRO cannot be executed
main() {
	state=$1 run=$2 user=$3 shell=$4 bytes=$5 runner=$6 expect=$7 answerer=$8
	shift 8
	mask=$(umask)
	umask 077
	[ "$(id -un)" = "$user" ] || { echo "@@USER $(id -un)"; exit 74; }
	[ -x "$1" ] && [ ! -d "$1" ] || { echo "@@MACRO $1"; exit 78; }
	[ -z "$expect" ] || [ -x "$expect" ] || { echo "@@MACRO $expect"; exit 78; }
	mkdir -p "$state" || exit 70
	safe "$state" || { echo "@@UNSAFE $(ls -ld "$state")"; exit 77; }
	dir=$state/run.$run
	[ ! -d "$dir" ] || { echo "@@KNOWN $run"; exit 72; }
	if mkdir "$state/lock" 2>/dev/null; then
		own "$run" || exit 71
	else
		owner=$(cat "$state/lock/run" 2>/dev/null)
		[ "$owner" = "$run" ] || { echo "@@HELD ${owner:-?}"; exit 75; }
	fi
	mkdir "$dir" 2>/dev/null || { echo "@@KNOWN $run"; exit 72; }
	printf '%s\n' "$runner" >"$dir/runner" || exit 73
	if [ -n "$expect" ]; then
		printf '%s\n' "$answerer" >"$dir/answerer" || exit 73
		set -- "$expect" -f "$dir/answerer" "$@"
	fi
	if [ "$bytes" -gt 0 ]; then
		cat >"$dir/answers" || exit 76
		[ "$(wc -c <"$dir/answers")" -eq "$bytes" ] || { rm -f "$dir/answers"; exit 76; }
	fi
	nohup "$shell" "$dir/runner" "$dir" "$mask" "$@" </dev/null >"$dir/log" 2>&1 &
	echo "@@LAUNCHED $run $!"
}

# own writes the owner into the lock that was just made. A lock without an owner would be in everybody's way, and nobody
# can have launched under it.
own() {
	printf '%s\n' "$1" >"$state/lock/run.tmp" && mv -f "$state/lock/run.tmp" "$state/lock/run" && return 0
	rm -f "$state/lock/run.tmp"
	rmdir "$state/lock"
	return 1
}

# safe tells whether the folder is ours alone: in a place open to all, somebody else may have made it first.
safe() {
	line=$(ls -lnd "$1") || return 1
	case $line in drwx------*) ;; *) return 1 ;; esac
	set -- $line
	[ "$3" = "$(id -u)" ]
}

main "$@"
