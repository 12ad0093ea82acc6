// Package wayout is the process that is one session's way out: a userspace
// TCP/IP stack (gVisor's) on one end of a link into the sandbox's network
// namespace, ordinary sockets on the host on the other, and a policy between
// them. Nothing of the sandbox's packets reaches the host's own stack.
//
// The link is a veth pair: one end is the sandbox's eth0, the other is in a
// network namespace that nothing but our packet socket holds. When the process
// ends, however it ends, that socket closes, and the kernel removes the
// namespace and both ends: nothing is left on the host to clean.
package wayout
