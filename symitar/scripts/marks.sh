# marks.sh stands before the scripts that leave marks in the state directory. It defines functions only.
#
# A mark that cannot be made is no mark that exists already. Every script then prints "@@CANNOT PATH: what was said" and
# ends with the exit status of the cause. Nothing was fired by it.
#
#   60  the file system is read-only      61  no space is left     62  no inodes are left     63  no right to write
#   65  something that is no folder is in the way, or its folder is missing                  66  another cause
#   77  "@@UNSAFE ...": the state directory belongs to somebody else or is open to others

# mark DIR makes a folder. Of many who try at once, exactly one gets status 0; 1 means that it was there.
mark() {
	for again in 1 2 3; do
		said=$(mkdir "$1" 2>&1) && return 0
		[ ! -d "$1" ] || return 1
	done
	cannot "$1" folder
}

# own PREFIX makes a folder that nobody else has, and leaves its path in $folder. What a call that was cut left behind, or
# somebody else put there, is passed over.
own() {
	for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do
		folder=$1.$$.$n
		mark "$folder" && return 0
	done
	said="twenty of that name exist"
	cannot "$folder"
}

# put FILE TEXT writes a file. It appears whole or not at all.
put() {
	said=$({ printf '%s\n' "$2" >"$1.tmp" && mv -f "$1.tmp" "$1"; } 2>&1) && [ "$(cat "$1" 2>/dev/null; echo .)" = "$2
." ] && return 0
	rm -f "$1.tmp"
	return 1
}

# need FILE TEXT is put, and ends the script where it cannot.
need() {
	put "$1" "$2" || cannot "$1"
}

# cannot PATH [folder] ends the script with the cause why PATH cannot be made; $said is what the command said about it.
cannot() {
	echo "@@CANNOT $1: $(printf '%s' "$said" | tr '\n' ' ')"
	above=${1%/*}
	above=${above:-/}
	left=$(df -kP "$above" 2>/dev/null | awk 'NR == 2 { print $4 }')
	case $said in
	*[Rr]ead-only* | *'read only'*) exit 60 ;;
	*'No space'* | *'not enough space'*) [ "${left:-0}" -gt 0 ] 2>/dev/null && exit 62 || exit 61 ;;
	*[Qq]uota*) exit 61 ;;
	esac
	[ -d "$above" ] || exit 65
	if [ -n "${2-}" ] && { [ -e "$1" ] || [ -h "$1" ]; }; then exit 65; fi
	[ -w "$above" ] || exit 63
	[ "${left:-1}" != 0 ] || exit 61
	exit 66
}

# home makes the state directory, and makes sure that it is ours alone: in a place open to all, somebody else may have
# made it first.
home() {
	if [ ! -d "$state" ]; then
		said=$(mkdir -p "$state" 2>&1) || [ -d "$state" ] || cannot "$state" folder
	fi
	line=$(ls -lnd "$state")
	case $line in
	drwx------*)
		set -- $line
		[ "$3" != "$(id -u)" ] || return 0
		;;
	esac
	echo "@@UNSAFE $line"
	exit 77
}

# hold OWNER takes the launcher's lock, or goes on where OWNER has it already. A lock without an owner would be in
# everybody's way, so one that cannot be written is given back.
hold() {
	if mark "$state/lock"; then
		put "$state/lock/run" "$1" && return 0
		rmdir "$state/lock"
		cannot "$state/lock"
	fi
	owner=$(cat "$state/lock/run" 2>/dev/null)
	[ "$owner" = "$1" ] || { echo "@@HELD ${owner:-?}"; exit 75; }
}
