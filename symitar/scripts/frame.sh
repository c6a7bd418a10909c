# frame.sh NONCE PATH [ARG...]
#
# Runs the function "script" and puts its output between two lines that carry NONCE, so that what a login banner or the
# shell's ENV file prints is told apart from the answer, and an answer that was cut short is recognised.
frame() {
	nonce=$1 PATH=$2 LC_ALL=C COLUMNS=1024
	export PATH LC_ALL COLUMNS
	shift 2
	printf '@@%s BEGIN\n' "$nonce"
	# The exit keeps zsh from waiting for what a script leaves in the background.
	(
		script "$@"
		exit $?
	)
	rc=$?
	printf '\n@@%s END rc=%s\n' "$nonce" "$rc"
	exit "$rc"
}
