# Prints what the machine says about itself: cluster name, build, and why a reboot is pending, if one is.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
crm_node -n || exit $?
uname -srm
for file in /run/reboot-required /var/run/reboot-required; do
	if [ -e "$file" ]; then
		echo "$file exists"
		break
	fi
done
exit 0
