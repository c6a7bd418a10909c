# Copies a folder into a new one, with a list of SHA-256 sums beside it. Arguments: from, to, names to leave out.
# A complete copy stays as it is. Exit status: 0 there is a complete copy; 24 there is nothing that can be copied.
LC_ALL=C
export LC_ALL
from=$1 to=$2
shift 2
[ -e "$to/manifest" ] && exit 0
[ -d "$from" ] || exit 24
rm -rf -- "$to.part" && mkdir -p -- "$to.part/files" || exit 30
cp -Rp -- "$from/." "$to.part/files/" || exit 30
for name; do
	find "$to.part/files" -depth -type d -name "$name" -exec rm -rf {} + || exit 30
done
cd "$to.part/files" || exit 30
# A link would lead to what is there later, and a name with a line break or a backslash could not be listed.
odd=$(find . ! -type f ! -type d -o -name '*\\*' -o -name '*
*') || exit 30
if [ -n "$odd" ]; then
	echo "cannot be copied: $odd" >&2
	cd / && rm -rf -- "$to.part"
	exit 24
fi
find . -type f -exec sha256sum {} + >"../manifest" || exit 30
cd / || exit 30
mv -- "$to.part" "$to" || exit 30
