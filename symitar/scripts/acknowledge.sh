# acknowledge.sh STATE RUN NOTE
#
# Archives the launcher's lock of a run that is over, so that another run can be launched. The folder of the run stays
# where it is, with log and exit status, and keeps a late launcher of the same run from starting anything.
#
#   exit 0   "@@ARCHIVED" or "@@NOLOCK"   70/71 cannot write   75 "@@HELD OWNER": the lock belongs to another run
#   exit 84  "@@RUNNING PID": the macro still runs
main() {
	state=$1 run=$2 note=$3
	umask 077
	mkdir -p "$state/archive" || exit 70
	dir=$state/run.$run
	if ! mkdir "$dir" 2>/dev/null; then
		pid=$(cat "$dir/pid" 2>/dev/null)
		if [ -d "$dir/fired" ] && [ -n "$pid" ]; then
			case $(ps -p "$pid" -o args= 2>/dev/null) in *"run.$run"*) [ -f "$dir/rc" ] || { echo "@@RUNNING $pid"; exit 84; } ;; esac
		fi
		if [ ! -d "$dir/void" ] && mkdir "$dir/fired" 2>/dev/null; then
			mkdir "$dir/void" || exit 71
		fi
	else
		mkdir "$dir/void" || exit 71
	fi
	rm -f "$dir/answers" # where the runner never came to read them
	printf '%s\n' "$note" >>"$dir/acknowledged" || exit 71
	if [ ! -d "$state/lock" ]; then
		echo "@@NOLOCK"
		return
	fi
	owner=$(cat "$state/lock/run" 2>/dev/null)
	case $owner in
	"$run" | "void.$run") ;;
	*) echo "@@HELD ${owner:-?}"; exit 75 ;;
	esac
	mv "$state/lock" "$state/archive/$run.$(date -u '+%Y%m%d%H%M%S').$$" || exit 71
	echo "@@ARCHIVED"
}

main "$@"
