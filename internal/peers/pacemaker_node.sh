#!/bin/sh
# One cluster node. Runs as the first process of its own mount, network, host name, IPC and process namespaces.
# Arguments: node name, folder of the node. Its end is the end of every process of the node; it ends when standard
# input does, so that nothing outlives the test.
set -eu
exec 3<&0 </dev/null
trap 'exit 0' TERM
(
	cat <&3 >/dev/null
	kill -TERM 1
) &
exec 3<&-
name=$1
dir=$2
# A cluster node is not starved by other work; here it shares the machine with every other test.
renice -n -15 -p $$ >/dev/null 2>&1 || :
mount --make-rprivate /
hostname "$name"
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
for pair in corosync:/etc/corosync lib-corosync:/var/lib/corosync lib-pacemaker:/var/lib/pacemaker log-pacemaker:/var/log/pacemaker; do
	from=$dir/${pair%%:*}
	to=${pair#*:}
	mkdir -p "$from" "$to"
	mount --bind "$from" "$to"
done
mkdir -p /run/crm /run/pacemaker /run/lock /run/resource-agents /run/sshd \
	/var/lib/pacemaker/cib /var/lib/pacemaker/pengine /var/lib/pacemaker/blackbox /var/lib/pacemaker/cores
chown hacluster:haclient /run/crm /var/lib/pacemaker /var/lib/pacemaker/cib /var/lib/pacemaker/pengine \
	/var/lib/pacemaker/blackbox /var/lib/pacemaker/cores /var/log/pacemaker
mkdir -p "$dir/ocf"
cp -a /usr/lib/ocf/resource.d/. "$dir/ocf/"
rm -rf "$dir/ocf/failover"
cp -a "$dir/agents" "$dir/ocf/failover"
mount --bind "$dir/ocf" /usr/lib/ocf/resource.d
ip link set lo up
touch "$dir/ready"
while [ ! -e "$dir/wired" ]; do sleep 0.05; done
corosync -f >"$dir/corosync.log" 2>&1 &
for _ in $(seq 100); do
	corosync-cmapctl -q runtime.votequorum.this_node_id >/dev/null 2>&1 && break
	sleep 0.1
done
pacemakerd >"$dir/pacemakerd.log" 2>&1 &
while :; do wait || :; sleep 1; done
