# frame.sh NONCE SHELL SCRIPT [ARG...]
#
# Runs SCRIPT with SHELL and puts its output between two lines that carry NONCE, so that what a login banner or the
# shell's ENV file prints is told apart from the answer, and an answer that was cut short is recognised.
nonce=$1 shell=$2 text=$3
shift 3
printf '@@%s BEGIN\n' "$nonce"
"$shell" -c "$text" failover "$@"
rc=$?
printf '\n@@%s END rc=%s\n' "$nonce" "$rc"
exit "$rc"
