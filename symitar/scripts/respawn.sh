# respawn.sh without parameters
#
# Prints everything that could start a daemon by itself, each line behind the name of its source: inittab, the system
# resource controller, crontabs. "SOURCE!" instead of "SOURCE:" means that the source could not be read, "SOURCE?" that
# it could be read in part only, because the account is not root. The last line is "looked=yes".
main() {
	hidden=
	if command -v lsitab >/dev/null 2>&1; then
		show inittab lsitab -a
	elif [ -f /etc/inittab ]; then
		show inittab cat /etc/inittab
	else
		echo "inittab! neither lsitab nor /etc/inittab"
	fi
	if command -v lssrc >/dev/null 2>&1; then
		show src lssrc -a
	else
		echo "src! no lssrc"
	fi
	# An account without a crontab is no failure; crontab tells both by the same exit status, and apart by words (AIX, Linux,
	# System V).
	if text=$(crontab -l 2>&1); then
		printf '%s\n' "$text" | sed 's/^/crontab: /'
	else
		case $text in
		*[Pp]ermission*) unread "$text" ;;
		*0481-103* | *[Nn]'o crontab'* | *"an't open"*) ;;
		*) unread "$text" ;;
		esac
	fi
	folder=/var/spool/cron/crontabs
	[ ! -d "${folder%/*}" ] || ls "$folder" >/dev/null 2>&1 || hidden=yes
	for file in "$folder"/*; do
		[ -f "$file" ] || continue
		if [ -r "$file" ]; then
			sed "s|^|crontab: ${file##*/}: |" "$file"
		else
			hidden=yes
		fi
	done
	[ -z "$hidden" ] || echo "crontab? those of other accounts cannot be read as $(id -un)"
	echo "looked=yes"
}

unread() { echo "crontab! crontab -l: $(printf '%s' "$1" | tr '\n' ' ')"; }

show() {
	name=$1
	shift
	if ! text=$("$@" 2>&1); then
		echo "$name! $* ended with an error"
	elif [ -n "$text" ]; then
		printf '%s\n' "$text" | sed "s/^/$name: /"
	else
		echo "$name! $* printed nothing"
	fi
}

main "$@"
