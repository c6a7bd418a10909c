# Prints the part of the cluster's configuration that holds a text stored under a key. Argument: key.
# Exit status: 105 when there is none, else that of the Pacemaker tool.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
cibadmin -Q -A "//cluster_property_set[@id='$1']"
exit $?
