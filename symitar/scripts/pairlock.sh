# pairlock.sh STATE VERB ID [CLAIM | FROM CLAIM]
#
# The lock of a whole procedure on one host: a folder that exactly one caller can make, with the claim inside. ID names
# the run that wants it. VERB is acquire, holder, release or takeover. It never expires.
#
#   exit 0  "@@OURS", "@@FREE" or "@@HOLDER ID" and the claim     exit 75  "@@HOLDER ID" and the claim of somebody else
#   exit 70/71  cannot write    77  STATE belongs to somebody else or is open to others
main() {
	state=$1 verb=$2 id=$3
	lock=$state/pair.lock
	umask 077
	case $verb in
	acquire)
		mkdir -p "$state" || exit 70
		safe "$state" || { echo "@@UNSAFE $(ls -ld "$state")"; exit 77; }
		if mkdir "$lock" 2>/dev/null; then
			claim "$id" "$4"
			echo "@@OURS"
			return
		fi
		[ "$(cat "$lock/id" 2>/dev/null)" != "$id" ] || { echo "@@OURS"; return; }
		holder
		exit 75
		;;
	holder)
		[ -d "$lock" ] || { echo "@@FREE"; return; }
		holder
		;;
	release)
		[ -d "$lock" ] || { echo "@@FREE"; return; }
		[ "$(cat "$lock/id" 2>/dev/null)" = "$id" ] || { holder; exit 75; }
		mkdir -p "$state/archive" || exit 70
		mv "$lock" "$state/archive/pair.$id.$(date -u '+%Y%m%d%H%M%S').$$" || exit 71
		echo "@@FREE"
		;;
	takeover)
		from=$4
		mkdir -p "$state/archive" || exit 70
		safe "$state" || { echo "@@UNSAFE $(ls -ld "$state")"; exit 77; }
		now=$(cat "$lock/id" 2>/dev/null)
		[ "$now" != "$id" ] || { echo "@@OURS"; return; }
		if [ -d "$lock" ]; then
			[ "$now" = "$from" ] || { holder; exit 75; }
			# Renaming has one winner; the other one finds nothing to rename.
			mv "$lock" "$state/archive/pair.taken.${from:-unknown}.$$" 2>/dev/null || { holder; exit 75; }
		fi
		mkdir "$lock" 2>/dev/null || { holder; exit 75; }
		claim "$id" "$5"
		echo "@@OURS"
		;;
	*) exit 64 ;;
	esac
}

claim() {
	printf '%s\n' "$2" >"$lock/claim" && printf '%s\n' "$1" >"$lock/id.tmp" && mv -f "$lock/id.tmp" "$lock/id" && return 0
	# A lock without a name would be in everybody's way; it is still only ours.
	rm -f "$lock/claim" "$lock/id.tmp" "$lock/id"
	rmdir "$lock"
	exit 71
}

holder() {
	echo "@@HOLDER $(cat "$lock/id" 2>/dev/null)"
	cat "$lock/claim" 2>/dev/null
	return 0
}

safe() {
	line=$(ls -lnd "$1") || return 1
	case $line in drwx------*) ;; *) return 1 ;; esac
	set -- $line
	[ "$3" = "$(id -u)" ]
}

main "$@"
