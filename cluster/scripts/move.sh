# Asks the cluster to move a group. Arguments: group, node, mark.
# The mark is written first: it tells our move request from an administrator's if this ends half-way.
# Exit status: that of the Pacemaker tool that failed; 108: the group is there already.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
group=$1 node=$2 mark=$3
id=failover-move-$group
xml="<nvpair id=\"$id-value\" name=\"$id\" value=\"$mark\"/>"
cibadmin -o crm_config -C -X "<cluster_property_set id=\"$id\">$xml</cluster_property_set>" >/dev/null 2>&1
code=$?
if [ "$code" -eq 108 ]; then
	cibadmin -R -A "//nvpair[@id='$id-value']" -X "$xml" >/dev/null
	code=$?
fi
[ "$code" -eq 0 ] || exit "$code"
crm_resource --move --resource "$group" --node "$node"
code=$?
if [ "$code" -eq 105 ] || [ "$code" -eq 108 ]; then
	# Refused: no request stands, so no mark may.
	cibadmin -D -A "//cluster_property_set[@id='$id']" >/dev/null
fi
exit "$code"
