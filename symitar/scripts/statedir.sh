# statedir.sh STATE
#
# Says whether the launcher's folder can be used, without making it: the file system it is or would be on, and whether
# an existing folder is ours alone.
dir=$1
if [ -e "$dir" ]; then
	line=$(ls -lnd "$dir")
	owner=$(printf '%s\n' "$line" | awk '{print $3}')
	case $line in
	drwx------*) [ "$owner" = "$(id -u)" ] && echo "state=ours" || echo "state=foreign" ;;
	*) echo "state=open" ;;
	esac
else
	echo "state=absent"
	while [ ! -d "$dir" ]; do dir=${dir%/*}; dir=${dir:-/}; done
	[ -w "$dir" ] || echo "state=unwritable"
fi
echo "filesystem=$(df -kP "$dir" | awk 'NR==2 {print $1}')"
