package wayout

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"staithe/internal/egress"
	"staithe/internal/egress/policy"
)

// server carries one session's traffic.
type server struct {
	policy  *policy.Policy
	dns     *resolver
	names   *nameMemory
	refused *refusals
	own     func(netip.Addr) bool // the host's own addresses
	router  *router               // nil on the userspace path
	log     *slog.Logger
	ctx     context.Context // ends with the process

	in, out  atomic.Int64
	tcp, udp atomic.Int64 // flows open now
	buffers  sync.Pool    // of *[copySize]byte
}

const (
	// The bounds of what one session can make its way out hold.
	maxTCP     = 1024
	maxUDP     = 512
	maxDialing = 256 // connections not yet made; more are retried by the sandbox

	// A connection's two buffers: large while there are few, so that a fast one
	// is fast; what all together hold stays bounded (see shareOfBuffers).
	maxBuffer    = 256 << 10
	minBuffer    = 16 << 10
	bufferBudget = 16 << 20

	copySize = 32 << 10
)

func newServer(ctx context.Context, cfg egress.Config, log *slog.Logger) (*server, error) {
	p, err := policy.Compile(cfg.Policy)
	if err != nil {
		return nil, err
	}
	s := &server{policy: p, names: &nameMemory{}, refused: &refusals{}, own: isHosts, log: log, ctx: ctx}
	s.buffers.New = func() any { return new([copySize]byte) }
	s.dns = newResolver(p, s.names, s.refused, cfg.ResolvConf)
	return s, nil
}

// serveUserspace carries what comes over the link in a stack of our own.
func (s *server) serveUserspace(st *stack.Stack, l link, ended context.CancelCauseFunc) error {
	if err := connect(st, l, s.pinged, ended); err != nil {
		return err
	}
	return s.serve(st)
}

// serve connects the server to its stack.
func (s *server) serve(st *stack.Stack) error {
	st.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(st, maxBuffer, maxDialing, s.handleTCP).HandlePacket)
	st.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(st, s.handleUDP).HandlePacket)
	return s.serveDNS(st)
}

func (s *server) pinged(dst netip.Addr) {
	s.refused.add("icmp", "", dst, 0, "Pings to the outside are not carried.")
}

// decide asks the policy and logs a refusal.
func (s *server) decide(network string, dst netip.AddrPort) policy.Verdict {
	d := policy.Dest{Addr: dst.Addr(), Port: dst.Port(), UDP: network == "udp", Names: s.names.names(dst.Addr())}
	v := s.policy.Decide(d, s.own)
	if !v.OK {
		s.refuse(network, dst, firstName(d.Names), v.Why)
	}
	return v
}

func (s *server) refuse(network string, dst netip.AddrPort, name, why string) {
	s.refused.add(network, name, dst.Addr(), dst.Port(), why)
}

func firstName(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// status is what the gateway is told.
func (s *server) status() egress.Status {
	if s.router != nil {
		in, out, n := s.router.traffic()
		return egress.Status{Path: egress.PathKernel, In: in, Out: out, Connections: n, Refused: s.refused.list()}
	}
	return egress.Status{
		Path: egress.PathUserspace,
		In:   s.in.Load(), Out: s.out.Load(),
		Connections: int(s.tcp.Load() + s.udp.Load()),
		Refused:     s.refused.list(),
	}
}

// destination is where a packet of the sandbox was going.
func destination(id stack.TransportEndpointID) netip.AddrPort {
	return netip.AddrPortFrom(toNetip(id.LocalAddress), id.LocalPort)
}

// shareOfBuffers is the size of the n-th connection's buffers. The sum over
// maxTCP connections is bufferBudget × (1 + ln(maxTCP × maxBuffer ÷
// bufferBudget)): 61 MiB each way.
func shareOfBuffers(n int64) int64 {
	return min(max(bufferBudget/max(n, 1), minBuffer), maxBuffer)
}
