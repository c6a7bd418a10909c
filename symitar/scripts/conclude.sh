# conclude.sh STATE RUN, behind marks.sh
#
# Makes sure that RUN will never fire, if it has not fired yet, whatever stage its launcher stands at, and says which
# mark proves it. It takes each mark before the launcher or the runner can: the lock (a late launcher then stops with
# 75), the folder of the run (72), the mark "fired" (the runner then ends without running). The folder of the run
# stays for good, so that even a launcher that arrives after the lock was archived starts nothing.
#
#   exit 0   "@@VOID lock|run|fired|before"     exit 83  "@@FIRED": it did fire, nothing was changed
#   exit 60-66, 77  see marks.sh: the mark could not be made, so nothing is proven; nothing was fired by that either
main() {
	state=$1 run=$2
	umask 077
	home
	dir=$state/run.$run
	stage=run
	if [ ! -d "$dir" ] && mark "$state/lock"; then
		put "$state/lock/run" "void.$run" || { rmdir "$state/lock"; cannot "$state/lock"; }
		stage=lock
	fi
	if mark "$dir"; then
		mark "$dir/void"
		echo "@@VOID $stage"
	elif [ -d "$dir/void" ]; then
		echo "@@VOID before"
	elif mark "$dir/fired" || ours; then
		mark "$dir/void"
		rm -f "$dir/answers"
		echo "@@VOID fired"
	else
		echo "@@FIRED"
		exit 83
	fi
}

# ours reports whether "fired" was made by a call like this one that was cut behind it: the runner writes "started" first.
ours() {
	marks=$(ls "$dir") || return 1
	case " $(echo $marks) " in
	*" started "*) return 1 ;;
	*" fired "*) return 0 ;;
	esac
	return 1
}

main "$@"
