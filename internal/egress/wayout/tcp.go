package wayout

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// dialTimeout bounds the wait for the outside; the sandbox's own connect waits
// as long.
const dialTimeout = 30 * time.Second

// handleTCP decides about one connection and carries it to its end. The
// sandbox's handshake is finished only when the outside has accepted: what is
// refused there is refused here.
func (s *server) handleTCP(r *tcp.ForwarderRequest) {
	dst := destination(r.ID())
	v := s.decide("tcp", dst)
	if !v.OK {
		r.Complete(true)
		return
	}
	n := s.tcp.Add(1)
	defer s.tcp.Add(-1)
	if n > maxTCP {
		s.refuse("tcp", dst, "", "The session has too many connections open.")
		r.Complete(true)
		return
	}
	host, err := s.dial(dst)
	if err != nil {
		// A timeout has been waited for here; a reset tells the sandbox at once.
		r.Complete(true)
		return
	}
	defer host.Close()
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	r.Complete(terr != nil)
	if terr != nil {
		return
	}
	share := shareOfBuffers(n)
	ep.SocketOptions().SetReceiveBufferSize(share, true)
	ep.SocketOptions().SetSendBufferSize(share, true)
	ep.SocketOptions().SetKeepAlive(true)
	c := &carried{s: s, ep: ep, wq: &wq, host: host, ended: make(chan struct{})}
	if v.CheckName {
		c.check = &nameCheck{policy: s.policy, dst: dst, refuse: func(name, why string) { s.refuse("tcp", dst, name, why) }}
	}
	c.run()
}

// dial connects to the outside. dst is an address that was decided about, so that
// no name is looked up in between.
func (s *server) dial(dst netip.AddrPort) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, dialTimeout)
	defer cancel()
	d := net.Dialer{FallbackDelay: -1}
	conn, err := d.DialContext(ctx, "tcp", dst.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// carried is one TCP connection: the sandbox's end in the stack, the outside's
// in the host's. Buffers are taken only while there are bytes to move, so that
// an idle connection costs little.
type carried struct {
	s     *server
	ep    tcpip.Endpoint
	wq    *waiter.Queue
	host  *net.TCPConn
	check *nameCheck // nil: nothing to check

	once  sync.Once
	ended chan struct{} // closed when the connection is given up
}

func (c *carried) run() {
	stop := context.AfterFunc(c.s.ctx, c.abort)
	defer stop()
	var both sync.WaitGroup
	both.Go(func() {
		if err := c.outward(); err != nil {
			c.abort()
		}
	})
	both.Go(func() {
		if err := c.inward(); err != nil {
			c.abort()
		}
	})
	both.Wait()
	c.ep.Close()
}

// abort resets both ends.
func (c *carried) abort() {
	c.once.Do(func() {
		close(c.ended)
		_ = c.host.SetLinger(0) // a closed connection has nothing to reset
		c.host.Close()
		c.ep.Abort()
	})
}

var errEnded = errors.New("connection given up")

// wait waits for an event of the sandbox's end.
func (c *carried) wait(ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-c.ended:
		return errEnded
	}
}

// outward carries from the sandbox. nil: the sandbox has said all.
func (c *carried) outward() error {
	we, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp)
	c.wq.EventRegister(&we)
	defer c.wq.EventUnregister(&we)
	for {
		buf := c.s.buffers.Get().(*[copySize]byte)
		w := tcpip.SliceWriter(buf[:])
		res, terr := c.ep.Read(&w, tcpip.ReadOptions{})
		var err error
		if terr == nil {
			err = c.send(buf[:res.Count])
		}
		c.s.buffers.Put(buf)
		if err != nil {
			return err
		}
		switch terr.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			if err := c.wait(ready); err != nil {
				return err
			}
		case *tcpip.ErrClosedForReceive:
			if err := c.sendRest(); err != nil {
				return err
			}
			return c.host.CloseWrite()
		default:
			return errors.New(terr.String())
		}
	}
}

// send passes bytes to the outside, past the check while there is one.
func (c *carried) send(b []byte) error {
	if c.check != nil {
		pass, err := c.check.add(b)
		if err != nil || len(pass) == 0 {
			return err
		}
		if c.check.passed {
			c.check = nil
		}
		b = pass
	}
	return c.write(b)
}

// sendRest passes on what the check held back, once the sandbox has said all.
func (c *carried) sendRest() error {
	if c.check == nil {
		return nil
	}
	rest, err := c.check.end()
	if err != nil || len(rest) == 0 {
		return err
	}
	return c.write(rest)
}

func (c *carried) write(b []byte) error {
	n, err := c.host.Write(b)
	c.s.out.Add(int64(n))
	return err
}

// inward carries from the outside. nil: the outside has said all.
func (c *carried) inward() error {
	raw, err := c.host.SyscallConn()
	if err != nil {
		return err
	}
	we, writable := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	c.wq.EventRegister(&we)
	defer c.wq.EventUnregister(&we)
	for {
		buf, n, err := c.read(raw)
		if n > 0 {
			err = c.deliver(buf[:n], writable)
		}
		if buf != nil {
			c.s.buffers.Put(buf)
		}
		if errors.Is(err, io.EOF) {
			if terr := c.ep.Shutdown(tcpip.ShutdownWrite); terr != nil {
				return errors.New(terr.String())
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// read waits until the outside has sent something and only then takes a buffer.
func (c *carried) read(raw syscall.RawConn) (buf *[copySize]byte, n int, err error) {
	rawErr := raw.Read(func(fd uintptr) bool {
		buf = c.s.buffers.Get().(*[copySize]byte)
		n, err = readFD(fd, buf[:])
		if err == unix.EAGAIN {
			c.s.buffers.Put(buf)
			buf = nil
			return false
		}
		return true
	})
	switch {
	case rawErr != nil:
		return buf, 0, rawErr
	case err != nil:
		return buf, 0, err
	case n == 0:
		return buf, 0, io.EOF
	}
	return buf, n, nil
}

// readFD is read(2), past signals.
func readFD(fd uintptr, b []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// deliver writes all of b to the sandbox.
func (c *carried) deliver(b []byte, writable <-chan struct{}) error {
	r := bytes.NewReader(b)
	for r.Len() > 0 {
		n, terr := c.ep.Write(r, tcpip.WriteOptions{})
		c.s.in.Add(n)
		switch terr.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			if err := c.wait(writable); err != nil {
				return err
			}
		default:
			return errors.New(terr.String())
		}
	}
	return nil
}
