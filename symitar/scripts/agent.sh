# agent.sh CONTROL VERB, behind marks.sh
#
# Runs the agent's control script, behind a line "@@BEGUN". The agent stays behind when VERB is start; its streams go to
# a file, because a process that keeps the session's output open keeps the session from ending.
#
#   exit 60-66 or 78 without "@@BEGUN"  see marks.sh and launch.sh: nothing was run     all others: what CONTROL ended with
main() {
	[ -x "$1" ] && [ ! -d "$1" ] || { echo "@@CANNOT $1"; exit 78; }
	umask 077
	own "${TMPDIR:-/tmp}/agent"
	need "$folder/out" ""
	echo "@@BEGUN"
	"$1" "$2" </dev/null >"$folder/out" 2>&1
	rc=$?
	cat "$folder/out"
	rm -rf "$folder"
	return "$rc"
}

main "$@"
