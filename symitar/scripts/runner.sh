# runner.sh watch STATE RUN SHELL UMASK EXPECT MACRO [ARG...], behind marks.sh and processes.sh
#
# Started by launch.sh in the background. Runs MACRO unless the mark "fired" exists already, or one of the programs in
# the file "names" runs; then it ends without running anything, and the file "refused" says why. It never removes a mark.
# The exit status of the macro appears in the file "rc" at once and whole.
#
# The file "processes" tells by which processes this run lives: launcher, runner, macro. "macro" in place of "watch" is the
# process that becomes the macro.
main() {
	role=$1 state=$2 run=$3 shell=$4 mask=$5 expect=$6
	shift 6
	dir=$state/run.$run
	seen=$(look "$run" "$(cat "$dir/processes")" "" "$state" $(cat "$dir/names"))
	me=$(printf '%s\n' "$seen" | sed -n 's/^me=//p')
	if [ "$role" = macro ]; then
		[ -z "$me" ] || printf 'macro %s\n' "$me" >>"$dir/processes"
		umask "$mask"
		unset LC_ALL COLUMNS
		exec "$@"
	fi
	foreign=$(printf '%s\n' "$seen" | sed -n 's/^named=//p')
	[ -z "$foreign" ] || refuse "runs already: $foreign"
	[ -n "$me" ] || refuse "the process list cannot be trusted: $(printf '%s\n' "$seen" | sed -n 's/^unseen=//p')"
	printf 'runner %s\n' "$me" >>"$dir/processes" || refuse "the runner cannot be written down"
	if [ -f "$dir/answers" ]; then
		exec <"$dir/answers" || refuse "the answers cannot be read"
		rm -f "$dir/answers"
	fi
	put "$dir/started" "$(date -u '+%Y-%m-%dT%H:%M:%SZ')" || refuse "the time of the start cannot be written: $said"
	mkdir "$dir/fired" || exit 82
	set -- "$shell" "$dir/runner" macro "$state" "$run" "$shell" "$mask" "" "$@"
	[ -z "$expect" ] || set -- "$expect" -f "$dir/answerer" "$@"
	"$@"
	rc=$?
	put "$dir/ended" "$(date -u '+%Y-%m-%dT%H:%M:%SZ')"
	put "$dir/rc" "$rc"
}

refuse() {
	put "$dir/refused" "$1" || printf '%s\n' "$1"
	exit 81
}

umask 077
main "$@"
