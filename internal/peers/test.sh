#!/usr/bin/env bash
# Runs all tests and says at the end, by name, what was not proven.
#
# Usage: test.sh GO LONG PACKAGE…   With PEERS=required a missing real server is a failure; that is the default for root on Debian.
#
# Tests whose names match LONG go through every order, fault or crash, do something very often, or start very many programs. They
# run without the race detector, which would allow a tenth of that in the same time; all others run with it, four packages at a
# time, because many of them wait for real servers. Nothing is run again: a test that fails has failed.
set -uo pipefail
go=$1 long=$2
shift 2
if [ -z "${PEERS:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	export PEERS=required
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# What is shown while it runs: a line per package with its time, each failure, and how much was explored. Programs under test print
# lines of their own that begin with "ok" and "FAILS".
lines=$'^(ok  \t|FAIL(\t|$)|panic|# )|^ *--- FAIL|[0-9] (histories|kills)'

# pass FLAGS PACKAGE…
pass() {
	local flags=$1
	shift
	# shellcheck disable=SC2086 # one word a flag; no pattern has a space
	"$go" test -timeout 60m -count=1 -v $flags "$@" 2>&1 | tee -a "$log" | grep -a --line-buffered -E "$lines" |
		grep -a --line-buffered -v 'no tests to run'
	return "${PIPESTATUS[0]}"
}

status=0
pass "-p 2 -run $long" "$@" || status=1
pass "-p 4 -race -skip $long" "$@" || status=1
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
exit "$status"
