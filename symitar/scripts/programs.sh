# programs.sh STATE RUN MACRO NAME..., behind processes.sh
#
# Prints which processes run one of the programs NAME, and whether the list of processes can be trusted; see processes.sh.
# Those that belong to the run RUN, which may be empty, are left out.
main() {
	state=$1 run=$2 macro=$3
	shift 3
	records=
	[ -z "$run" ] || records=$(cat "$state/run.$run/processes" 2>/dev/null)
	[ -n "$records" ] || run=
	look "$run" "$records" "$macro" "$state" "$@"
}

main "$@"
