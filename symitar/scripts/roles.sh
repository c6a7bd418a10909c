# roles.sh NONCE SHELL COMMAND...
#
# Runs the site's role probes one after the other and prints behind each its exit status. One session for all of them
# keeps the answers close together in time.
nonce=$1 shell=$2
shift 2
for command in "$@"; do
	"$shell" -c "$command" </dev/null
	printf '\n@@%s rc=%s\n' "$nonce" "$?"
done
