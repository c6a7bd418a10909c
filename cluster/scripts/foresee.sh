# Prints what the cluster would do if a group were asked to move, and then what it would do once nothing holds the group
# there. Arguments: group, node, the group's stickiness meanwhile, its stickiness afterwards ('' removes it, - leaves it).
# Changes nothing in the cluster: all of it happens to a copy of its configuration and state, which is removed.
# Exit status: that of the Pacemaker tool that failed; 127 without crm_simulate.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
group=$1 node=$2
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
stick() {
	case $1 in
	-) ;;
	'') crm_resource --force --resource "$group" --meta --delete-parameter resource-stickiness ;;
	*) crm_resource --force --resource "$group" --meta --set-parameter resource-stickiness --parameter-value "$1" ;;
	esac >/dev/null
}
cibadmin -Q >"$dir/cib" || exit $?
CIB_file=$dir/cib
export CIB_file
stick "$3" || exit $?
crm_resource --move --resource "$group" --node "$node" >/dev/null || exit $?
crm_simulate --xml-file "$dir/cib" --simulate --save-output "$dir/then" --output-as=xml || exit $?
echo '=====failover====='
CIB_file=$dir/then
crm_resource --clear --resource "$group" --node "$node" >/dev/null || exit $?
stick "$4" || exit $?
crm_simulate --xml-file "$dir/then" --simulate --output-as=xml || exit $?
exit 0
