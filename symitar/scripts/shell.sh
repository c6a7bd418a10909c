# shell.sh without parameters
#
# Proves by running that the account can run our scripts, and says what stands between: the login shell, a command that
# the SSH server forces, programs that are missing.
[ -z "${SHELL-}" ] || echo "login=$SHELL"
[ -z "${SSH_ORIGINAL_COMMAND-}" ] || echo "forced=yes"
for tool in awk cat cksum date dd df grep id ls mkdir mv nohup ps rm rmdir sed sleep tail tr wc; do
	command -v "$tool" >/dev/null 2>&1 || echo "missing=$tool"
done
echo "looked=yes"
