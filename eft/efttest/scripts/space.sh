# Tells how much a tree holds and how much is free where it is, or would be created. Argument: path.
# Output: bytes used, space, bytes free.
LC_ALL=C
export LC_ALL
path=$1 used=0
if [ -e "$path" ]; then used=$(du -sk -- "$path" | cut -f 1) || exit 30; fi
while [ ! -e "$path" ]; do path=$(dirname -- "$path"); done
# Names may hold blanks: what is free stands before the percentage.
free=$(df -Pk -- "$path" | awk 'NR == 2 { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+%$/) { print $(i - 1); exit } }')
[ -n "$free" ] || { echo 'df does not say what is free' >&2; exit 30; }
printf '%s %s\n' "$((used * 1024))" "$((free * 1024))"
