# reserve.sh STATE RUN
#
# Takes the launcher's lock for RUN without launching anything, so that both hosts of the pair are held before the
# macro is fired on one of them. Taking it again for the same run is no error.
#
#   exit 0   "@@RESERVED RUN"   70 STATE cannot be made   71 owner not written   72 this run was voided here
#   exit 75  "@@HELD OWNER"     77 STATE belongs to somebody else or is open to others
main() {
	state=$1 run=$2
	umask 077
	mkdir -p "$state" || exit 70
	safe "$state" || { echo "@@UNSAFE $(ls -ld "$state")"; exit 77; }
	[ ! -d "$state/run.$run/void" ] || { echo "@@KNOWN $run"; exit 72; }
	if mkdir "$state/lock" 2>/dev/null; then
		own "$run" || exit 71
	else
		owner=$(cat "$state/lock/run" 2>/dev/null)
		[ "$owner" = "$run" ] || { echo "@@HELD ${owner:-?}"; exit 75; }
	fi
	echo "@@RESERVED $run"
}

# own writes the owner into the lock that was just made, or gives the lock back.
own() {
	printf '%s\n' "$1" >"$state/lock/run.tmp" && mv -f "$state/lock/run.tmp" "$state/lock/run" && return 0
	rm -f "$state/lock/run.tmp"
	rmdir "$state/lock"
	return 1
}

safe() {
	line=$(ls -lnd "$1") || return 1
	case $line in drwx------*) ;; *) return 1 ;; esac
	set -- $line
	[ "$3" = "$(id -u)" ]
}

main "$@"
