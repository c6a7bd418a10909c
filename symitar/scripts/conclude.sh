# conclude.sh STATE RUN
#
# Makes sure that RUN will never fire, if it has not fired yet, whatever stage its launcher stands at, and says which
# mark proves it. It takes each mark before the launcher or the runner can: the lock (a late launcher then stops with
# 75), the folder of the run (72), the mark "fired" (the runner then ends without running). The folder of the run
# stays for good, so that even a launcher that arrives after the lock was archived starts nothing.
#
#   exit 0   "@@VOID lock|run|fired|before"     exit 83  "@@FIRED": it did fire, nothing was changed
#   exit 70  STATE cannot be made               exit 77  STATE belongs to somebody else or is open to others
main() {
	state=$1 run=$2
	umask 077
	mkdir -p "$state" || exit 70
	safe "$state" || { echo "@@UNSAFE $(ls -ld "$state")"; exit 77; }
	dir=$state/run.$run
	stage=run
	if [ ! -d "$dir" ] && mkdir "$state/lock" 2>/dev/null; then
		own "void.$run" || exit 71
		stage=lock
	fi
	if mkdir "$dir" 2>/dev/null; then
		mkdir "$dir/void" || exit 71
		echo "@@VOID $stage"
		return
	fi
	if [ -d "$dir/void" ]; then
		echo "@@VOID before"
		return
	fi
	if mkdir "$dir/fired" 2>/dev/null; then
		mkdir "$dir/void" || exit 71
		rm -f "$dir/answers"
		echo "@@VOID fired"
		return
	fi
	echo "@@FIRED"
	exit 83
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
