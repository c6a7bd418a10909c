# Reads a copy again and compares it with its list. Argument: the copy's folder.
# Output: one file a line, SHA-256, space, size, space, path; nothing when there is no copy. Exit status: 24 it differs.
LC_ALL=C
export LC_ALL
[ -e "$1/manifest" ] || exit 0
cd "$1/files" || exit 24
sha256sum -c --quiet ../manifest >&2 || exit 24
[ "$(find . -type f | wc -l)" -eq "$(wc -l <../manifest)" ] || { echo 'files were added' >&2; exit 24; }
while read -r sum path; do
	size=$(wc -c <"$path") || exit 24
	printf '%s %s %s\n' "$sum" "$((size))" "${path#./}"
done <../manifest
