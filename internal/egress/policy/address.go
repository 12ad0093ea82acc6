package policy

import "net/netip"

// special4 are the IPv4 blocks that are not public unicast (the IANA
// special-purpose registry, RFC 6890 and later), with the reason that the log
// gives. 168.63.129.16 is public by its number, but on Azure it is the host's
// own agent.
var special4 = blocks(
	"0.0.0.0/8", "this network",
	"10.0.0.0/8", "private",
	"100.64.0.0/10", "shared by carriers and overlays",
	"127.0.0.0/8", "loopback",
	"168.63.129.16/32", "a cloud's metadata service",
	"169.254.0.0/16", "link-local, where metadata services are",
	"172.16.0.0/12", "private",
	"192.0.0.0/24", "reserved for protocols",
	"192.0.2.0/24", "documentation",
	"192.88.99.0/24", "a relay of 6to4",
	"192.168.0.0/16", "private",
	"198.18.0.0/15", "benchmarking",
	"198.51.100.0/24", "documentation",
	"203.0.113.0/24", "documentation",
	"224.0.0.0/4", "multicast",
	"240.0.0.0/4", "reserved or broadcast",
)

// special6 are the blocks within 2000::/3 that are not public unicast. All
// outside of it is refused but what embeds an IPv4 address by NAT64.
var special6 = blocks(
	"2001::/23", "reserved for protocols, Teredo among them",
	"2001:db8::/32", "documentation",
	"3fff::/20", "documentation",
)

var (
	global6 = netip.MustParsePrefix("2000::/3")
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixTo4  = netip.MustParsePrefix("2002::/16")    // RFC 3056
)

type block struct {
	prefix netip.Prefix
	what   string
}

func blocks(pairs ...string) []block {
	var out []block
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, block{netip.MustParsePrefix(pairs[i]), pairs[i+1]})
	}
	return out
}

// NotPublic says why an address is no public unicast one; empty: it is.
func NotPublic(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "no address"
	case a.Zone() != "":
		return "link-local"
	case a.Is4():
		return inBlocks(a, special4)
	case a.Is4In6():
		// Never on the wire (RFC 4291, 2.5.5.2): only a trick has it.
		return "an IPv4 address in IPv6 clothes"
	case nat64.Contains(a), sixTo4.Contains(a):
		e, _ := embedded(a)
		if why := inBlocks(e, special4); why != "" {
			return "a tunnel to an address that is " + why
		}
		return ""
	case !global6.Contains(a):
		return outside6(a)
	}
	if why := inBlocks(a, special6); why != "" {
		return why
	}
	// ISATAP (RFC 5214) hides an IPv4 address in the interface's half.
	if e, ok := isatap(a); ok && inBlocks(e, special4) != "" {
		return "a tunnel to an address that is " + inBlocks(e, special4)
	}
	return ""
}

// outside6 names what an address outside 2000::/3 is.
func outside6(a netip.Addr) string {
	switch {
	case a.IsUnspecified():
		return "unspecified"
	case a.IsLoopback():
		return "loopback"
	case a.IsMulticast():
		return "multicast"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsPrivate():
		return "private"
	}
	return "not public"
}

func inBlocks(a netip.Addr, list []block) string {
	for _, b := range list {
		if b.prefix.Contains(a) {
			return b.what
		}
	}
	return ""
}

// embedded is the IPv4 address that a NAT64, 6to4 or ISATAP address leads to.
func embedded(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixTo4.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return isatap(a)
}

func isatap(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	if a.Is6() && b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		return netip.AddrFrom4([4]byte(b[12:16])), true
	}
	return netip.Addr{}, false
}

// Refused4 are the IPv4 blocks that are never public, for a packet filter.
func Refused4() []netip.Prefix { return prefixes(special4) }

// Refused6 are the IPv6 blocks within Public6 that a packet filter must refuse.
// 6to4 goes whole: a filter cannot look inside.
func Refused6() []netip.Prefix { return append(prefixes(special6), sixTo4) }

// Public6 holds all public IPv6 unicast addresses.
func Public6() netip.Prefix { return global6 }

func prefixes(list []block) []netip.Prefix {
	var out []netip.Prefix
	for _, b := range list {
		out = append(out, b.prefix)
	}
	return out
}
