#!/usr/bin/env bash
# Runs the tests with the race detector and says at the end, by name, what was not proven.
#
# Usage: test.sh GO PACKAGE…   With PEERS=required a missing real server is a failure; that is the default for root on Debian.
#
# One package at a time: the tests against real servers want the machine for themselves. Nothing is run again: a test that
# fails has failed.
set -uo pipefail
go=$1
shift
if [ -z "${PEERS:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	export PEERS=required
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The engine's histories are explored, and its processes killed, without the race detector, which would allow a tenth of that in the
# same time.
"$go" test -count=1 -v -run '^Test(Explore|KillAt)' . | grep -E 'histories|kills|violat|in the history|^(---|ok|FAIL|panic)'
explored=${PIPESTATUS[0]}

# What is shown while it runs: a line per package with its time, and each failure. Programs under test print lines of their own that
# begin with "ok" and "FAILS".
lines=$'^(ok  \t|FAIL(\t|$)|panic|# )|^ *--- FAIL'

"$go" test -race -p 1 -timeout 60m -v "$@" 2>&1 | tee "$log" | grep --line-buffered -E "$lines"
status=${PIPESTATUS[0]}
if [ "$status" -ne 0 ]; then
	grep -B2 -A40 -E '^(panic:|WARNING: DATA RACE)|^ *--- FAIL|Error Trace' "$log" | head -n 300
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
printf '%s passed, %s failed, %s skipped\n' "$(grep -cE '^ *--- PASS' "$log")" "$(grep -cE '^ *--- FAIL' "$log")" "$(printf '%s' "$skipped" | grep -c .)"
[ "$explored" -eq 0 ] || status=1
exit "$status"
