#!/usr/bin/env bash
# start-s3.sh FOLDER PORT MONITOR_PORT KEY SECRET
# A private S3 on http://127.0.0.1:PORT: Ceph's object gateway with a monitor and an object storage daemon that keeps
# all in memory; what they write is in FOLDER. Prints "ready" when it answers. When its standard input ends, so with the
# process that started it, however that dies, it ends the daemons and removes FOLDER.
# Needs: apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common
set -euo pipefail
folder=$1 port=$2 monitor_port=$3 key=$4 secret=$5

export CEPH_CONF=$folder/ceph.conf
cluster=$(cat /proc/sys/kernel/random/uuid)
osd=$(cat /proc/sys/kernel/random/uuid)
mkdir -p "$folder"/{mon,osd,rgw,run,log}
# The monitor's intervals are short, so that it starts in a second. A page of a listing is short, so that tests see pages.
cat >"$CEPH_CONF" <<END
[global]
fsid = $cluster
mon host = v1:127.0.0.1:$monitor_port
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
run dir = $folder/run
admin socket = $folder/run/\$name.\$pid.asok
log file = $folder/log/\$name.log
mon data = $folder/mon
mon data avail crit = 1
mon data avail warn = 1
mon allow pool size one = true
paxos propose interval = 0.02
paxos min wait = 0.01
osd data = $folder/osd
osd objectstore = memstore
osd class update on start = false
osd crush update on start = false
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
memstore device bytes = 8G
[client.rgw]
rgw data = $folder/rgw
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw run sync thread = false
rgw max listing results = 10
END

daemons=()
end() {
  trap '' PIPE # whoever read what is printed here may be gone
  # Nothing is worth keeping, and the gateway takes seconds to end well.
  [ ${#daemons[@]} = 0 ] || kill -KILL "${daemons[@]}" 2>/dev/null || true
  wait
  rm -rf "$folder"
}
trap end EXIT
trap exit TERM INT HUP

monmaptool --create --fsid "$cluster" --addv a "[v1:127.0.0.1:$monitor_port]" "$folder/monmap" >/dev/null
ceph-mon --mkfs -i a --monmap "$folder/monmap"
ceph-mon -f -i a & daemons+=($!)
id=$(ceph osd new "$osd")
ceph-osd -i "$id" --mkfs --osd-uuid "$osd"
ceph-osd -f -i "$id" & daemons+=($!)
ceph osd crush add "osd.$id" 1 root=default host=localhost
radosgw-admin user create --uid=hasty --display-name=hasty --access-key="$key" --secret-key="$secret" >/dev/null
radosgw -f -n client.rgw & daemons+=($!)
until (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
  kill -0 "${daemons[@]}"
  sleep .05
done
echo ready
while read -r _; do :; done
