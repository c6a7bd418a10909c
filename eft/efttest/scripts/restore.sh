# Makes a folder what a copy holds; what was there is kept beside it. Arguments: copy's folder, the folder to restore.
# Safe to repeat. Exit status: 24 there is no copy, or it is not what its list says; nothing took the folder's place.
LC_ALL=C
export LC_ALL
copy=$1 to=$2
[ -e "$copy/manifest" ] || exit 24
rm -rf -- "$to.restored" || exit 30
cp -Rp -- "$copy/files" "$to.restored" || exit 30
# Nothing takes the folder's place unless it is what the list says, file by file.
list=$(cd -- "$copy" && pwd)/manifest || exit 30
(cd -- "$to.restored" && sha256sum -c --quiet "$list" >&2 && [ "$(find . -type f | wc -l)" -eq "$(wc -l <"$list")" ]) || exit 24
if [ -e "$to" ]; then mv -- "$to" "$to.before-rollback-$(date +%s)-$$" || exit 30; fi
mv -- "$to.restored" "$to" || exit 30
