package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"staithe/internal/station"
)

// Policy is a class's network policy, ready to decide. It is immutable and safe
// for concurrent use.
type Policy struct {
	mode  station.NetworkMode
	nets  []netEntry
	names []nameEntry
}

type netEntry struct {
	prefix netip.Prefix
	port   uint16 // 0: all
}

type nameEntry struct {
	name  string // without "*."
	below bool   // the names below it, not itself
	port  uint16 // 0: all
}

// Compile reads a class's policy. Errors wrap station.ErrInvalid.
func Compile(p station.NetworkPolicy) (*Policy, error) {
	bad := func(format string, args ...any) error {
		return station.Errorf(station.ErrInvalid, "bad_network", format, args...)
	}
	switch p.Mode {
	case station.NetworkNone, station.NetworkInternet, station.NetworkAllowList:
	default:
		return nil, bad("network is none, internet or allow-list, not %+q.", p.Mode)
	}
	out := &Policy{mode: p.Mode}
	for _, entry := range p.Allow {
		if err := out.add(entry); err != nil {
			return nil, bad("The allow list has %+q: %v.", entry, err)
		}
	}
	return out, nil
}

func (p *Policy) add(entry string) error {
	if a, err := netip.ParseAddr(entry); err == nil && a.Is4In6() {
		return fmt.Errorf("write the IPv4 address itself")
	}
	if pre, err := netip.ParsePrefix(entry); err == nil {
		if pre.Addr().Is4In6() {
			return fmt.Errorf("write the IPv4 block itself")
		}
		p.nets = append(p.nets, netEntry{prefix: pre.Masked()})
		return nil
	}
	if a, err := netip.ParseAddr(entry); err == nil && a.Zone() == "" {
		p.nets = append(p.nets, netEntry{prefix: netip.PrefixFrom(a, a.BitLen())})
		return nil
	}
	if ap, err := netip.ParseAddrPort(entry); err == nil && ap.Addr().Zone() == "" && !ap.Addr().Is4In6() && ap.Port() != 0 {
		p.nets = append(p.nets, netEntry{netip.PrefixFrom(ap.Addr(), ap.Addr().BitLen()), ap.Port()})
		return nil
	}
	host, portText, hasPort := strings.Cut(entry, ":")
	var port uint64
	if hasPort {
		var err error
		if port, err = strconv.ParseUint(portText, 10, 16); err != nil || port == 0 {
			return fmt.Errorf("its port is not 1 to 65535")
		}
	}
	name, below := strings.CutPrefix(host, "*.")
	if CleanName(name) != name || name == "" || strings.Contains(name, "*") {
		return fmt.Errorf("it is no lower-case host name, *.name, address or CIDR")
	}
	p.names = append(p.names, nameEntry{name, below, uint16(port)})
	return nil
}

// Mode is the policy's mode.
func (p *Policy) Mode() station.NetworkMode { return p.mode }

// Prefixes are the addresses that the policy opens on all ports.
func (p *Policy) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, e := range p.nets {
		if e.port == 0 {
			out = append(out, e.prefix)
		}
	}
	return out
}

// HasPorts says whether an address is opened on one port only.
func (p *Policy) HasPorts() bool {
	for _, e := range p.nets {
		if e.port != 0 {
			return true
		}
	}
	return false
}

// Dest is where a program in the session wants to go.
type Dest struct {
	Addr netip.Addr
	Port uint16
	UDP  bool
	// Names are the names for which our DNS lately answered this address.
	Names []string
}

// Verdict is a decision.
type Verdict struct {
	OK  bool
	Why string // when refused, a sentence
	// CheckName says that the address was admitted only for a name's sake: what
	// the connection then says about its host (TLS's SNI, HTTP's Host) must be
	// an allowed name too, for many hosts share an address.
	CheckName bool
}

func refuse(format string, args ...any) Verdict {
	return Verdict{Why: fmt.Sprintf(format, args...)}
}

// Decide says whether a connection may be made. own reports the host's own
// addresses; it is asked for an address that a tunnel would lead to as well.
func (p *Policy) Decide(d Dest, own func(netip.Addr) bool) Verdict {
	if p.mode == station.NetworkNone {
		return refuse("This session has no network.")
	}
	if why := p.AddressRefused(d.Addr, own); why != "" {
		return Verdict{Why: why}
	}
	if d.Port == 0 {
		return refuse("Port 0 is none.")
	}
	listed := p.listed(d.Addr, d.Port)
	if p.mode == station.NetworkInternet {
		// An entry with a port opens that port alone of a closed address.
		if !listed && p.needsList(d.Addr, own) {
			return refuse("%s is open on other ports only.", d.Addr)
		}
		return Verdict{OK: true}
	}
	switch {
	case d.UDP && !listed:
		return refuse("With an allow list, UDP goes to listed addresses only.")
	case listed:
		return Verdict{OK: true}
	}
	for _, n := range d.Names {
		if p.NameAllowed(n, d.Port) {
			return Verdict{OK: true, CheckName: true}
		}
	}
	if len(d.Names) > 0 {
		return refuse("%s is not allowed on port %d.", CleanName(d.Names[0]), d.Port)
	}
	return refuse("%s was not resolved from an allowed name.", d.Addr)
}

// AddressRefused says why an address is refused on every port, whatever name
// led there; empty: it is not.
func (p *Policy) AddressRefused(a netip.Addr, own func(netip.Addr) bool) string {
	if !a.IsValid() {
		return "That is no address."
	}
	if p.mode == station.NetworkNone {
		return "This session has no network."
	}
	if a.Is4In6() || a.IsUnspecified() || a.Zone() != "" {
		// The host's own calls take these for other addresses than they are here,
		// so no range opens them.
		return fmt.Sprintf("%s is no address to connect to.", a)
	}
	if !p.needsList(a, own) {
		return ""
	}
	if isOwn(a, own) {
		// A range around it does not open the host: only its very address does.
		for _, e := range p.nets {
			if e.prefix.IsSingleIP() && e.prefix.Addr() == a {
				return ""
			}
		}
		return fmt.Sprintf("%s is the server itself.", a)
	}
	for _, e := range p.nets {
		if e.prefix.Contains(a) {
			return ""
		}
	}
	return fmt.Sprintf("%s is not a public address: it is %s.", a, NotPublic(a))
}

// needsList says whether an address is closed unless an entry names it.
func (p *Policy) needsList(a netip.Addr, own func(netip.Addr) bool) bool {
	return NotPublic(a) != "" || isOwn(a, own)
}

func isOwn(a netip.Addr, own func(netip.Addr) bool) bool {
	if own == nil {
		return false
	}
	if e, ok := embedded(a); ok && own(e) {
		return true
	}
	return own(a) || a.Is4In6() && own(a.Unmap())
}

// listed says whether an address entry opens the port.
func (p *Policy) listed(a netip.Addr, port uint16) bool {
	for _, e := range p.nets {
		if e.prefix.Contains(a) && (e.port == 0 || e.port == port) {
			return true
		}
	}
	return false
}

// NameAllowed says whether a name may be connected to on a port, or, with port
// 0, be resolved at all. In other modes than the allow list every name may be
// resolved.
func (p *Policy) NameAllowed(name string, port uint16) bool {
	if p.mode != station.NetworkAllowList {
		return p.mode == station.NetworkInternet
	}
	name = CleanName(name)
	if name == "" {
		return false
	}
	for _, e := range p.names {
		if port != 0 && e.port != 0 && e.port != port {
			continue
		}
		if e.below && strings.HasSuffix(name, "."+e.name) || !e.below && name == e.name {
			return true
		}
	}
	return false
}

// CleanName is a host name in lower case and without the root's dot, or empty
// when it is none. It folds ASCII only: a look-alike is another name.
func CleanName(name string) string {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return ""
	}
	out := []byte(name)
	label := 0
	for i, c := range out {
		switch {
		case 'A' <= c && c <= 'Z':
			out[i] = c + 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && label > 0:
			label = -1
		default:
			return ""
		}
		if label++; label > 63 {
			return ""
		}
	}
	return string(out)
}
