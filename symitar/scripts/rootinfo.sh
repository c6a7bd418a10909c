# rootinfo.sh DIR
#
# Says which of the names of RSJ's encrypted root information exist in DIR.
for name in rootInfo rootInfo.encrypted; do
	[ ! -s "$1/$name" ] || echo "$name"
done
exit 0
