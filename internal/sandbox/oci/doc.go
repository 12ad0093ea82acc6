// Package oci makes sandboxes with an installed OCI runtime, crun, runc or
// gVisor's runsc (see gvisor.go for what is different with it): it writes a bundle and lets the runtime, which is well kept by others, do the
// isolating.
//
// What a sandbox is: its own pid, mount, network (loopback only), ipc, uts,
// user and, with cgroups, cgroup namespaces; a read-only root whose /usr is the
// host's; the home as the one place that lasts; moby's seccomp profile; no new
// privileges. The guest is PID 1 as uid 0 of the user namespace and keeps four
// capabilities, with which it starts shells as uid 1000 that have none.
//
// On disk, under the data directory:
//
//	base/FINGERPRINT/       the read-only root, shared by all sandboxes
//	sandboxes/SESSION/      bundle, guest.sock, guest.log, record.json
//	run/oci-ENGINE/SESSION/ the runtime's own state
//
// A gateway that runs as root gives each user a host uid range of their own. A
// gateway that does not maps its own uid to the sandbox's 1000 and the rest to
// its /etc/subuid range: users are then apart from each other by namespaces,
// not by uid.
package oci
