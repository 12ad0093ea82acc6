package wayout

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"staithe/internal/egress"
)

const (
	dnsPort = 53
	// What waits for answers, and who may ask by TCP, at the same time.
	maxQueries  = 64
	maxDNSConns = 16

	answerTimeout = 10 * time.Second
	dnsIdle       = 10 * time.Second
)

// serveDNS answers at the resolver's addresses in the stack.
func (s *server) serveDNS(st *stack.Stack) error {
	for _, text := range []string{egress.Resolver, egress.Resolver6} {
		a := netip.MustParseAddr(text)
		proto := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber)
		if a.Is6() {
			proto = ipv6.ProtocolNumber
		}
		at := tcpip.FullAddress{NIC: nicID, Addr: fromNetip(a), Port: dnsPort}
		conn, err := gonet.DialUDP(st, &at, nil, proto)
		if err != nil {
			return fmt.Errorf("DNS at %s: %w", a, err)
		}
		ln, err := gonet.ListenTCP(st, at, proto)
		if err != nil {
			return fmt.Errorf("DNS at %s: %w", a, err)
		}
		queries := make(chan struct{}, maxQueries)
		go s.dns.servePacket(s.ctx, conn, queries)
		go s.dns.serveStream(s.ctx, ln)
	}
	return nil
}

// servePacket answers datagrams until the socket closes. Those that come while
// too many wait are lost, and asked again.
func (r *resolver) servePacket(ctx context.Context, conn net.PacketConn, slots chan struct{}) {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			continue
		}
		ask := append([]byte(nil), buf[:n]...)
		go func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, answerTimeout)
			defer cancel()
			if b := r.answer(ctx, ask, true); b != nil {
				_, _ = conn.WriteTo(b, from) // a lost answer is asked for again
			}
		}()
	}
}

// serveStream answers connections until the listener closes.
func (r *resolver) serveStream(ctx context.Context, ln net.Listener) {
	slots := make(chan struct{}, maxDNSConns)
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		go func() {
			defer func() { <-slots }()
			defer conn.Close()
			r.serveConn(ctx, conn)
		}()
	}
}

func (r *resolver) serveConn(ctx context.Context, conn net.Conn) {
	for ctx.Err() == nil {
		if conn.SetDeadline(time.Now().Add(dnsIdle)) != nil {
			return
		}
		ask, err := readFramed(conn)
		if err != nil {
			return
		}
		asking, cancel := context.WithTimeout(ctx, answerTimeout)
		b := r.answer(asking, ask, false)
		cancel()
		if b == nil || conn.SetDeadline(time.Now().Add(dnsIdle)) != nil || writeFramed(conn, b) != nil {
			return
		}
	}
}
