# acknowledge.sh STATE RUN NOTE LEFT MACRO, behind marks.sh and processes.sh
#
# Archives the launcher's lock of a run that is over, so that another run can be launched. The folder of the run stays
# where it is, with log and exit status, and keeps a late launcher of the same run from starting anything.
#
# LEFT names what a person has looked at: numbers of processes that the macro left behind and that may stay, the word
# "unseen" where nobody can tell whether it lives, or "services" for everything that does not run MACRO itself.
#
#   exit 0   "@@ARCHIVED" or "@@NOLOCK"     75  "@@HELD OWNER": the lock belongs to another run
#   exit 84  "@@ALIVE KIND PID COMMAND", one line each: processes of the run that LEFT does not name
#   exit 85  "@@UNSEEN WHY": nobody can tell whether it lives, and LEFT does not say "unseen"
#   exit 60-66, 77  see marks.sh; "@@NOTED" before it: the run is acknowledged, and its lock could not be moved
main() {
	state=$1 run=$2 note=$3 left=$4 macro=$5
	umask 077
	home
	mark "$state/archive"
	dir=$state/run.$run
	# Its folder may have been removed while it works; that nothing of it was written down is no news then.
	[ -d "$dir" ] || (left="$left unseen" && over) || exit $?
	if mark "$dir"; then
		mark "$dir/void"
	elif [ ! -d "$dir/void" ] && [ ! -f "$dir/acknowledged" ]; then
		over
		if mark "$dir/fired"; then mark "$dir/void"; fi
	fi
	rm -f "$dir/answers" # where the runner never came to read them
	said=$(printf '%s\n' "$note" 2>&1 >>"$dir/acknowledged") || cannot "$dir/acknowledged"
	if [ ! -d "$state/lock" ]; then
		echo "@@NOLOCK"
		return
	fi
	owner=$(cat "$state/lock/run" 2>/dev/null)
	case $owner in
	"$run" | "void.$run") ;;
	*) echo "@@HELD ${owner:-?}"; exit 75 ;;
	esac
	said=$(mv "$state/lock" "$state/archive/$run.$(date -u '+%Y%m%d%H%M%S').$$" 2>&1) && echo "@@ARCHIVED" && return
	echo "@@NOTED"
	cannot "$state/archive/$run"
}

# over ends the script unless the run is over as far as LEFT does not allow for.
over() {
	records=$(cat "$dir/processes" 2>/dev/null)
	seen=$(look "$run" "$records" "$macro" "$state")
	open=$(printf '%s\n' "$seen" | sed -n 's/^alive=//p' | while read -r kind pid command; do
		case " $left " in
		(*" $pid "*) continue ;;
		(*" services "*) [ "$kind" != left ] || continue ;;
		esac
		printf '@@ALIVE %s %s %s\n' "$kind" "$pid" "$command"
	done)
	[ -z "$open" ] || { printf '%s\n' "$open"; exit 84; }
	case $seen in
	*unseen=*) case " $left " in *" unseen "*) ;; *) echo "@@UNSEEN $(printf '%s\n' "$seen" | sed -n 's/^unseen=//p')"; exit 85 ;; esac ;;
	esac
}

main "$@"
