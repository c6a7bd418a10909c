# symlocks.sh ROOT
#
# Prints one line per RSJ lock: SYM, tab, "alive", "stale" or "unknown", tab, the lock's content on one line. The content
# begins with the number of the process that made it; it means something only on the host where that process ran. A list
# of processes that does not show who asks, and process 1, says nothing about the others, and neither does a folder that
# cannot be searched. The last line is "syms=" and how many SYMs there are.
main() {
	root=$1
	before=$(locks)
	numbers=$(ps -eo pid 2>/dev/null) || numbers=
	numbers=" $(echo $numbers) "
	case $numbers in *" 1 "*) ;; *) numbers= ;; esac
	case $numbers in *" $$ "*) ;; *) numbers= ;; esac
	locks | while IFS= read -r row; do
		pid=$(printf '%s\n' "${row#*	}" | sed -n 's/[^0-9]*\([0-9][0-9]*\).*/\1/p')
		state=unknown
		if [ -n "$pid" ] && [ -n "$numbers" ]; then
			state=alive # also who made the lock when the processes had been listed
			case $numbers in
			*" $pid "*) ;;
			*) ! printf '%s\n' "$before" | grep -F -x -e "$row" >/dev/null || state=stale ;;
			esac
		fi
		printf '%s\t%s\t%s\n' "${row%%	*}" "$state" "${row#*	}"
	done
	echo "syms=$(($(ls -d "$root"/SYM[0-9][0-9][0-9]/ 2>/dev/null | wc -l)))"
}

# locks prints for each lock its SYM, tab, and its content on one line.
locks() {
	for dir in "$root"/SYM[0-9][0-9][0-9]; do
		[ ! -d "$dir" ] || [ -x "$dir" ] || printf '%s\t%s\n' "${dir##*/}" "its folder cannot be searched"
		[ -f "$dir/sma_lock" ] || continue
		text=$(tr '\n\t' '  ' <"$dir/sma_lock") || [ -f "$dir/sma_lock" ] || continue
		printf '%s\t%s\n' "${dir##*/}" "$text"
	done
}

main "$@"
