// Package muxclient speaks mux v1 to a session: the client of everything that
// is not a browser. It keeps a connection up, brings every tab back at its next
// byte after a drop, and sends each typed byte exactly once.
package muxclient

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/station"
	"staithe/internal/wire"
)

const (
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 15 * time.Second
	callTimeout  = 20 * time.Second
	pingMisses   = 3
)

// ErrEnded is wrapped by the error of Run when the server said that coming back
// is of no use; the text says why.
var ErrEnded = errors.New("connection ended")

// Options of a client.
type Options struct {
	// Dial opens an authenticated WebSocket with wire.Subprotocol. An error
	// that wraps one of station's sentinels, ErrUnavailable and ErrLimited
	// aside, is final.
	Dial func(ctx context.Context) (*websocket.Conn, error)
	Name string // shown to others
	// State is told of every change, from the goroutine of Run; may be nil.
	State func(State)
	// Tabs is told of every list of tabs, from the goroutine of Run; may be nil.
	Tabs func([]wire.Tab)
	// FirstWait is the first wait after a drop; 0: 250 ms.
	FirstWait time.Duration
}

// State is what the connection is doing.
type State struct {
	Connected bool
	Wait      time.Duration // until the next try, when not connected
	Err       error         // why it is not connected
}

// Client is a mux connection that comes back. All methods are safe for
// concurrent use.
type Client struct {
	opt Options
	id  string

	mu      sync.Mutex
	link    *link // nil: not connected
	streams []*Stream
	calls   map[string]chan wire.ServerMessage // by req
	nextReq int
	welcome *wire.Welcome
	final   error
	changed chan struct{} // closed and replaced when link or final changes
}

// link is the life of one WebSocket.
type link struct {
	ws       *websocket.Conn
	ctx      context.Context
	channels map[uint8]*Stream  // guarded by Client.mu
	expected map[string]*Stream // by req of attach or open; guarded by Client.mu
	writing  sync.Mutex         // keeps the input frames of a stream in order
	pong     chan struct{}
}

// New makes a client; Run connects it.
func New(opt Options) *Client {
	if opt.FirstWait == 0 {
		opt.FirstWait = backoffFirst
	}
	return &Client{
		opt: opt, id: crand.Text(), calls: map[string]chan wire.ServerMessage{}, changed: make(chan struct{}),
	}
}

// Run keeps the connection up until ctx ends (nil) or the server says that
// coming back is of no use (an error that says why).
func (c *Client) Run(ctx context.Context) error {
	wait := c.opt.FirstWait
	for {
		healthy, err := c.once(ctx)
		if ctx.Err() != nil {
			c.finish(ctx.Err())
			return nil
		}
		if final(err) {
			c.finish(err)
			return err
		}
		if healthy {
			wait = c.opt.FirstWait
		}
		pause := rand.N(wait) + 1 // full jitter
		wait = min(wait*2, backoffMost)
		c.state(State{Wait: pause, Err: err})
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (c *Client) state(s State) {
	if c.opt.State != nil {
		c.opt.State(s)
	}
}

func (c *Client) finish(err error) {
	c.mu.Lock()
	c.final = err
	c.wakeLocked()
	streams := c.streams
	c.mu.Unlock()
	for _, s := range streams {
		s.finish(err)
	}
}

func (c *Client) wakeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// final reports whether coming back after err is of no use.
func final(err error) bool {
	if errors.Is(err, ErrEnded) {
		return true
	}
	if errors.Is(err, station.ErrUnavailable) || errors.Is(err, station.ErrLimited) {
		return false
	}
	var p *station.Problem
	return errors.As(err, &p)
}

// endings are the close codes after which coming back is of no use.
var endings = map[websocket.StatusCode]string{
	wire.CloseNormal:       "closed as asked",
	wire.CloseProtocol:     "the server refused what this client said",
	wire.CloseUnauthorized: "the login or token is no longer valid; sign in again",
	wire.CloseForbidden:    "not allowed",
	wire.CloseNotFound:     "there is no such session",
	wire.CloseReplaced:     "this client connected again elsewhere",
	wire.CloseDeleted:      "the session was deleted",
	wire.CloseAsleep:       "the session sleeps; wake it to go on",
}

func closeError(err error) error {
	var ce websocket.CloseError
	if !errors.As(err, &ce) {
		return err
	}
	if why, ok := endings[ce.Code]; ok {
		if ce.Reason != "" {
			why += ": " + ce.Reason
		}
		return fmt.Errorf("%w: %s", ErrEnded, why)
	}
	return err
}

// once is one connection; healthy tells that it got as far as welcome.
func (c *Client) once(ctx context.Context) (healthy bool, err error) {
	ws, err := c.opt.Dial(ctx)
	if err != nil {
		return false, err
	}
	defer ws.CloseNow()
	ws.SetReadLimit(-1) // readMessage bounds it
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &link{ws: ws, ctx: ctx, channels: map[uint8]*Stream{}, pong: make(chan struct{}, 1)}
	defer c.unlink(l)
	// One watch for the connection's life: a context given to each read and
	// write would be armed and disarmed for each message.
	defer context.AfterFunc(ctx, func() { ws.CloseNow() })()
	if err := l.say(&wire.Hello{Client: c.id, Name: c.opt.Name}); err != nil {
		return false, closeError(err)
	}
	// Until welcome no ping tells whether anybody is there.
	late := time.AfterFunc(callTimeout, func() { ws.CloseNow() })
	defer late.Stop()
	var pings sync.WaitGroup
	defer pings.Wait()
	defer cancel()
	buf := make([]byte, wire.MaxMessage+1)
	for {
		msg, err := readMessage(ws, buf)
		if err != nil {
			return healthy, closeError(err)
		}
		num, payload, err := wire.Split(msg)
		if err != nil {
			return healthy, err
		}
		if num != wire.ControlChannel {
			c.output(l, num, payload)
			continue
		}
		m, err := wire.ParseServer(payload)
		if err != nil {
			return healthy, err
		}
		if w, ok := m.(*wire.Welcome); ok {
			healthy = true
			late.Stop()
			c.established(l, w)
			pings.Go(func() { l.ping(time.Duration(w.PingS) * time.Second) })
			continue
		}
		c.control(l, m)
	}
}

// readMessage reads the next message into buf; a longer one is cut, and refused
// by wire.Split.
func readMessage(ws *websocket.Conn, buf []byte) ([]byte, error) {
	_, r, err := ws.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	n, err := io.ReadFull(r, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // the message's end, as usual
	}
	return buf[:n], err
}

// established brings every stream back.
func (c *Client) established(l *link, w *wire.Welcome) {
	c.mu.Lock()
	c.link, c.welcome = l, w
	c.wakeLocked()
	streams := append([]*Stream(nil), c.streams...)
	c.mu.Unlock()
	c.state(State{Connected: true})
	if c.opt.Tabs != nil {
		c.opt.Tabs(w.Tabs)
	}
	for _, s := range streams {
		s.rejoin(l)
	}
}

func (c *Client) unlink(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		c.link = nil
		c.wakeLocked()
	}
	for req, ch := range c.calls {
		close(ch)
		delete(c.calls, req)
	}
}

// Welcome waits for the connection and returns what the server said last.
func (c *Client) Welcome(ctx context.Context) (*wire.Welcome, error) {
	if _, err := c.linked(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcome, nil
}

// linked waits for a connection.
func (c *Client) linked(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, final, changed := c.link, c.final, c.changed
		c.mu.Unlock()
		if final != nil {
			return nil, final
		}
		if l != nil {
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// call sends a request and waits for its answer; a drop makes it fail.
func (c *Client) call(ctx context.Context, l *link, message func(wire.Req) wire.ClientMessage) (wire.ServerMessage, error) {
	answer := make(chan wire.ServerMessage, 1)
	c.mu.Lock()
	c.nextReq++
	req := wire.StringReq(fmt.Sprintf("r%d", c.nextReq))
	c.calls[req.String()] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, req.String())
		c.mu.Unlock()
	}()
	if err := l.say(message(req)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	select {
	case m, ok := <-answer:
		if !ok {
			return nil, fmt.Errorf("connection lost while waiting for an answer")
		}
		if e, isErr := m.(*wire.Error); isErr {
			return nil, station.Errorf(station.ErrInvalid, e.Code, "%s", e.Message)
		}
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.ctx.Done():
		return nil, fmt.Errorf("connection lost while waiting for an answer")
	}
}

// List asks for the tabs.
func (c *Client) List(ctx context.Context) ([]wire.Tab, error) {
	l, err := c.linked(ctx)
	if err != nil {
		return nil, err
	}
	m, err := c.call(ctx, l, func(r wire.Req) wire.ClientMessage { return &wire.List{Req: r} })
	if err != nil {
		return nil, err
	}
	return m.(*wire.Tabs).Tabs, nil
}

// Say sends a message that has no answer of its own (rename, close).
func (c *Client) Say(ctx context.Context, m wire.ClientMessage) error {
	l, err := c.linked(ctx)
	if err != nil {
		return err
	}
	return l.say(m)
}

// Drop cuts the connection as a failing network would; Run comes back. It
// reports whether there was one.
func (c *Client) Drop() bool {
	c.mu.Lock()
	l := c.link
	c.link = nil
	c.mu.Unlock()
	if l == nil {
		return false
	}
	l.ws.CloseNow()
	return true
}

func (l *link) say(m wire.ClientMessage) error {
	return l.ws.Write(context.Background(), websocket.MessageBinary, wire.AppendClient(nil, m))
}

// ping keeps proxies awake and notices a dead link.
func (l *link) ping(every time.Duration) {
	if every <= 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for misses := 0; ; {
		select {
		case <-l.ctx.Done():
			return
		case <-l.pong:
			misses = 0
			continue
		case <-ticker.C:
		}
		if misses++; misses > pingMisses {
			l.ws.CloseNow()
			return
		}
		if l.say(&wire.Ping{T: json.RawMessage("1")}) != nil {
			return // the reader sees it too
		}
	}
}
