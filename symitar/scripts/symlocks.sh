# symlocks.sh ROOT
#
# Prints one line per RSJ lock: SYM, tab, "alive" or "stale", tab, the lock's content on one line. The content begins with
# the number of the process that made it.
for lock in "$1"/SYM[0-9][0-9][0-9]/sma_lock; do
	[ -f "$lock" ] || continue
	dir=${lock%/sma_lock}
	text=$(tr '\n\t' '  ' <"$lock")
	pid=$(printf '%s\n' "$text" | sed 's/[^0-9]*\([0-9][0-9]*\).*/\1/')
	state=stale
	case $pid in
	'' | *[!0-9]*) state=alive ;; # unreadable: take it for a living one
	*) [ -z "$(ps -p "$pid" -o pid= 2>/dev/null)" ] || state=alive ;;
	esac
	printf '%s\t%s\t%s\n' "${dir##*/}" "$state" "$text"
done
exit 0
