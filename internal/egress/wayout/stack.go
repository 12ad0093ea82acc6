package wayout

import (
	"fmt"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/link/nested"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"staithe/internal/egress"
)

const nicID = 1

// gsoMax is the largest segment that crosses the link whole.
const gsoMax = 64 << 10

// newStack makes the userspace stack, on no link yet.
func newStack() (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	if err := configureTCP(s); err != nil {
		s.Destroy()
		return nil, err
	}
	return s, nil
}

// connect puts the stack on our end of the link. closed is told when the link is
// gone.
func connect(s *stack.Stack, l link, ping func(netip.Addr), closed func(error)) error {
	ep, err := fdbased.New(&fdbased.Options{
		FDs:                  []int{l.fd},
		MTU:                  uint32(l.mtu),
		EthernetHeader:       true,
		Address:              tcpip.LinkAddress(l.mac),
		PacketDispatchMode:   fdbased.RecvMMsg,
		GSOMaxSize:           gsoMax,
		RXChecksumOffload:    true, // the link is memory; the kernel leaves them open
		ProcessorsPerChannel: 1,
		PreConfigured:        true, // one socket has nothing to share out
		IsPacketSocket:       []bool{true},
		ClosedFunc:           func(err tcpip.Error) { closed(fmt.Errorf("the link is gone: %s", err)) },
	})
	if err != nil {
		return fmt.Errorf("link endpoint: %w", err)
	}
	return configureLink(s, newGuard(ep, ping))
}

func configureTCP(s *stack.Stack) error {
	fixed := tcpip.TCPModerateReceiveBufferOption(false) // sizes are shared out by us
	sack := tcpip.TCPSACKEnabled(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: minBuffer, Default: maxBuffer, Max: maxBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: minBuffer, Default: maxBuffer, Max: maxBuffer}
	for _, o := range []tcpip.SettableTransportProtocolOption{&fixed, &sack, &receive, &send} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("set up TCP: %s", err)
		}
	}
	return nil
}

func configureLink(s *stack.Stack, ep stack.LinkEndpoint) error {
	if err := s.CreateNIC(nicID, ep); err != nil {
		return fmt.Errorf("make the interface: %s", err)
	}
	for _, text := range []string{egress.Resolver, egress.Resolver6} {
		a := netip.MustParseAddr(text)
		proto, bits := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber), egress.Bits
		if a.Is6() {
			proto, bits = ipv6.ProtocolNumber, egress.Bits6
		}
		pa := tcpip.ProtocolAddress{Protocol: proto, AddressWithPrefix: tcpip.AddressWithPrefix{Address: fromNetip(a), PrefixLen: bits}}
		if err := s.AddProtocolAddress(nicID, pa, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("set our address: %s", err)
		}
	}
	// Every address is answered for, and answers bear any address.
	if err := s.SetPromiscuousMode(nicID, true); err != nil {
		return fmt.Errorf("promiscuous mode: %s", err)
	}
	if err := s.SetSpoofing(nicID, true); err != nil {
		return fmt.Errorf("spoofing: %s", err)
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicID},
		{Destination: header.IPv6EmptySubnet, NIC: nicID},
	})
	return nil
}

func fromNetip(a netip.Addr) tcpip.Address {
	if a.Is4() {
		return tcpip.AddrFrom4(a.As4())
	}
	return tcpip.AddrFrom16(a.As16())
}

func toNetip(a tcpip.Address) netip.Addr {
	addr, _ := netip.AddrFromSlice(a.AsSlice())
	return addr
}

// guard stands before the stack and takes away what that would answer itself in
// other hosts' names: a ping to any address. Pings to the outside are not
// carried.
type guard struct {
	nested.Endpoint
	ping func(netip.Addr) // told of each that was dropped
}

var (
	_ stack.LinkEndpoint      = (*guard)(nil)
	_ stack.NetworkDispatcher = (*guard)(nil)
)

func newGuard(child stack.LinkEndpoint, ping func(netip.Addr)) *guard {
	g := &guard{ping: ping}
	g.Init(child, g)
	return g
}

// DeliverNetworkPacket implements stack.NetworkDispatcher.
func (g *guard) DeliverNetworkPacket(protocol tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	if dst, is := pingTo(protocol, pkt); is {
		g.ping(dst)
		return
	}
	g.Endpoint.DeliverNetworkPacket(protocol, pkt)
}

// pingTo says whether a packet is an ICMP echo request to another than us.
func pingTo(protocol tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) (netip.Addr, bool) {
	switch protocol {
	case ipv4.ProtocolNumber:
		b, ok := pkt.Data().PullUp(header.IPv4MinimumSize)
		if !ok || header.IPv4(b).Protocol() != uint8(header.ICMPv4ProtocolNumber) {
			return netip.Addr{}, false
		}
		dst := toNetip(header.IPv4(b).DestinationAddress())
		return dst, dst.String() != egress.Resolver
	case ipv6.ProtocolNumber:
		b, ok := pkt.Data().PullUp(header.IPv6MinimumSize + 1)
		if !ok || header.IPv6(b).NextHeader() != uint8(header.ICMPv6ProtocolNumber) ||
			header.ICMPv6Type(b[header.IPv6MinimumSize]) != header.ICMPv6EchoRequest {
			return netip.Addr{}, false
		}
		dst := toNetip(header.IPv6(b).DestinationAddress())
		return dst, dst.String() != egress.Resolver6
	}
	return netip.Addr{}, false
}
