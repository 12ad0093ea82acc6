package gateway

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// watched is a listener whose connections know when they last heard from the
// client.
type watched struct {
	net.Listener
	dead time.Duration
}

func (l watched) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w := &watchedConn{Conn: c, dead: l.dead}
	w.heard.Store(time.Now().UnixNano())
	return w, nil
}

// watchedConn tells backpressure from death. A write may take as long as it
// likes while the client takes bytes or sends some; with neither for the time
// given, it fails, so that a client that went silent pins nothing for ever.
type watchedConn struct {
	net.Conn
	dead    time.Duration
	heard   atomic.Int64 // Unix ns of the last sign of life
	writing atomic.Bool
}

// waited is how long a write takes that had to wait for the client to make
// room. One that does not wait only fills the kernel's buffer and is no sign.
const waited = 5 * time.Millisecond

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 { // data, acks, pongs
		c.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

func (c *watchedConn) Write(p []byte) (int, error) {
	c.writing.Store(true)
	defer c.writing.Store(false)
	written := 0
	for {
		start := time.Now()
		if err := c.Conn.SetWriteDeadline(start.Add(c.dead)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:])
		written += n
		if now := time.Now(); n > 0 && now.Sub(start) >= waited {
			c.heard.Store(now.UnixNano())
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && (n > 0 || c.silent() < c.dead) {
			continue
		}
		return written, err
	}
}

// silent is for how long the client gave no sign of life.
func (c *watchedConn) silent() time.Duration {
	return time.Since(time.Unix(0, c.heard.Load()))
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf is the connection a request came on, nil under a foreign server.
func connOf(ctx context.Context) *watchedConn {
	c, _ := ctx.Value(connKey{}).(*watchedConn)
	return c
}
