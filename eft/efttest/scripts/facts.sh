# Tells how the product is installed on this node. Arguments: program's version file, file of installed products
# (lines of version, space, name), service control program, runs folder.
# Output, one fact a line: node NAME / program VERSION / product VERSION NAME / service what the control program says
# / reboot / busy NAME / booted SECONDS. A version file that is not there is no error: the shared disk may be elsewhere.
LC_ALL=C
export LC_ALL
version=$1 products=$2 control=$3 runs=$4
printf 'node %s\n' "$(uname -n)"
[ -r "$version" ] && printf 'program %s\n' "$(head -n 1 "$version")"
if [ -r "$products" ]; then
	while IFS= read -r line || [ -n "$line" ]; do
		[ -n "$line" ] && printf 'product %s\n' "$line"
	done <"$products"
fi
said=$("$control" status </dev/null) || { echo "the control program ended with $?" >&2; exit 30; }
printf '%s\n' "$said" | while IFS= read -r line; do
	[ -n "$line" ] && printf 'service %s\n' "$line"
done
[ -e /var/run/reboot-required ] && echo reboot
if [ -r /proc/stat ]; then sed -n 's/^btime \([0-9]*\)$/booted \1/p' /proc/stat; fi
for claim in "$runs"/*.claim "$runs"/*.claim.next*; do # that of a later turn has .next behind it
	[ -e "$claim" ] || continue
	id=${claim##*/}
	id=${id%%.claim*}
	pid=$(sed -n 1p "$claim")
	# A number is used again after a reboot; a process of another account cannot be signalled.
	[ "$(sed -n 3p "$claim")" = "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" ] || continue
	if [ ! -e "$runs/$id.exit" ] && { kill -0 "$pid" 2>/dev/null || [ -d "/proc/$pid" ]; }; then printf 'busy installer, process %s\n' "$pid"; fi
done
exit 0
