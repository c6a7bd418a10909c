# files.sh RSJ CONTROL
#
# Prints what the host needs to work as primary: whether RSJ and the agent's control script can be executed, the checksum of
# RSJ, what the agent calls its version, and which lines of its configuration name the OpCon servers that it accepts
# and the address that it binds. The configuration is looked for beside the control script.
main() {
	rsj=$1 control=$2
	for file in "$rsj" "$control"; do
		[ -x "$file" ] && [ ! -d "$file" ] || echo "missing=$file"
	done
	echo "rsj=$(cksum <"$rsj")"
	if [ -x "$control" ] && said=$("$control" version </dev/null 2>/dev/null); then
		echo "version=$(printf '%s' "$said" | tr '\n' ' ')"
	fi
	root=${control%/*}
	root=${root%/*}
	for file in "$root"/config/*/lsam.conf; do
		[ -f "$file" ] || continue
		[ -r "$file" ] || { echo "unreadable=$file"; continue; }
		sed -n 's/^[[:space:]]*\(allowed_sam_ip_address[_0-9]*[[:space:]]*=.*\)/server=\1/p; s/^[[:space:]]*\(bound_NIC_adapter_ip[[:space:]]*=[[:space:]]*[^[:space:]].*\)/bound=\1/p' "$file" | grep -v '=[[:space:]]*0\.0\.0\.0'
		echo "config=$file"
	done
	return 0
}

main "$@"
