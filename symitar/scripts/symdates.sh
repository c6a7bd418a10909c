# symdates.sh ROOT DAYS
#
# Prints one line per SYM: SYM, tab, "current", "old" (SMA_DATES not changed for DAYS days) or "missing".
for dir in "$1"/SYM[0-9][0-9][0-9]; do
	[ -d "$dir" ] || continue
	file=$dir/LETTERSPECS/SMA_DATES
	state=missing
	if [ -s "$file" ]; then
		state=old
		[ -z "$(find "$file" -mtime "-$2" 2>/dev/null)" ] || state=current
	fi
	printf '%s\t%s\n' "${dir##*/}" "$state"
done
exit 0
