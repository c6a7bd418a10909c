# Asks the cluster to move a group, by the request that arm.sh got ready. Arguments: group, node.
# The cluster's configuration replaces it only where it still stands: once it was removed nothing can act any more,
# however late this comes.
# Exit status: that of the Pacemaker tool; 105: the request was removed.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
group=$1 node=$2
cibadmin -R -A "//rsc_location[@id='cli-prefer-$group'][@node='$node'][@score='0']" \
	-X "<rsc_location id=\"cli-prefer-$group\" rsc=\"$group\" role=\"Started\" node=\"$node\" score=\"INFINITY\"/>"
exit $?
