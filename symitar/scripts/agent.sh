# agent.sh CONTROL VERB
#
# Runs the agent's control script. The agent stays behind when VERB is start; its streams go to a file, because a
# process that keeps the session's output open keeps the session from ending.
main() {
	umask 077
	out=${TMPDIR:-/tmp}/agent.$$.out
	set -C
	: >"$out" || exit 70
	set +C
	"$1" "$2" </dev/null >"$out" 2>&1
	rc=$?
	cat "$out"
	rm -f "$out"
	return "$rc"
}

main "$@"
