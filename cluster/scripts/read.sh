# Prints the node's own cluster name, the cluster's status and its configuration.
# Exit status: that of the Pacemaker tool that failed.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
crm_node -n || exit $?
echo '=====failover====='
crm_mon -1 -r --output-as=xml || exit $?
echo '=====failover====='
cibadmin -Q || exit $?
echo '=====failover====='
