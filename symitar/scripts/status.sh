# status.sh STATE RUN
#
# Says how the run RUN stands. Changes nothing. Whether the process lives is looked at before the exit status: a run
# that ends between the two looks is then seen as finished, never as lost.
main() {
	state=$1 run=$2
	dir=$state/run.$run
	lock=-
	if [ -d "$state/lock" ]; then
		lock=$(cat "$state/lock/run" 2>/dev/null)
		lock=${lock:-?}
	fi
	echo "lock=$lock"
	if [ ! -d "$dir" ]; then
		echo "run=no"
		return
	fi
	echo "run=yes"
	[ ! -d "$dir/void" ] || echo "void=yes"
	[ ! -f "$dir/acknowledged" ] || echo "acknowledged=yes"
	fired=no
	[ ! -d "$dir/fired" ] || fired=yes
	pid=$(cat "$dir/pid" 2>/dev/null)
	alive=no
	if [ -n "$pid" ]; then
		# Process numbers are used again; only a command line that names this run is ours.
		case $(ps -p "$pid" -o args= 2>/dev/null) in *"run.$run"*) alive=yes ;; esac
	fi
	echo "pid=$pid"
	echo "alive=$alive"
	echo "fired=$fired"
	echo "started=$(cat "$dir/started" 2>/dev/null)"
	echo "rc=$(cat "$dir/rc" 2>/dev/null)"
	echo "ended=$(cat "$dir/ended" 2>/dev/null)"
	echo "now=$(date -u '+%Y-%m-%dT%H:%M:%SZ')"
	size=0
	[ ! -f "$dir/log" ] || size=$(wc -c <"$dir/log")
	echo "log=$((size))"
	echo "boot=$(who -b 2>/dev/null)"
}

main "$@"
