# Gets the request to move a group ready, without effect yet: move.sh makes it one. Arguments: group, node, mark.
# The mark comes first: it tells our request from an administrator's if this ends half-way. Safe to repeat.
# Exit status: that of the Pacemaker tool that failed.
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
# What crm_resource --move makes, with a score that draws nothing.
cibadmin -o constraints -C -X "<rsc_location id=\"cli-prefer-$group\" rsc=\"$group\" role=\"Started\" node=\"$node\" score=\"0\"/>"
code=$?
[ "$code" -eq 108 ] && exit 0
exit "$code"
