#!/usr/bin/env bash
# Runs the tests with the race detector and says at the end, by name, what was not proven.
#
# Usage: test.sh GO PACKAGE…   With PEERS=required a missing real server is a failure; that is the default for root on Debian.
#
# Two packages at a time, and one at a time where tests run against real servers, which want the machine for themselves. Nothing is
# run again: a test that fails has failed.
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

# race N PACKAGE… tests N packages at a time.
race() {
	local n=$1
	shift
	[ "$#" -gt 0 ] || return 0
	"$go" test -race -p "$n" -timeout 60m -v "$@" 2>&1 | tee -a "$log" | grep -a --line-buffered -E "$lines"
	return "${PIPESTATUS[0]}"
}

alone='/(cluster|eft|remote|symitar|internal/peers|examples/patroni|examples/symitar-failover)$'
packages=$("$go" list "$@") || exit 1
status=0
# shellcheck disable=SC2046 # one word a package
race 2 $(printf '%s\n' "$packages" | grep -vE "$alone") || status=1
# shellcheck disable=SC2046 # as above
race 1 $(printf '%s\n' "$packages" | grep -E "$alone") || status=1
if [ "$status" -ne 0 ]; then
	grep -a -B2 -A40 -E '^(panic:|WARNING: DATA RACE)|^ *--- FAIL|Error Trace' "$log" | head -n 300
fi

skipped=$(grep -aE '^ *--- SKIP' "$log" | sed 's/^ *--- SKIP: //; s/ (.*//' | sort -u)
if [ -n "$skipped" ]; then
	printf '\nNot proven on this machine:\n'
	printf '%s\n' "$skipped" | while read -r name; do
		printf '  %s: %s\n' "$name" "$(grep -a -B1 -F -- "--- SKIP: $name " "$log" | head -n 1 | sed 's/^ *//')"
	done
else
	printf '\nNothing was skipped.\n'
fi
printf '%s passed, %s failed, %s skipped\n' "$(grep -acE '^ *--- PASS' "$log")" "$(grep -acE '^ *--- FAIL' "$log")" "$(printf '%s' "$skipped" | grep -c .)"
[ "$explored" -eq 0 ] || status=1
exit "$status"
