# reserve.sh STATE RUN, behind marks.sh
#
# Takes the launcher's lock for RUN without launching anything, so that both hosts of the pair are held before the
# macro is fired on one of them. Taking it again for the same run is no error.
#
#   exit 0   "@@RESERVED RUN"   72 this run was voided here   75  "@@HELD OWNER"   60-66, 77  see marks.sh
main() {
	state=$1 run=$2
	umask 077
	home
	[ ! -d "$state/run.$run/void" ] || { echo "@@KNOWN $run"; exit 72; }
	hold "$run"
	echo "@@RESERVED $run"
}

main "$@"
