# licence.sh FILE USER [PATTERN...]
#
# Prints about the licence file: whether it is there, readable and not empty, its checksum, and which of the PATTERNs
# (extended regular expressions) match no line of it, or cannot be looked for. Never prints its content.
main() {
	file=$1 user=$2
	shift 2
	[ -f "$file" ] || { echo "state=missing"; return; }
	[ -s "$file" ] || { echo "state=empty"; return; }
	if [ -n "$user" ] && [ "$user" != "$(id -un)" ]; then
		su "$user" -c 'test -r "$0"' "$file" </dev/null >/dev/null 2>&1 || { echo "state=not shown to be readable by $user: su -c 'test -r' fails"; return; }
	else
		[ -r "$file" ] || { echo "state=unreadable"; return; }
	fi
	echo "state=present"
	echo "sum=$(cksum <"$file")"
	n=0
	for re in "$@"; do
		n=$((n + 1))
		grep -E -e "$re" "$file" >/dev/null 2>&1
		case $? in
		0) ;;
		1) echo "unmatched=$n" ;;
		*) echo "unread=$n" ;;
		esac
	done
}

main "$@"
