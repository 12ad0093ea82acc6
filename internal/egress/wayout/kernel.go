package wayout

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	route "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"staithe/internal/egress"
	"staithe/internal/egress/filter"
)

// open opens what the process keeps of its router: all that privileges are needed
// for, so that they can be dropped.
func (r *router) open() (err error) {
	for _, host := range []string{egress.Resolver, egress.Resolver6} {
		at := net.JoinHostPort(host, strconv.Itoa(dnsPort))
		conn, err := net.ListenPacket("udp", at)
		if err != nil {
			return fmt.Errorf("DNS: %w", err)
		}
		r.packets = append(r.packets, conn)
		ln, err := net.Listen("tcp", at)
		if err != nil {
			return fmt.Errorf("DNS: %w", err)
		}
		r.streams = append(r.streams, ln)
	}
	if r.refused, err = listenRefusals(); err != nil {
		return err
	}
	if r.links, err = route.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	if r.count, err = os.Open("/proc/sys/net/netfilter/nf_conntrack_count"); err != nil {
		return fmt.Errorf("count connections: %w", err)
	}
	gone := make(chan route.LinkUpdate, 16)
	if err := route.LinkSubscribeWithOptions(gone, nil, route.LinkSubscribeOptions{}); err != nil {
		return fmt.Errorf("watch the link: %w", err)
	}
	r.gone = gone
	return nil
}

func (r *router) close() {
	for _, c := range r.packets {
		c.Close()
	}
	for _, l := range r.streams {
		l.Close()
	}
	if r.refused != nil {
		r.refused.Close()
	}
	if r.links != nil {
		r.links.Close()
	}
	if r.count != nil {
		r.count.Close()
	}
}

// Of nfnetlink_log (linux/netfilter/nfnetlink_log.h).
const (
	nflogPacket, nflogConfig      = 0, 1
	nflogAttrPayload              = 9
	nflogAttrPrefix               = 10
	nflogCfgCommand, nflogCfgMode = 1, 2
	nflogBind, nflogCopyPacket    = 1, 2
	nflogCopy                     = 64 // bytes of each packet
	nfHeader                      = 4  // family, version, group
)

// listenRefusals opens the group that the router's filter tells of refusals.
func listenRefusals() (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("listen to refusals: %w", err)
	}
	head := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, 0}, filter.LogGroup)
	mode := append(binary.BigEndian.AppendUint32(nil, nflogCopy), nflogCopyPacket, 0)
	for _, a := range []netlink.Attribute{{Type: nflogCfgCommand, Data: []byte{nflogBind}}, {Type: nflogCfgMode, Data: mode}} {
		b, err := netlink.MarshalAttributes([]netlink.Attribute{a})
		if err == nil {
			m := netlink.Message{Data: append(append([]byte(nil), head...), b...)}
			m.Header.Type = unix.NFNL_SUBSYS_ULOG<<8 | nflogConfig
			m.Header.Flags = netlink.Request | netlink.Acknowledge
			_, err = conn.Execute(m)
		}
		if err != nil {
			conn.Close()
			return nil, fmt.Errorf("listen to refusals (is the module nfnetlink_log there?): %w", err)
		}
	}
	return conn, nil
}

// serveKernel does what is left to do on the kernel's path: DNS, and listening to
// what was refused. When the sandbox's link goes, ended is called.
func (s *server) serveKernel(r *router, ended context.CancelCauseFunc) {
	s.router = r
	for i := range r.packets {
		go s.dns.servePacket(s.ctx, r.packets[i], make(chan struct{}, maxQueries))
		go s.dns.serveStream(s.ctx, r.streams[i])
	}
	go s.hearRefusals(r.refused)
	go func() {
		for u := range r.gone {
			if u.Header.Type == unix.RTM_DELLINK && int(u.Index) == r.sandbox {
				break
			}
		}
		ended(errors.New("the link is gone"))
	}()
}

// hearRefusals notes what the filter refused, until the socket closes. When more
// comes than is read, the kernel drops some and says so.
func (s *server) hearRefusals(conn *netlink.Conn) {
	for {
		messages, err := conn.Receive()
		if err != nil && errors.Is(err, unix.ENOBUFS) {
			continue
		}
		if err != nil {
			s.log.Error("refusals can no longer be told", "error", err)
			return
		}
		for _, m := range messages {
			if m.Header.Type == unix.NFNL_SUBSYS_ULOG<<8|nflogPacket && len(m.Data) > nfHeader {
				s.heard(m.Data[nfHeader:])
			}
		}
	}
}

// heard notes one refusal.
func (s *server) heard(attrs []byte) {
	list, err := netlink.UnmarshalAttributes(attrs)
	if err != nil {
		return
	}
	var payload []byte
	why := ""
	for _, a := range list {
		switch a.Type {
		case nflogAttrPayload:
			payload = a.Data
		case nflogAttrPrefix:
			why = strings.TrimRight(string(a.Data), "\x00")
		}
	}
	network, dst, ok := packetDestination(payload)
	if !ok {
		return
	}
	switch {
	case why == filter.WhyTooMany:
		s.refuse(network, dst, firstName(s.names.names(dst.Addr())), "The session has too many connections open, or begins too many at once.")
	case network == "icmp":
		s.pinged(dst.Addr())
	case s.decide(network, dst).OK: // or else it has been noted
		s.refuse(network, dst, firstName(s.names.names(dst.Addr())), "The packet filter does not let this address or packet pass.")
	}
}

// packetDestination reads where a refused packet was going.
func packetDestination(b []byte) (network string, dst netip.AddrPort, ok bool) {
	var a netip.Addr
	var proto byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		size := int(b[0]&15) * 4
		a, proto = netip.AddrFrom4([4]byte(b[16:20])), b[9]
		b = b[min(size, len(b)):]
	case len(b) >= 40 && b[0]>>4 == 6:
		a, proto = netip.AddrFrom16([16]byte(b[24:40])), b[6]
		b = b[40:]
	default:
		return "", dst, false
	}
	switch proto {
	case unix.IPPROTO_TCP:
		network = "tcp"
	case unix.IPPROTO_UDP:
		network = "udp"
	default:
		return "icmp", netip.AddrPortFrom(a, 0), true
	}
	if len(b) < 4 {
		return "", dst, false
	}
	return network, netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[2:])), true
}

// traffic is what went over the sandbox's link, and how many connections there
// are.
func (r *router) traffic() (in, out int64, connections int) {
	if l, err := r.links.LinkByIndex(r.sandbox); err == nil && l.Attrs().Statistics != nil {
		in, out = int64(l.Attrs().Statistics.TxBytes), int64(l.Attrs().Statistics.RxBytes)
	}
	buf := make([]byte, 16)
	n, _ := r.count.ReadAt(buf, 0) // what was read counts
	connections, _ = strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	return in, out, connections
}
