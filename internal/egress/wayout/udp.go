package wayout

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// udpIdle ends a flow over which nothing went either way. RFC 4787 asks for
	// two minutes.
	udpIdle = 2 * time.Minute
	// udpQueue bounds what waits in the stack of one flow.
	udpQueue = 64 << 10
	// maxDatagram is the largest that UDP over IP carries.
	maxDatagram = 65535
)

// handleUDP makes a flow for a datagram that belongs to none. false: the stack
// answers that the port is unreachable, so that programs fail at once.
func (s *server) handleUDP(r *udp.ForwarderRequest) bool {
	dst := destination(r.ID())
	if !s.decide("udp", dst).OK {
		return false
	}
	if s.udp.Add(1) > maxUDP {
		s.udp.Add(-1)
		s.refuse("udp", dst, "", "The session has too many UDP flows open.")
		return false
	}
	host, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(dst))
	if err != nil {
		s.udp.Add(-1)
		return false
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil {
		host.Close()
		s.udp.Add(-1)
		return true // another packet of the same flow was quicker
	}
	ep.SocketOptions().SetReceiveBufferSize(udpQueue, true)
	f := &flow{s: s, ep: ep, wq: &wq, host: host, done: make(chan struct{})}
	go f.run()
	return true
}

// flow is one UDP conversation.
type flow struct {
	s    *server
	ep   tcpip.Endpoint
	wq   *waiter.Queue
	host *net.UDPConn

	last atomic.Int64 // when something last went, Unix nanoseconds
	once sync.Once
	done chan struct{} // closed when the flow ends
}

// run carries the flow until it is idle, or one side fails.
func (f *flow) run() {
	defer f.s.udp.Add(-1)
	f.touch()
	var all sync.WaitGroup
	defer all.Wait()
	defer f.close()
	all.Go(func() { f.outward(); f.close() })
	all.Go(func() { f.inward(); f.close() })
	t := time.NewTimer(udpIdle)
	defer t.Stop()
	for {
		select {
		case <-f.done:
			return
		case <-f.s.ctx.Done():
			return
		case <-t.C:
			left := udpIdle - time.Since(time.Unix(0, f.last.Load()))
			if left <= 0 {
				return
			}
			t.Reset(left)
		}
	}
}

func (f *flow) touch() { f.last.Store(time.Now().UnixNano()) }

func (f *flow) close() {
	f.once.Do(func() {
		close(f.done)
		f.host.Close()
		f.ep.Close()
	})
}

// datagrams are buffers for one datagram, held only while one is moved.
var datagrams = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// outward carries datagrams from the sandbox.
func (f *flow) outward() {
	we, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp)
	f.wq.EventRegister(&we)
	defer f.wq.EventUnregister(&we)
	for {
		buf := datagrams.Get().(*[maxDatagram]byte)
		w := tcpip.SliceWriter(buf[:])
		res, terr := f.ep.Read(&w, tcpip.ReadOptions{})
		if terr == nil {
			// A datagram that cannot be sent is as good as a lost one: the other
			// side's ICMP error comes back as the error of a later call.
			if n, err := f.host.Write(buf[:res.Count]); err == nil {
				f.s.out.Add(int64(n))
				f.touch()
			}
		}
		datagrams.Put(buf)
		switch terr.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			select {
			case <-ready:
			case <-f.done:
				return
			}
		default:
			return
		}
	}
}

// inward carries datagrams to the sandbox.
func (f *flow) inward() {
	raw, err := f.host.SyscallConn()
	if err != nil {
		return
	}
	for {
		buf, n, err := readDatagram(raw)
		if err != nil {
			select {
			case <-f.done:
				return
			default:
				continue // an ICMP error, about an earlier datagram
			}
		}
		f.touch()
		if m, terr := f.ep.Write(bytes.NewReader(buf[:n]), tcpip.WriteOptions{}); terr == nil {
			f.s.in.Add(m)
		}
		datagrams.Put(buf)
	}
}

// readDatagram waits for a datagram and only then takes a buffer for it.
func readDatagram(raw syscall.RawConn) (buf *[maxDatagram]byte, n int, err error) {
	rawErr := raw.Read(func(fd uintptr) bool {
		buf = datagrams.Get().(*[maxDatagram]byte)
		n, err = readFD(fd, buf[:])
		if err != nil {
			datagrams.Put(buf)
			buf = nil
		}
		return err != unix.EAGAIN // then it is waited for
	})
	if err == nil || rawErr != nil {
		err = rawErr
	}
	return buf, n, err
}
