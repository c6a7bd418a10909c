# Sets or removes a meta attribute of a resource or group. Arguments: resource, attribute, value ('' removes it).
# Safe to repeat. Exit status: that of the Pacemaker tool.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
if [ -n "$3" ]; then
	crm_resource --resource "$1" --meta --set-parameter "$2" --parameter-value "$3"
else
	crm_resource --resource "$1" --meta --delete-parameter "$2"
fi
exit $?
