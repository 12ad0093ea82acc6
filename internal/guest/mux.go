package guest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/terminal"
	"staithe/internal/wire"
)

const (
	helloTimeout = 10 * time.Second
	pingEvery    = 20 * time.Second
	pingMisses   = 3
	// maxControl is how many answers, and maxControlBytes how many bytes of them,
	// may wait for a client that does not read; beyond it its own requests wait.
	maxControl      = 256
	maxControlBytes = 256 << 10
)

// conn is one mux connection. Four goroutines work on it, all of serveMux:
// the reader takes what the client sends, the writer pulls what it gets, the
// pinger looks whether it lives, and serveMux itself waits for the end.
type conn struct {
	g      *Guest
	ws     *websocket.Conn
	id     guestapi.Identity
	public string // its id as others see it

	wake  chan struct{} // for the writer
	drain chan struct{} // for a reader that waits for the control queue
	ended chan struct{}

	mu       sync.Mutex
	key      terminal.ClientKey // zero before hello
	name     string
	channels map[uint8]*channel
	last     uint8    // the channel taken last
	control  [][]byte // encoded answers, in order
	waiting  int      // bytes in control
	tabsNews bool     // a tabs message is due
	presence []*tab   // presence messages are due
	fenced   bool     // takes nothing more, gets no more channels
	code     websocket.StatusCode
	reason   string
	refusal  time.Time // the last forbidden told for input
}

// channel is one terminal on a connection.
type channel struct {
	num   uint8
	tab   *tab
	att   *terminal.Attachment
	acked int64 // input bytes acknowledged to the client; the writer's own
}

// serveMux runs a mux connection until it ends.
func (g *Guest) serveMux(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error {
	if !slices.Contains(websocketProtocols(r), wire.Subprotocol) {
		return station.Errorf(station.ErrInvalid, "bad_subprotocol", "Ask for the WebSocket subprotocol %s.", wire.Subprotocol)
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:    []string{wire.Subprotocol},
		CompressionMode: websocket.CompressionDisabled,
		// The gateway has checked the Origin; here only the signed identity counts.
		InsecureSkipVerify: true,
	})
	if err != nil {
		return nil // Accept has answered
	}
	// The limit is ours to enforce (close 4400), not the library's (1009).
	ws.SetReadLimit(-1)
	c := &conn{
		g: g, ws: ws, id: id, public: string(station.NewID()), name: id.Name,
		wake: make(chan struct{}, 1), drain: make(chan struct{}, 1), ended: make(chan struct{}),
		channels: map[uint8]*channel{}, last: wire.MaxChannels - 1,
	}
	if !g.admitConn(c) {
		ws.Close(websocket.StatusGoingAway, "the session is ending")
		return nil
	}
	defer g.forgetConn(c)
	c.run(r.Context())
	return nil
}

func websocketProtocols(r *http.Request) []string {
	var out []string
	for _, h := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range splitList(h) {
			out = append(out, p)
		}
	}
	return out
}

func (g *Guest) admitConn(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return false
	}
	g.conns[c] = struct{}{}
	g.work.Add(1)
	return true
}

func (g *Guest) forgetConn(c *conn) {
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
	g.work.Done()
}

func (c *conn) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	hello := time.AfterFunc(helloTimeout, func() {
		c.mu.Lock()
		greeted := c.key != terminal.ClientKey{}
		c.mu.Unlock()
		if !greeted {
			c.end(wire.CloseNoHello, "no hello in 10 s")
		}
	})
	defer hello.Stop()
	var work sync.WaitGroup
	work.Go(func() { c.read(ctx) })
	work.Go(c.write)
	work.Go(func() { c.ping(ctx) })
	<-c.ended
	c.mu.Lock()
	code, reason := c.code, c.reason
	c.mu.Unlock()
	c.leaveAll(code == websocket.StatusNormalClosure)
	if code > 0 {
		c.ws.Close(code, reason) // a peer that does not answer is cut off after 5 s
	} else {
		c.ws.CloseNow()
	}
	cancel()
	work.Wait()
}

// end asks for the connection's end with a close code; 0 means that the link is
// gone. The first call counts.
func (c *conn) end(code websocket.StatusCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.ended:
		return
	default:
	}
	if len(reason) > 120 { // RFC 6455 section 5.5: control frames carry 125 bytes
		reason = reason[:120]
	}
	c.code, c.reason, c.fenced = code, reason, true
	close(c.ended)
}

// leaveAll fences the connection and takes it off its terminals: lost, so that
// its bytes are kept for it, unless it asked to leave.
func (c *conn) leaveAll(asked bool) {
	c.mu.Lock()
	c.fenced = true
	channels := c.channels
	c.channels = map[uint8]*channel{}
	c.mu.Unlock()
	for _, ch := range channels {
		if asked {
			ch.att.Detach()
		} else {
			ch.att.Drop()
		}
	}
}

// read takes what the client sends until the connection ends.
func (c *conn) read(ctx context.Context) {
	buf := make([]byte, wire.MaxMessage+1)
	for {
		// Closing the socket ends this; a context would be armed and disarmed
		// for each message.
		typ, r, err := c.ws.Reader(context.Background())
		if err != nil {
			// Only a goodbye in so many words gives up the client's claims.
			if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
				c.end(websocket.StatusNormalClosure, "")
			}
			c.end(0, "")
			return
		}
		n, err := readMessage(r, buf)
		switch {
		case err != nil:
			c.end(0, "")
			return
		case typ != websocket.MessageBinary:
			c.end(wire.CloseProtocol, "text message: every message is binary")
			return
		}
		if err := c.take(ctx, buf[:n]); err != nil {
			c.end(wire.CloseProtocol, err.Error())
			return
		}
	}
}

// readMessage fills buf; a longer message is cut, which Split then refuses.
func readMessage(r io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		k, err := r.Read(buf[n:])
		n += k
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// take handles one message. An error is the client's: close 4400.
func (c *conn) take(ctx context.Context, msg []byte) error {
	num, payload, err := wire.Split(msg)
	if err != nil {
		return err
	}
	if num == wire.ControlChannel {
		m, err := wire.ParseClient(payload)
		if err != nil {
			return err
		}
		return c.handle(ctx, m)
	}
	return c.input(num, payload)
}

func (c *conn) ping(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for misses := 0; ; {
		select {
		case <-c.ended:
			return
		case <-ticker.C:
		}
		pctx, cancel := context.WithTimeout(ctx, pingEvery)
		err := c.ws.Ping(pctx)
		cancel()
		if err == nil {
			misses = 0
		} else if misses++; misses >= pingMisses {
			c.end(0, "")
			return
		}
	}
}

func (c *conn) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) markTabs() {
	c.mu.Lock()
	c.tabsNews = true
	c.mu.Unlock()
	c.poke()
}

func (c *conn) markPresence(t *tab) {
	c.mu.Lock()
	if (c.id.Tab == "" || c.id.Tab == t.id) && !slices.Contains(c.presence, t) && c.on(t) {
		c.presence = append(c.presence, t)
	}
	c.tabsNews = true // tabs says how many clients and which size
	c.mu.Unlock()
	c.poke()
}

// on reports whether the connection is attached to t; the caller holds c.mu.
func (c *conn) on(t *tab) bool {
	for _, ch := range c.channels {
		if ch.tab == t {
			return true
		}
	}
	return false
}

// tell queues news that nobody asked for. A client that reads nothing gets none:
// nobody waits for it.
func (c *conn) tell(m wire.ServerMessage) {
	b := wire.AppendServer(nil, m)
	c.mu.Lock()
	if c.key != (terminal.ClientKey{}) && len(c.control) < maxControl && c.waiting < maxControlBytes {
		c.control = append(c.control, b)
		c.waiting += len(b)
	}
	c.mu.Unlock()
	c.poke()
}

// say queues an answer. Only the reader calls it, and waits when the client
// asks faster than it reads.
func (c *conn) say(m wire.ServerMessage) {
	b := wire.AppendServer(nil, m)
	for {
		c.mu.Lock()
		if len(c.control) < maxControl && c.waiting < maxControlBytes {
			c.control = append(c.control, b)
			c.waiting += len(b)
			c.mu.Unlock()
			c.poke()
			return
		}
		c.mu.Unlock()
		select {
		case <-c.drain:
		case <-c.ended:
			return
		}
	}
}
