package wayout

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/mdlayher/netlink"
	route "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"staithe/internal/egress"
	"staithe/internal/egress/filter"
	"staithe/internal/station"
)

// router is the kernel's path: a network namespace that stands between the
// sandbox and the host, filters and forwards. Nothing holds it but the sockets
// here: when the process ends, however it does, both links, the rules and the
// table of connections go with it.
type router struct {
	packets []net.PacketConn // where our DNS listens
	streams []net.Listener
	refused *netlink.Conn // NFLOG
	links   *route.Handle
	sandbox int // index of the sandbox's link
	count   *os.File
	gone    <-chan route.LinkUpdate
}

const (
	outsideName = "outside" // the router's link to the host
	// nextHop and nextHop6 are the host, as the router calls it. Nobody has the
	// addresses: the link has two ends, and who is at the other is set down.
	nextHop, nextHop6 = "169.254.1.1", "fe80::1"
	// newRate and newBurst bound the connections that a session begins, each of
	// which the host's kernel remembers for some time.
	newRate, newBurst = 200, 2000
	// tries is how many addresses are tried until one is free.
	tries = 64
)

// routerSettings are the router's own. What is only begun or was ended is soon
// forgotten, or floods would shut the session out; refusals are told without
// delay, for only the sandbox hears them.
var routerSettings = []struct{ path, value string }{
	{"ipv4/conf/all/forwarding", "1"},
	{"ipv6/conf/all/forwarding", "1"},
	{"ipv4/conf/all/send_redirects", "0"},
	{"ipv4/conf/" + outerName + "/send_redirects", "0"},
	{"ipv4/conf/all/accept_redirects", "0"},
	{"ipv4/conf/all/rp_filter", "0"},
	{"ipv4/conf/" + outerName + "/rp_filter", "0"},
	{"ipv4/conf/" + outsideName + "/rp_filter", "0"},
	{"ipv6/conf/" + outerName + "/proxy_ndp", "1"},
	{"ipv4/icmp_ratelimit", "0"},
	{"ipv6/icmp/ratelimit", "0"},
	{"netfilter/nf_conntrack_tcp_timeout_syn_sent", "10"},
	{"netfilter/nf_conntrack_tcp_timeout_time_wait", "10"},
	{"netfilter/nf_conntrack_udp_timeout", "20"},
}

func setAll(optional bool, settings ...struct{ path, value string }) error {
	for _, s := range settings {
		err := os.WriteFile("/proc/sys/net/"+s.path, []byte(s.value), 0)
		if err != nil && !optional {
			return fmt.Errorf("set net/%s: %w", s.path, err)
		}
	}
	return nil
}

// plumbRouter makes the kernel's path, or an error that says why there is none
// and leaves nothing but what the next plumb takes away.
func plumbRouter(sandbox int, session station.ID) (*router, error) {
	v6, err := filter.Ready()
	if err != nil {
		return nil, err
	}
	own, err := ownPrefixes()
	if err != nil {
		return nil, err
	}
	unlock, err := filter.Lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	host, err := route.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer host.Close()
	hostNS, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the host's network namespace: %w", err)
	}
	defer unix.Close(hostNS)
	// The host's rules stand before there is anything that they are about.
	if err := filter.InstallHost(); err != nil {
		return nil, err
	}
	return plumbWith(sandbox, func(h *route.Handle) (*router, error) {
		b := routerBuilder{h: h, host: host, hostNS: hostNS, name: filter.LinkName(session), v6: v6, own: own}
		r, err := b.build()
		if err != nil {
			r.close()
			// Its namespace is about to go; this makes it go at once.
			if l, e := host.LinkByName(b.name); e == nil {
				err = errors.Join(err, host.LinkDel(l))
			}
			return nil, err
		}
		return r, nil
	})
}

// ownPrefixes are the addresses that the host takes for its own.
func ownPrefixes() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, family := range []int{route.FAMILY_V4, route.FAMILY_V6} {
		routes, err := route.RouteListFiltered(family, &route.Route{Table: unix.RT_TABLE_LOCAL}, route.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list the host's addresses: %w", err)
		}
		for _, r := range routes {
			if r.Dst == nil {
				continue
			}
			a, ok := netip.AddrFromSlice(r.Dst.IP)
			ones, _ := r.Dst.Mask.Size()
			if !ok {
				return nil, fmt.Errorf("the host has an address that is none: %s", r.Dst)
			}
			if a = a.Unmap(); ones <= a.BitLen() {
				out = append(out, netip.PrefixFrom(a, ones))
			}
		}
	}
	return out, nil
}

// routerBuilder makes one router, on a thread in its namespace.
type routerBuilder struct {
	h, host *route.Handle
	hostNS  int
	name    string // of the host's end
	v6      bool
	own     []netip.Prefix
}

// build makes all of it, and lets packets pass last.
func (b routerBuilder) build() (*router, error) {
	r := &router{}
	sandbox, err := b.h.LinkByName(outerName)
	if err != nil {
		return r, fmt.Errorf("find our end: %w", err)
	}
	r.sandbox = sandbox.Attrs().Index
	outside, hostEnd, err := b.link()
	if err != nil {
		return r, err
	}
	f := filter.Router{
		Sandbox: outerName, Outside: outsideName, Own: b.own,
		Resolver4: netip.MustParseAddr(egress.Resolver), Resolver6: netip.MustParseAddr(egress.Resolver6),
		Inside4: netip.MustParseAddr(egress.Inside), Inside6: netip.MustParseAddr(egress.Inside6),
		MaxTCP: maxTCP, MaxUDP: maxUDP, NewRate: newRate, NewBurst: newBurst,
	}
	if err := f.Install(); err != nil {
		return r, err
	}
	if err := setAll(false, routerSettings...); err != nil {
		return r, err
	}
	if err := b.sandboxSide(sandbox); err != nil {
		return r, err
	}
	if err := b.addresses(outside, hostEnd); err != nil {
		return r, err
	}
	return r, r.open()
}

// link makes the pair between the router and the host.
func (b routerBuilder) link() (outside, hostEnd route.Link, err error) {
	if old, err := b.host.LinkByName(b.name); err == nil { // of a killed one, about to go
		if err := b.host.LinkDel(old); err != nil && !errors.Is(err, unix.ENODEV) {
			return nil, nil, fmt.Errorf("remove the old interface %s: %w", b.name, err)
		}
	}
	attrs := route.NewLinkAttrs()
	attrs.Name, attrs.MTU = outsideName, mtu
	pair := &route.Veth{LinkAttrs: attrs, PeerName: b.name, PeerNamespace: route.NsFd(b.hostNS), PeerMTU: mtu}
	if err := b.h.LinkAdd(pair); err != nil {
		return nil, nil, fmt.Errorf("make the link to the host: %w", err)
	}
	if outside, err = b.h.LinkByName(outsideName); err != nil {
		return nil, nil, fmt.Errorf("find the link to the host: %w", err)
	}
	if hostEnd, err = b.host.LinkByName(b.name); err != nil {
		return nil, nil, fmt.Errorf("find the host's end: %w", err)
	}
	return outside, hostEnd, nil
}

// sandboxSide gives the router its addresses towards the sandbox.
func (b routerBuilder) sandboxSide(sandbox route.Link) error {
	if lo, err := b.h.LinkByName("lo"); err == nil {
		if err := b.h.LinkSetUp(lo); err != nil {
			return fmt.Errorf("set up loopback: %w", err)
		}
	}
	if err := b.h.LinkSetUp(sandbox); err != nil {
		return fmt.Errorf("set up our end: %w", err)
	}
	for text, bits := range map[string]int{egress.Resolver: egress.Bits, egress.Resolver6: egress.Bits6} {
		if err := addAddress(b.h, sandbox, netip.PrefixFrom(netip.MustParseAddr(text), bits)); err != nil {
			return err
		}
	}
	// The block's last address has no owner: asked for, it is refused at once.
	last := netip.MustParseAddr(egress.Inside6).Next()
	n := &route.Neigh{LinkIndex: sandbox.Attrs().Index, Family: unix.AF_INET6, Flags: route.NTF_PROXY, IP: last.AsSlice()}
	if err := b.h.NeighAdd(n); err != nil {
		return fmt.Errorf("answer for %s: %w", last, err)
	}
	return nil
}

func addAddress(h *route.Handle, l route.Link, p netip.Prefix) error {
	a := &route.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := h.AddrAdd(l, a); err != nil {
		return fmt.Errorf("add address %s: %w", p, err)
	}
	return nil
}

// addresses gives the router an address by which the host knows it, and both the
// way to the other. That the host's route must be new is what makes it one's own.
func (b routerBuilder) addresses(outside, hostEnd route.Link) error {
	for h, l := range map[*route.Handle]route.Link{b.h: outside, b.host: hostEnd} {
		if err := h.LinkSetUp(l); err != nil {
			return fmt.Errorf("set up the link to the host: %w", err)
		}
	}
	families := []struct {
		block netip.Prefix
		hop   string
	}{{filter.Routers4, nextHop}, {filter.Routers6, nextHop6}}
	if !b.v6 {
		families = families[:1]
	}
	for _, f := range families {
		a, err := b.claim(f.block, hostEnd)
		if err != nil {
			return err
		}
		if err := addAddress(b.h, outside, netip.PrefixFrom(a, a.BitLen())); err != nil {
			return err
		}
		if err := know(b.host, hostEnd, a, outside); err != nil {
			return err
		}
		hop := netip.MustParseAddr(f.hop)
		if err := know(b.h, outside, hop, hostEnd); err != nil {
			return err
		}
		all := &net.IPNet{IP: make(net.IP, a.BitLen()/8), Mask: net.CIDRMask(0, a.BitLen())}
		def := &route.Route{LinkIndex: outside.Attrs().Index, Dst: all, Gw: hop.AsSlice(), Flags: int(route.FLAG_ONLINK)}
		if err := b.h.RouteAdd(def); err != nil {
			return fmt.Errorf("add the router's default route: %w", err)
		}
	}
	return nil
}

// claim finds an address that no other router has.
func (b routerBuilder) claim(block netip.Prefix, hostEnd route.Link) (netip.Addr, error) {
	bytes := block.Addr().AsSlice()
	for i := range tries {
		n := hostEnd.Attrs().Index + i
		bytes[len(bytes)-2], bytes[len(bytes)-1] = byte(n>>8), byte(n)
		a, _ := netip.AddrFromSlice(bytes)
		r := &route.Route{
			LinkIndex: hostEnd.Attrs().Index, Scope: route.SCOPE_LINK,
			Dst: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())},
		}
		err := b.host.RouteAdd(r)
		if err == nil {
			return a, nil
		}
		if !errors.Is(err, unix.EEXIST) {
			return a, fmt.Errorf("add the host's route to %s: %w", a, err)
		}
	}
	return netip.Addr{}, fmt.Errorf("no address in %s is free", block)
}

// know sets down who is at the other end, so that nobody asks.
func know(h *route.Handle, l route.Link, a netip.Addr, other route.Link) error {
	n := &route.Neigh{LinkIndex: l.Attrs().Index, State: route.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: other.Attrs().HardwareAddr}
	if err := h.NeighSet(n); err != nil {
		return fmt.Errorf("set down who has %s: %w", a, err)
	}
	return nil
}
