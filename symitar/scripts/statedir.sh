# statedir.sh STATE, behind marks.sh
#
# Says whether the launcher's folder can be used: whose it is, on which file system, and, by writing there and taking it
# away again, that a run has room for its marks. Where the folder does not exist, it is tried beside it.
#
#   exit 60-66  see marks.sh
main() {
	state=$1 where=$1
	umask 077
	if [ -d "$state" ]; then
		line=$(ls -lnd "$state")
		owner=$(printf '%s\n' "$line" | awk '{ print $3 }')
		case $line in
		drwx------*) [ "$owner" = "$(id -u)" ] && found=ours || found=foreign ;;
		*) found=open ;;
		esac
	else
		found=absent
		while [ ! -d "$where" ]; do
			if [ -e "$where" ] || [ -h "$where" ]; then
				said="it is no folder"
				cannot "$where" folder
			fi
			where=${where%/*}
			where=${where:-/}
		done
	fi
	echo "state=$found"
	echo "filesystem=$(df -kP "$where" | awk 'NR == 2 { print $1 }')"
	case $found in ours | absent) ;; *) return ;; esac
	own "${where%/}/failover-probe"
	trap 'rm -rf "$folder"' 0
	text="$line $where a run needs lock, owner, folder, processes, names, runner, answers, log, started, fired, ended, rc, note"
	files="1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"
	said=$({ for n in $files; do printf '%s\n' "$text" >"$folder/$n" || exit 1; done; } 2>&1) || cannot "$folder/file"
	[ "$(cat "$folder"/*)" = "$(for n in $files; do printf '%s\n' "$text"; done)" ] || cannot "$folder/file"
	rm -rf "$folder"
	[ ! -e "$folder" ] || { said="it cannot be removed"; cannot "$folder"; }
}

main "$@"
