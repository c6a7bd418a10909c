# macro.sh MACRO
#
# Prints who is logged in, whether MACRO can be executed, and its checksum and size.
echo "user=$(id -un)"
if [ -x "$1" ] && [ ! -d "$1" ]; then
	echo "executable=yes"
	echo "sum=$(cksum <"$1")"
else
	echo "executable=no"
fi
