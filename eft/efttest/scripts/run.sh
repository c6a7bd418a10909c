# Tells what became of a run of the installer. Arguments: runs folder, run ID, void or nothing. With void it takes the
# claim where nobody has, so that a start that comes later does nothing.
# Output: none TURN | running BEGAN | ended BEGAN CODE ENDED | lost BEGAN, then the end of the log.
LC_ALL=C
export LC_ALL
runs=$1 id=$2
claim=$runs/$id.claim
turn=0
pass() { while [ "$(cat "$claim" 2>/dev/null)" = void ]; do claim=$claim.next turn=$((turn + 1)); done; }
pass
if [ "$3" = void ] && [ ! -e "$claim" ]; then
	mine=$runs/$id.void.$$
	mkdir -p -- "$runs" && echo void >"$mine" || exit 23
	ln "$mine" "$claim" 2>/dev/null || [ -e "$claim" ] || exit 23
	rm -f -- "$mine"
	pass
fi
[ -e "$claim" ] || { echo "none $turn"; exit 0; }
pid=$(sed -n 1p "$claim")
began=$(sed -n 2p "$claim")
boot=$(sed -n 3p "$claim")
alive() { [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" ] && { kill -0 "$pid" 2>/dev/null || [ -d "/proc/$pid" ]; }; }
# The order matters: a run that ends between two looks has written its exit code.
if alive; then state="running $began"; else state="lost $began"; fi
if [ -e "$runs/$id.exit" ]; then
	state="ended $began $(sed -n 1p "$runs/$id.exit") $(sed -n 2p "$runs/$id.exit")"
fi
echo "$state"
[ -r "$runs/$id.log" ] && tail -c 2000 "$runs/$id.log"
exit 0
