# Puts a node into standby or takes it out. Arguments: node, on or off.
# Safe to repeat. Exit status: that of the Pacemaker tool.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
case $2 in
on) crm_standby --node "$1" --update on ;;
off) crm_standby --node "$1" --delete ;;
*) exit 64 ;;
esac
exit $?
