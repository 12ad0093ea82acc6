package muxclient

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/station"
	"staithe/internal/wire"
)

const (
	// inFlight is how much typed input may be sent and not yet acknowledged.
	inFlight = 256 << 10
	// maxInput is the largest input frame.
	maxInput = 32 << 10
	// ackEvery: drawn output is acknowledged after so many bytes, or after ackDelay.
	ackEvery = 32 << 10
	ackDelay = 20 * time.Millisecond
)

// Sink takes what a tab puts out. Its methods are called by one goroutine, in
// order; what Output has returned from counts as drawn.
type Sink interface {
	// Reset: what was drawn before is void; a redraw of n bytes follows.
	Reset(n int64)
	// Output is bytes to draw; what they are says which. p is only lent.
	Output(p []byte, what Kind)
	// Size: the terminal has this size from here on.
	Size(cols, rows int)
	// Exit: the shell has ended; nothing follows.
	Exit(e wire.Exit)
	// Unsent: the tab was started anew; this typed input never arrived.
	Unsent(p []byte)
}

// Kind says what output is.
type Kind int

// A redraw is no part of the stream. The past was put out before this client
// attached, the present since.
const (
	Redraw Kind = iota
	Past
	Present
)

// Stream is one attached tab. Methods are safe for concurrent use.
type Stream struct {
	c    *Client
	sink Sink
	done chan struct{} // closed at exit, or when the client is finished

	mu         sync.Mutex
	room       *sync.Cond // unacknowledged input shrank, or done
	tab        string
	epoch      string
	offset     int64 // next stream byte wanted
	head       int64 // stream bytes before it are the past
	driver     bool
	snapshot   int64 // redraw bytes still to come
	drawn      int64 // of the redraw
	acked      int64
	snapAcked  int64
	ackTimer   *time.Timer
	ackSet     bool // the timer runs
	cols, rows int
	link       *link // nil: not attached
	channel    uint8
	pending    []byte // typed, not yet acknowledged; pending[0] is input byte typed0
	typed0     int64
	sent       int // of pending, on this link
	err        error
}

func (c *Client) newStream(sink Sink, cols, rows int) *Stream {
	s := &Stream{c: c, sink: sink, cols: cols, rows: rows, done: make(chan struct{})}
	s.room = sync.NewCond(&s.mu)
	s.ackTimer = time.AfterFunc(time.Hour, s.ack)
	return s
}

// Open starts a new tab and attaches to it.
func (c *Client) Open(ctx context.Context, o wire.Open, sink Sink) (*Stream, error) {
	return c.join(ctx, c.newStream(sink, o.Cols, o.Rows), func(r wire.Req) wire.ClientMessage {
		o.Req = r
		return &o
	})
}

// Attach joins a tab named by id or name, with a redraw first.
func (c *Client) Attach(ctx context.Context, a wire.Attach, sink Sink) (*Stream, error) {
	return c.join(ctx, c.newStream(sink, a.Cols, a.Rows), func(r wire.Req) wire.ClientMessage {
		a.Req = r
		return &a
	})
}

func (c *Client) join(ctx context.Context, s *Stream, message func(wire.Req) wire.ClientMessage) (*Stream, error) {
	l, err := c.linked(ctx)
	if err != nil {
		return nil, err
	}
	// The answer is handled by the reader before it reads on (see attached):
	// the call only learns the outcome.
	m, err := c.call(ctx, l, func(r wire.Req) wire.ClientMessage {
		c.expect(r, l, s)
		return message(r)
	})
	if err != nil {
		s.finish(err) // should the answer come yet, the tab is left again
		return nil, err
	}
	if _, ok := m.(*wire.Attached); !ok {
		return nil, fmt.Errorf("%w: %T instead of attached", wire.ErrProtocol, m)
	}
	return s, nil
}

// expect notes that the answer to r attaches s.
func (c *Client) expect(r wire.Req, l *link, s *Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.expected == nil {
		l.expected = map[string]*Stream{}
	}
	l.expected[r.String()] = s
}

// finished reports whether the stream is done.
func (s *Stream) finished() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// rejoin asks for the stream's next byte on a new link.
func (s *Stream) rejoin(l *link) {
	if s.finished() {
		return
	}
	s.mu.Lock()
	s.link, s.sent = nil, 0
	offset := s.offset
	a := wire.Attach{Tab: s.tab, Cols: s.cols, Rows: s.rows, Epoch: s.epoch, Offset: &offset}
	if s.snapshot > 0 {
		a.Offset = nil // the redraw was cut short: only another one helps
	}
	s.mu.Unlock()
	c := s.c
	c.mu.Lock()
	c.nextReq++
	a.Req = wire.StringReq(fmt.Sprintf("r%d", c.nextReq))
	c.mu.Unlock()
	c.expect(a.Req, l, s)
	l.say(&a) // when it fails the reader sees it too, and comes back
}

// attached runs on the reader, before anything that follows is read.
func (s *Stream) attached(l *link, m *wire.Attached) {
	s.mu.Lock()
	var lost []byte
	fresh := s.epoch != m.Epoch
	// A server that says less than it said before has forgotten this client,
	// which was away too long: what it took of the rest nobody knows.
	if s.epoch != "" && (fresh || m.InputOffset < s.typed0) {
		lost = s.pending
		s.pending, s.typed0 = nil, m.InputOffset
	}
	s.tab, s.epoch, s.link, s.channel = m.Tab, m.Epoch, l, m.Channel
	s.snapshot, s.drawn, s.snapAcked = m.SnapshotBytes, 0, 0
	s.offset, s.acked, s.head = m.Offset, m.Offset, m.Head
	s.settle(m.InputOffset)
	if fresh && len(s.pending) == 0 {
		s.typed0 = m.InputOffset
	}
	s.sent = 0
	s.mu.Unlock()
	if len(lost) > 0 {
		s.sink.Unsent(lost)
	}
	if m.Mode == wire.ModeSnapshot {
		s.sink.Reset(m.SnapshotBytes)
	}
	s.sink.Size(m.Cols, m.Rows)
	s.flush()
}

// settle forgets input that has arrived; the caller holds s.mu.
func (s *Stream) settle(offset int64) {
	n := int(min(max(offset-s.typed0, 0), int64(len(s.pending))))
	s.pending = s.pending[n:]
	s.typed0 += int64(n)
	s.sent = max(0, s.sent-n)
	s.room.Broadcast()
}

// Write types p. It blocks while too much is unacknowledged, and returns at
// once when there is no connection: what is typed is sent when it is back.
// The error is the stream's end.
func (s *Stream) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		s.mu.Lock()
		for len(s.pending) >= inFlight && s.err == nil {
			s.room.Wait()
		}
		if s.err != nil {
			err := s.err
			s.mu.Unlock()
			return n - len(p), err
		}
		k := min(len(p), inFlight-len(s.pending))
		s.pending = append(s.pending, p[:k]...)
		p = p[k:]
		s.mu.Unlock()
		s.flush()
	}
	return n, nil
}

// flush sends what is typed and not yet sent on this link.
func (s *Stream) flush() {
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	if l == nil {
		return
	}
	l.writing.Lock() // frames leave in the order they are cut
	defer l.writing.Unlock()
	for {
		s.mu.Lock()
		if s.link != l || s.sent >= len(s.pending) {
			s.mu.Unlock()
			return
		}
		part := s.pending[s.sent:min(s.sent+maxInput, len(s.pending))]
		frame := wire.AppendFrame(nil, s.channel, part)
		s.sent += len(part)
		s.mu.Unlock()
		if l.ws.Write(context.Background(), websocket.MessageBinary, frame) != nil {
			return // sent again on the next link
		}
	}
}

// Resize says the size of this client's view.
func (s *Stream) Resize(cols, rows int) {
	s.mu.Lock()
	s.cols, s.rows = cols, rows
	l, ch := s.link, s.channel
	s.mu.Unlock()
	if l != nil {
		l.say(&wire.Resize{Channel: ch, Cols: cols, Rows: rows}) // else attach says it
	}
}

// Tab is the tab's id.
func (s *Stream) Tab() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tab
}

// Driver reports whether this client's size rules.
func (s *Stream) Driver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.driver
}

// Offset is the next stream byte wanted.
func (s *Stream) Offset() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offset
}

// Unacked is how many typed bytes the server has not yet confirmed.
func (s *Stream) Unacked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}

// Detach leaves the tab as it is.
func (s *Stream) Detach(ctx context.Context) {
	s.mu.Lock()
	l, ch := s.link, s.channel
	s.mu.Unlock()
	if l != nil {
		l.say(&wire.Detach{Channel: ch}) // a lost link leaves by itself
	}
	s.finish(context.Canceled)
}

// Done is closed when the shell has ended or the client is finished.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err says why the stream is done; nil after exit.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == errExited {
		return nil
	}
	return s.err
}

var errExited = station.Errorf(station.ErrGone, "exited", "The shell has ended.")

func (s *Stream) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = err
	s.ackTimer.Stop()
	s.room.Broadcast()
	close(s.done)
}

// output is called by the reader for each data frame.
func (c *Client) output(l *link, num uint8, p []byte) {
	c.mu.Lock()
	s := l.channels[num]
	c.mu.Unlock()
	if s == nil {
		return // detached meanwhile
	}
	s.mu.Lock()
	n := min(s.snapshot, int64(len(p)))
	past := min(max(s.head-s.offset, 0), int64(len(p))-n)
	s.mu.Unlock()
	for _, part := range []struct {
		p    []byte
		what Kind
	}{{p[:n], Redraw}, {p[n : n+past], Past}, {p[n+past:], Present}} {
		if len(part.p) > 0 {
			s.sink.Output(part.p, part.what)
		}
	}
	s.mu.Lock()
	s.snapshot -= n
	s.drawn += n
	s.offset += int64(len(p)) - n
	due := s.offset-s.acked >= ackEvery || s.drawn-s.snapAcked >= ackEvery
	if !due && !s.ackSet && s.err == nil {
		// It is not put off by what comes next: a server that is not told
		// anything for a second takes this client to be asleep.
		s.ackSet = true
		s.ackTimer.Reset(ackDelay)
	}
	s.mu.Unlock()
	if due {
		s.ack()
	}
}

// ack tells the server how far the sink has drawn.
func (s *Stream) ack() {
	s.mu.Lock()
	l, ch := s.link, s.channel
	offset, drawn := s.offset, s.drawn
	ackOut, ackSnap := offset > s.acked, drawn > s.snapAcked
	s.acked, s.snapAcked, s.ackSet = offset, drawn, false
	s.mu.Unlock()
	if l == nil {
		return
	}
	// A failed write is the reader's to see.
	if ackSnap {
		l.say(&wire.Ack{Channel: ch, Offset: drawn, Snapshot: true})
	}
	if ackOut {
		l.say(&wire.Ack{Channel: ch, Offset: offset})
	}
}
