#!/usr/bin/env bash
# Runs the tests with the race detector and says at the end, by name, what was not proven.
# One package at a time: the tests against real servers want the machine for themselves.
# Usage: test.sh GO PACKAGE…   With PEERS=required a missing real server is a failure; that is the default for root on Debian.
set -uo pipefail
go=$1
shift
if [ -z "${PEERS:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	export PEERS=required
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$go" test -race -p 1 -timeout 60m -v "$@" 2>&1 | tee "$log" | grep -E '^(ok|FAIL|panic|---? FAIL|    --- FAIL|\?|# )|_test.go:[0-9]+: |^(Error|\s+Error)' | grep -v 'no test files'
status=${PIPESTATUS[0]}
skipped=$(grep -E '^ *--- SKIP' "$log" | sed 's/^ *--- SKIP: //; s/ (.*//' | sort -u)
if [ -n "$skipped" ]; then
	printf '\nNot proven on this machine:\n'
	printf '%s\n' "$skipped" | while read -r name; do
		reason=$(grep -B1 -F -- "--- SKIP: $name " "$log" | head -n 1 | sed 's/^ *//')
		printf '  %s: %s\n' "$name" "$reason"
	done
else
	printf '\nNothing was skipped.\n'
fi
passed=$(grep -cE '^ *--- PASS' "$log")
failed=$(grep -cE '^ *--- FAIL' "$log")
count=$(printf '%s' "$skipped" | grep -c .)
if [ "$status" -ne 0 ]; then
	printf '\nFailed:\n'
	grep -E '^ *--- FAIL' "$log"
	grep -B2 -A40 -E '^(panic:|--- FAIL|WARNING: DATA RACE)' "$log" | head -n 200
fi
printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$count"
exit "$status"
