# Sets or removes a meta attribute of a resource or group. Arguments: resource, attribute, value ('' removes it).
# Without --force crm_resource sets it on members of a group that have one of their own too, and removes one of theirs
# instead of the group's (seen: 2.1.5).
# Safe to repeat. Exit status: that of crm_resource; 1 where it has done its part and what follows failed.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
if [ -n "$3" ]; then
	crm_resource --force --resource "$1" --meta --set-parameter "$2" --parameter-value "$3"
else
	crm_resource --force --resource "$1" --meta --delete-parameter "$2"
fi || exit $?
# A group goes up and down as a whole: a member with a role of its own would stay behind.
[ "$2" = target-role ] || exit 0
cibadmin --delete-all --force -A "//group[@id='$1']/primitive/meta_attributes/nvpair[@name='target-role']" || exit 1
