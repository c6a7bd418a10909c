# roles.sh NONCE COMMAND...
#
# Runs the site's role probes one after the other and prints behind each its exit status. One session for all of them
# keeps the answers close together in time.
main() {
	nonce=$1
	shift
	for command in "$@"; do
		(eval "$command") </dev/null
		printf '\n@@%s rc=%s\n' "$nonce" "$?"
	done
}

main "$@"
