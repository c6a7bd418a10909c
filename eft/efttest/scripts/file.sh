# Tells size and SHA-256 of a file. Argument: path. Output: size, space, SHA-256; nothing when it is not there.
LC_ALL=C
export LC_ALL
[ -e "$1" ] || exit 0
sum=$(sha256sum <"$1") || exit 30
size=$(wc -c <"$1") || exit 30
printf '%s %s\n' "$((size))" "${sum%% *}"
