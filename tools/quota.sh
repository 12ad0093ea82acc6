#!/bin/sh
# Runs the test of project quotas (internal/volume) under user-mode Linux, for
# machines whose own kernel has none: the kernel of Debian's package
# user-mode-linux, an ext4 in a file, this machine's files read through hostfs.
# Needs root, and: apt-get install user-mode-linux kmod e2fsprogs
set -eu
cd "$(dirname "$0")/.."
for tool in linux.uml insmod mkfs.ext4; do
	command -v $tool >/dev/null || { echo "$tool is missing: apt-get install user-mode-linux kmod e2fsprogs" >&2; exit 1; }
done
at=$(mktemp -d); trap 'rm -rf "$at"' EXIT
CGO_ENABLED=0 go test -c -o "$at/volume.test" ./internal/volume
truncate -s 64M "$at/disk"
mkfs.ext4 -q -O quota,project -E quotatype=prjquota "$at/disk"
cat >"$at/init" <<INIT
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t tmpfs run /run; mkdir /run/disk
for m in quota_tree quota_v2; do insmod /usr/lib/uml/modules/\$(uname -r)/kernel/fs/quota/\$m.ko; done
mount -t ext4 -o prjquota /dev/ubdb /run/disk
TMPDIR=/run STAITHE_TEST_PRJQUOTA=/run/disk $at/volume.test -test.v -test.run 'TestProjectQuota|TestIDMapped' && echo "quota: passed"
halt -f
INIT
chmod +x "$at/init"
timeout 300 linux.uml mem=384M root=/dev/root rootfstype=hostfs rootflags=/ rw "ubdb=$at/disk" "init=$at/init" \
	con=null con0=fd:0,fd:1 </dev/null >"$at/log" 2>&1 || true
sed -n '/^=== RUN/,/Halting/p' "$at/log"
grep -q "^quota: passed" "$at/log"
