// Package filter is the packet filter (nftables) of the kernel's path: the table of
// a session's router, which is the policy once more, and the one table on the host.
package filter
