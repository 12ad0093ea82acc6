#!/bin/sh
# Runs what internal/sandbox/oci does with cgroups under user-mode Linux with
# cgroups v2 alone (cpu, memory, pids and io), for machines that mount them
# otherwise: as an account to which a cgroup was delegated, and as root. This
# machine's files are read through hostfs. It takes some 15 minutes.
# Needs root, and: apt-get install user-mode-linux crun runc uidmap
set -eu
cd "$(dirname "$0")/.."
for tool in linux.uml crun runc newuidmap setpriv; do
	command -v $tool >/dev/null || { echo "$tool is missing: apt-get install user-mode-linux crun runc uidmap util-linux" >&2; exit 1; }
done
at=$(mktemp -d); trap 'rm -rf "$at"' EXIT
chmod 755 "$at"
go test -c -o "$at/oci.test" ./internal/sandbox/oci
CGO_ENABLED=0 go build -o "$at/guest" ./internal/sandbox/sandboxtest/testdata/probeguest
(cat /etc/passwd; echo "rootless:x:43210:43210::/run/rootless:/bin/sh") >"$at/passwd"
(cat /etc/group; echo "rootless:x:43210:") >"$at/group"
echo "rootless:1000000:65536" >"$at/subid"
parts='(StartDialStop|FreezeThaw|StopFrozen|Usage|CPULimit|OpenFiles|person|root)'
bombs='(forks|memory|scratch|inodes|terminals|inotify|descriptors)'
cat >"$at/init" <<INIT
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin SANDBOXTEST_GUEST=$at/guest
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tmpfs -o mode=755 run /run; mkdir -m 1777 /run/tmp
mkdir -p /run/rootless/tmp /dev/pts /dev/shm; mount -t devpts devpts /dev/pts
mount --bind $at/passwd /etc/passwd; mount --bind $at/group /etc/group
mount --bind $at/subid /etc/subuid; mount --bind $at/subid /etc/subgid
chown -R 43210:43210 /run/rootless
ip link set lo up
echo "controllers: \$(cat /sys/fs/cgroup/cgroup.controllers), \$(uname -r)"
cd /sys/fs/cgroup && mkdir -p init service/server && echo \$\$ >init/cgroup.procs && echo "+cpu +memory +pids +io" >cgroup.subtree_control
echo "=== as an account with a cgroup of its own"
chown 43210:43210 service service/cgroup.procs service/cgroup.subtree_control service/server service/server/cgroup.procs
(echo 0 >service/server/cgroup.procs && exec env TMPDIR=/run/rootless/tmp HOME=/run/rootless setpriv --reuid=43210 --regid=43210 --clear-groups \\
	$at/oci.test -test.v -test.run '^(TestConformance|TestAbuse37_Bombs|TestAbuse40_FreezeSurvives.*)\$/^crun\$/^$parts\$/^$bombs\$') && other=1
echo "=== as root"
TMPDIR=/run/tmp HOME=/run $at/oci.test -test.v -test.run '^(TestConformance|TestAbuse37_Bombs|TestAbuse40_FreezeSurvives.*|TestAbuse40_StopWithoutNotes)\$/^(crun|runc)\$/^$parts\$/^$bombs\$' && root=1
[ "\$root\$other" = 11 ] && echo "cgroupv2: passed"
halt -f
INIT
chmod +x "$at/init"
timeout 3600 linux.uml mem=1G root=/dev/root rootfstype=hostfs rootflags=/ rw "init=$at/init" \
	con=null con0=fd:0,fd:1 </dev/null >"$at/log" 2>&1 || true
sed -n '/^controllers/,/Halting/p' "$at/log"
grep -q "^cgroupv2: passed" "$at/log"
