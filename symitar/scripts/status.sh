# status.sh STATE RUN MACRO, behind processes.sh
#
# Says how the run RUN stands. Changes nothing. Whether its processes live is looked at before the marks: a run that fires
# or ends between the two looks is then seen as fired and finished, never as one that is gone.
#
#   life=lives     alive=KIND PID COMMAND for each process that belongs to the run, or may belong to it
#   life=gone      the whole list of processes was seen, and none belongs to it
#   life=unknown   unseen=WHY: nobody can tell
main() {
	state=$1 run=$2 macro=$3
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
	seen=$(look "$run" "$(cat "$dir/processes" 2>/dev/null)" "$macro" "$state" | grep -v '^me=')
	printf '%s\n' "$seen"
	case $seen in
	alive=* | *"
alive="*) echo "life=lives" ;;
	*unseen=*) echo "life=unknown" ;;
	*) echo "life=gone" ;;
	esac
	[ ! -d "$dir/void" ] || echo "void=yes"
	[ ! -f "$dir/acknowledged" ] || echo "acknowledged=yes"
	[ ! -f "$dir/refused" ] || echo "refused=$(tr '\n' ' ' <"$dir/refused")"
	[ ! -d "$dir/fired" ] || echo "fired=yes"
	echo "started=$(cat "$dir/started" 2>/dev/null)"
	echo "rc=$(cat "$dir/rc" 2>/dev/null)"
	echo "ended=$(cat "$dir/ended" 2>/dev/null)"
	echo "now=$(date -u '+%Y-%m-%dT%H:%M:%SZ')"
	[ ! -r "$dir/log" ] || echo "log=$(($(wc -c <"$dir/log")))"
	echo "boot=$(who -b 2>/dev/null)"
}

main "$@"
