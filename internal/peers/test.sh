#!/usr/bin/env bash
# Runs the tests with the race detector and says at the end, by name, what was not proven.
#
# Usage: test.sh GO PACKAGE…   With PEERS=required a missing real server is a failure; that is the default for root on Debian.
#
# One package at a time: the tests against real servers want the machine for themselves. A package that fails without a
# data race or a panic is run once more, since a busy machine can starve a real cluster; what passed only then is named.
set -uo pipefail
go=$1
shift
if [ -z "${PEERS:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	export PEERS=required
fi
log=$(mktemp)
again=$(mktemp)
trap 'rm -f "$log" "$again"' EXIT

# What is shown of a run; programs under test print lines of their own that begin with "ok" and "FAILS".
lines=$'^(ok  \t|FAIL(\t|$)|panic|# )|^ *--- FAIL'

# run LOG PACKAGE… tests the packages, keeps everything in LOG and shows a line per package.
run() {
	local into=$1
	shift
	"$go" test -race -p 1 -timeout 60m -v "$@" 2>&1 | tee "$into" | grep --line-buffered -E "$lines"
	return "${PIPESTATUS[0]}"
}

run "$log" "$@"
status=$?
if [ "$status" -ne 0 ]; then
	grep -B2 -A40 -E '^(panic:|WARNING: DATA RACE)|^ *--- FAIL|Error Trace' "$log" | head -n 300
	failed=$(sed -n 's/^FAIL[[:space:]]\([^[:space:]]*\/[^[:space:]]*\)[[:space:]].*s$/\1/p' "$log" | sort -u)
	if [ -n "$failed" ] && ! grep -qE '^panic:|WARNING: DATA RACE|\[build failed\]|\[setup failed\]' "$log"; then
		printf '\nOnce more, because they failed:\n%s\n' "$failed"
		# shellcheck disable=SC2086 # one word a package
		run "$again" $failed
		status=$?
		if [ "$status" -eq 0 ]; then
			printf '\nPassed only at the second try:\n'
			grep -E '^ *--- FAIL' "$log" | sed 's/^ *--- FAIL: /  /'
		else
			grep -B2 -A40 -E '^(panic:|WARNING: DATA RACE)|^ *--- FAIL|Error Trace' "$again" | head -n 300
		fi
	fi
fi

skipped=$(grep -E '^ *--- SKIP' "$log" | sed 's/^ *--- SKIP: //; s/ (.*//' | sort -u)
if [ -n "$skipped" ]; then
	printf '\nNot proven on this machine:\n'
	printf '%s\n' "$skipped" | while read -r name; do
		printf '  %s: %s\n' "$name" "$(grep -B1 -F -- "--- SKIP: $name " "$log" | head -n 1 | sed 's/^ *//')"
	done
else
	printf '\nNothing was skipped.\n'
fi
failures=0
[ "$status" -eq 0 ] || failures=$(cat "$log" "$again" | grep -cE '^ *--- FAIL')
printf '%s passed, %s failed, %s skipped\n' "$(grep -cE '^ *--- PASS' "$log")" "$failures" "$(printf '%s' "$skipped" | grep -c .)"
exit "$status"
