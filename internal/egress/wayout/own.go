package wayout

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// isHosts asks the kernel whether an address is one of this host's own, or no
// unicast address to it: its routing table knows all of them, also those that
// no interface shows. When it cannot be asked the answer is yes.
func isHosts(a netip.Addr) bool {
	routes, err := netlink.RouteGet(net.IP(a.AsSlice()))
	if err != nil {
		// No route, so that connecting fails as well; anything else is not known
		// to be harmless.
		return err != unix.ENETUNREACH && err != unix.EHOSTUNREACH
	}
	for _, r := range routes {
		if r.Type != unix.RTN_UNICAST {
			return true
		}
	}
	return len(routes) == 0
}
