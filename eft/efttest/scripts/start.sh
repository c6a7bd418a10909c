# Starts the installer in the background, once for a run ID. Arguments: runs folder, run ID, SHA-256, control program,
# turn, installer, its arguments. Whoever links the claim first runs the installer; everybody else does nothing. A claim
# that says void was taken so that nothing starts under it, by a start that gave up or by run.sh: it stays, and a start of
# the next turn, which is the number of those claims, takes the next. The installer outlives this session.
# Exit status: 0 it was claimed, by this call or an earlier one; 21 the file is another one; 22 it is not there;
# 23 the runs folder cannot be made; 31 nobody claimed it within ten seconds, and nobody can any more.
LC_ALL=C
export LC_ALL
runs=$1 id=$2 want=$3 control=$4 turn=$5 program=$6
shift 6
claim=$runs/$id.claim
while [ "$turn" -gt 0 ]; do claim=$claim.next turn=$((turn - 1)); done
[ "$(cat "$claim" 2>/dev/null)" = void ] && exit 31
[ -e "$claim" ] && exit 0
[ -f "$program" ] || exit 22
sum=$(sha256sum <"$program") || exit 22
[ "${sum%% *}" = "$want" ] || exit 21
mkdir -p -- "$runs" || exit 23
# shellcheck disable=SC2016
setsid /bin/sh -c '
	runs=$1 id=$2 claim=$3 control=$4
	shift 4
	mine=$runs/$id.$$
	{ echo $$; date +%s; cat /proc/sys/kernel/random/boot_id 2>/dev/null; } >"$mine" || exit 1
	ln "$mine" "$claim" || { rm -f "$mine"; exit 0; }
	rm -f "$mine"
	# Meanwhile the service is stopped as often as the installer starts it.
	while :; do "$control" stop; sleep 1; done </dev/null >/dev/null 2>&1 &
	guard=$!
	"$@" </dev/null >"$runs/$id.log" 2>&1
	code=$?
	kill "$guard"
	wait "$guard" 2>/dev/null
	"$control" stop </dev/null >/dev/null 2>&1
	{ echo "$code"; date +%s; } >"$runs/$id.exit.new" && mv "$runs/$id.exit.new" "$runs/$id.exit"
' eft "$runs" "$id" "$claim" "$control" "$program" "$@" </dev/null >/dev/null 2>&1 &
n=0
while [ ! -e "$claim" ]; do
	n=$((n + 1))
	if [ "$n" -gt 100 ]; then
		# Whoever takes the claim decides: with it taken nothing can start any more, however late it is.
		echo void >"$runs/$id.void.$$"
		ln "$runs/$id.void.$$" "$claim" 2>/dev/null
		rm -f -- "$runs/$id.void.$$"
	fi
	sleep 0.1
done
[ "$(cat "$claim")" = void ] && exit 31
exit 0
