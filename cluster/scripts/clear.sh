# Removes our move request and then its mark. Arguments: group, node. Safe to repeat: deleting what is not there succeeds.
# Not by crm_resource --clear, which removes an administrator's ban of the node too (seen: 2.1.5).
# Exit status: that of the tool that did not remove the request; 1 where only the mark stays.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
group=$1 node=$2
cibadmin -D -A "//rsc_location[@id='cli-prefer-$group'][@node='$node']" || exit $?
cibadmin -D -A "//cluster_property_set[@id='failover-move-$group']" || exit 1
