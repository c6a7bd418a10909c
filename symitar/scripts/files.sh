# files.sh RSJ CONTROL
#
# Prints what the host needs to work as primary: whether RSJ and the agent's control script can be executed and their
# checksums, what the agent calls its version, and which lines of its configuration name the OpCon servers that it accepts
# and the address that it binds. The configuration is looked for beside the control script.
main() {
	rsj=$1 control=$2
	for file in "$rsj" "$control"; do
		name=control
		[ "$file" != "$rsj" ] || name=rsj
		if [ -x "$file" ] && [ ! -d "$file" ]; then
			echo "$name=$(cksum <"$file")"
		else
			echo "$name.missing=$file"
		fi
	done
	[ ! -x "$control" ] || echo "version=$("$control" version </dev/null 2>/dev/null | tr -s ' \n\t' '   ')"
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
