# Replaces a text in the cluster's configuration if it is the one expected. Arguments: key, old, new; '' is none.
# The configuration's own operations decide: creating fails with 108 when the key exists, replacing with 105 when the
# old text is not there.
# Exit status: 0 done, 105 or 108 another text is stored, else that of the Pacemaker tool that failed.
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
key=$1 old=$2 new=$3
xml="<nvpair id=\"$key-value\" name=\"$key\" value=\"$new\"/>"
if [ -z "$old" ]; then
	cibadmin -o crm_config -C -X "<cluster_property_set id=\"$key\">$xml</cluster_property_set>"
elif [ -n "$new" ]; then
	cibadmin -R -A "//nvpair[@id='$key-value'][@value='$old']" -X "$xml"
else
	# Deleting what is not there succeeds, so the caller reads afterwards.
	cibadmin -D -A "//cluster_property_set[@id='$key'][nvpair/@value='$old']"
fi
exit $?
