package filter

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Ready says why the host does not forward for sessions, or V6 what of IPv6 it
// does. Nothing is changed: to forward is a decision about the whole machine, and
// what else filters there is somebody else's.
func Ready() (v6 bool, err error) {
	if !sysctlOn("/proc/sys/net/ipv4/ip_forward") {
		return false, errors.New("the host does not forward (net.ipv4.ip_forward is 0)")
	}
	if !hasDefault(netlink.FAMILY_V4) {
		return false, errors.New("the host has no default route by IPv4")
	}
	if v6 = hasDefault(netlink.FAMILY_V6); v6 && !sysctlOn("/proc/sys/net/ipv6/conf/all/forwarding") {
		return false, errors.New("the host has IPv6 and does not forward it (net.ipv6.conf.all.forwarding is 0)")
	}
	return v6, othersFilter()
}

func sysctlOn(path string) bool {
	b, err := os.ReadFile(path)
	return err == nil && strings.TrimSpace(string(b)) != "0"
}

func hasDefault(family int) bool {
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return false
	}
	for _, r := range routes {
		if r.Dst == nil || r.Dst.IP.Equal(net.IPv4zero) || r.Dst.IP.Equal(net.IPv6zero) {
			if ones := 0; r.Dst != nil {
				if ones, _ = r.Dst.Mask.Size(); ones != 0 {
					continue
				}
			}
			return true
		}
	}
	return false
}

// othersFilter is an error when somebody else filters what the host forwards: a
// packet that we accept they may still drop, and without a word.
func othersFilter() error {
	for _, path := range []string{"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"} {
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), "filter") {
			return errors.New("iptables filters what the host forwards")
		}
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	chains, err := conn.ListChains()
	if err != nil {
		return fmt.Errorf("list the packet filter's chains: %w", err)
	}
	for _, c := range chains {
		if c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookForward || c.Table.Name == TableName ||
			c.Table.Family == nftables.TableFamilyARP || c.Table.Family == nftables.TableFamilyBridge || c.Table.Family == nftables.TableFamilyNetdev {
			continue
		}
		if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
			return fmt.Errorf("the packet filter's table %s drops what is forwarded", c.Table.Name)
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return fmt.Errorf("list the packet filter's rules: %w", err)
		}
		if len(rules) > 0 {
			return fmt.Errorf("the packet filter's table %s has rules about what is forwarded", c.Table.Name)
		}
	}
	return nil
}
