# pairlock.sh STATE VERB ID [CLAIM | FROM CLAIM], behind marks.sh
#
# The lock of a whole procedure on one host: a folder that exactly one caller can make, with the claim inside. ID names
# the run that wants it. VERB is acquire, holder, release or takeover. It never expires.
#
#   exit 0  "@@OURS", "@@FREE" or "@@HOLDER ID" and the claim     exit 75  "@@HOLDER ID" and the claim of somebody else
#   exit 60-66, 77  see marks.sh
main() {
	state=$1 verb=$2 id=$3
	lock=$state/pair.lock
	umask 077
	case $verb in
	acquire)
		home
		if mark "$lock"; then
			claim "$4"
		elif [ "$(owner)" = "$id" ]; then
			[ -f "$lock/claim" ] || need "$lock/claim" "$4" # the run was stopped before it wrote it
		else
			holder
			exit 75
		fi
		echo "@@OURS"
		;;
	holder)
		[ -d "$lock" ] || { echo "@@FREE"; return; }
		holder
		;;
	release)
		[ -d "$lock" ] || { echo "@@FREE"; return; }
		mark "$state/archive"
		remove "$id" "$state/archive/pair.$id.$(date -u '+%Y%m%d%H%M%S').$$"
		echo "@@FREE"
		;;
	takeover)
		from=$4
		home
		mark "$state/archive"
		[ "$(owner)" != "$id" ] || { echo "@@OURS"; return; }
		if [ -d "$lock" ]; then
			remove "$from" "$state/archive/pair.taken.${from:-unknown}.$$"
		fi
		mark "$lock" || { holder; exit 75; }
		claim "$5"
		echo "@@OURS"
		;;
	*) exit 64 ;;
	esac
}

owner() { cat "$lock/id" 2>/dev/null; }

# claim writes the name first: a run that is stopped behind it finds its own lock again. A lock without a name would be
# in everybody's way; it is still only ours, and is given back.
claim() {
	put "$lock/id" "$id" && put "$lock/claim" "$1" && return 0
	rm -f "$lock/id" "$lock/claim"
	rmdir "$lock"
	cannot "$lock"
}

# remove OWNER TO moves the lock away if it is OWNER's, and ends the script where it cannot.
remove() {
	move "$1" "$2"
	rc=$?
	case $rc in
	0) ;;
	1)
		holder
		exit 75
		;;
	*) exit "$rc" ;;
	esac
}

# move is remove's work, in a shell of its own, which ends with 1 where the lock is not OWNER's. The lock may change
# hands between a look and the move, so the look is taken inside the very folder, and only who made "ending" there moves
# it. Who was stopped behind that leaves "ending"; a take-over waits for a moment and goes on in its place.
move() (
	cd "$lock" 2>/dev/null || exit 1
	[ "$(cat id 2>/dev/null)" = "$1" ] || exit 1
	if ! mark ./ending; then
		by=$(cat ending/by 2>/dev/null)
		[ "$verb" = takeover ] || [ "${by:-$id}" = "$id" ] || exit 1
		sleep 1
		mv ending "ended.$$" 2>/dev/null && mark ./ending || exit 1
	fi
	need ./ending/by "$id"
	[ "$(cat "$lock/ending/by" 2>/dev/null)" = "$id" ] || exit 1
	said=$(mv "$lock" "$2" 2>&1) || cannot "$2"
)

holder() {
	echo "@@HOLDER $(owner)"
	cat "$lock/claim" 2>/dev/null
	return 0
}

main "$@"
