# runner DIR UMASK MACRO [ARG...]
#
# Started by launch.sh in the background. Runs MACRO unless the mark "fired" exists already; then it ends without
# running anything. It never removes a mark. The exit status of the macro appears in DIR/rc at once and whole.
main() {
	dir=$1 mask=$2
	shift 2
	printf '%s\n' "$$" >"$dir/pid.tmp" && mv -f "$dir/pid.tmp" "$dir/pid" || exit 80
	if [ -f "$dir/answers" ]; then
		exec <"$dir/answers" || exit 81
		rm -f "$dir/answers"
	fi
	mkdir "$dir/fired" 2>/dev/null || exit 82
	date -u '+%Y-%m-%dT%H:%M:%SZ' >"$dir/started"
	umask "$mask"
	(
		unset LC_ALL COLUMNS
		exec "$@"
	)
	rc=$?
	umask 077
	date -u '+%Y-%m-%dT%H:%M:%SZ' >"$dir/ended"
	printf '%s\n' "$rc" >"$dir/rc.tmp" && mv -f "$dir/rc.tmp" "$dir/rc"
}

main "$@"
