# symlocks.sh ROOT
#
# Prints one line per RSJ lock: SYM, tab, "alive", "stale" or "unknown", tab, the lock's content on one line. The content
# begins with the number of the process that made it; it means something only on the host where that process ran. A list
# of processes that does not show who asks, and process 1, says nothing about the others, and neither does a folder that
# cannot be searched. The last line is "syms=" and how many SYMs there are.
main() {
	numbers=$(ps -eo pid 2>/dev/null) || numbers=
	numbers=" $(echo $numbers) "
	case $numbers in *" 1 "*) ;; *) numbers= ;; esac
	case $numbers in *" $$ "*) ;; *) numbers= ;; esac
	syms=0
	for dir in "$1"/SYM[0-9][0-9][0-9]; do
		[ -d "$dir" ] || continue
		syms=$((syms + 1))
		lock=$dir/sma_lock
		[ -x "$dir" ] || printf '%s\tunknown\t%s\n' "${dir##*/}" "its folder cannot be searched"
		[ -f "$lock" ] || continue
		text=$(tr '\n\t' '  ' <"$lock")
		pid=$(printf '%s\n' "$text" | sed 's/[^0-9]*\([0-9][0-9]*\).*/\1/')
		case $pid in
		'' | *[!0-9]*) state=unknown ;;
		*)
			state=unknown
			case $numbers in
			*" $pid "*) state=alive ;;
			?*) state=stale ;;
			esac
			;;
		esac
		printf '%s\t%s\t%s\n' "${dir##*/}" "$state" "$text"
	done
	echo "syms=$syms"
}

main "$@"
