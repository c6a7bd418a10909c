# Removes our move request and then its mark.
# Arguments: group, node. Safe to repeat. Exit status: that of the Pacemaker tool that failed.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
group=$1 node=$2
crm_resource --clear --resource "$group" --node "$node" || exit $?
cibadmin -D -A "//cluster_property_set[@id='failover-move-$group']" || exit $?
exit 0
