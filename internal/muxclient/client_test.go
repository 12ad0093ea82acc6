package muxclient

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/wire"
)

// fake is a server whose connections a test plays, in memory, so that a bubble
// of synctest can hold it.
type fake struct {
	t     *testing.T
	conns chan net.Conn
	play  chan *peer // connections that have said hello or are about to
	c     *Client
}

// peer is the server's end of a connection.
type peer struct {
	t  *testing.T
	ws *websocket.Conn
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, conns: make(chan net.Conn), play: make(chan *peer)}
	ctx, cancel := context.WithCancel(t.Context())
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
		if err != nil {
			t.Error(err)
			return
		}
		select {
		case f.play <- &peer{t, ws}:
		case <-ctx.Done():
			ws.CloseNow()
		}
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(f)
	}()
	f.c = New(Options{Dial: func(ctx context.Context) (*websocket.Conn, error) {
		tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			select {
			case f.conns <- theirs:
				return ours, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		ws, _, err := websocket.Dial(ctx, "ws://fake/", &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: tr}, Subprotocols: []string{wire.Subprotocol},
		})
		return ws, err
	}})
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		f.c.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ran; srv.Close(); <-served })
	return f
}

// Accept, Close and Addr make it a net.Listener.
func (f *fake) Accept() (net.Conn, error) {
	if c, ok := <-f.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (f *fake) Close() error   { close(f.conns); return nil }
func (f *fake) Addr() net.Addr { return &net.UnixAddr{Name: "fake", Net: "unix"} }

// welcome takes the next connection as far as welcome.
func (f *fake) welcome() *peer {
	f.t.Helper()
	p := <-f.play
	f.t.Cleanup(func() { p.ws.CloseNow() })
	if _, ok := p.next().(*wire.Hello); !ok {
		f.t.Fatal("no hello")
	}
	p.say(&wire.Welcome{Protocol: wire.Version})
	return p
}

func (p *peer) say(m wire.ServerMessage) { p.send(wire.AppendServer(nil, m)) }

func (p *peer) send(b []byte) {
	p.t.Helper()
	if err := p.ws.Write(p.t.Context(), websocket.MessageBinary, b); err != nil {
		p.t.Fatal(err)
	}
}

// next returns the next message: a wire.ClientMessage, or input as a string.
func (p *peer) next() any {
	p.t.Helper()
	_, b, err := p.ws.Read(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	if b[0] != wire.ControlChannel {
		return string(b[1:])
	}
	m, err := wire.ParseClient(b[1:])
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// attach answers the attach that comes next.
func (p *peer) attach(epoch string, input int64) {
	p.t.Helper()
	a, ok := p.next().(*wire.Attach)
	if !ok {
		p.t.Fatal("no attach")
	}
	p.say(&wire.Attached{Req: a.Req, Tab: "t", Epoch: epoch, Mode: wire.ModeResume, Cols: 80, Rows: 24, InputOffset: input})
}

// nothing is a sink that keeps what was unsent.
type nothing struct{ unsent []byte }

func (*nothing) Reset(int64)         {}
func (*nothing) Output([]byte, Kind) {}
func (*nothing) Size(int, int)       {}
func (*nothing) Exit(wire.Exit)      {}
func (n *nothing) Unsent(p []byte)   { n.unsent = append(n.unsent, p...) }

// start attaches to the tab t of the fake's first connection.
func (f *fake) start(sink Sink, input int64) (*peer, *Stream) {
	f.t.Helper()
	attached := make(chan *Stream)
	go func() {
		s, err := f.c.Attach(f.t.Context(), wire.Attach{Tab: "t", Cols: 80, Rows: 24}, sink)
		if err != nil {
			f.t.Error(err)
		}
		attached <- s
	}()
	p := f.welcome()
	p.attach("life", input)
	return p, <-attached
}

// A client that was away for longer than its counter is kept is counted from 0
// again: typing goes on, and what is in doubt is shown, not typed again.
func TestForgottenClientTypesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		sink := &nothing{}
		p, s := f.start(sink, 100)
		go s.Write([]byte("abc"))
		if got := p.next(); got != "abc" {
			t.Fatalf("typed %v", got)
		}
		p.ws.CloseNow()
		p = f.welcome()
		p.attach("life", 0)
		synctest.Wait()
		go s.Write([]byte("d"))
		if got := p.next(); got != "d" || string(sink.unsent) != "abc" {
			t.Errorf("typed %v, unsent %q", got, sink.unsent)
		}
		p.say(&wire.InputAck{Offset: 1})
		synctest.Wait()
		if n := s.Unacked(); n != 0 {
			t.Errorf("%d bytes are never acknowledged", n)
		}
	})
}

// Output that trickles is acknowledged though it never pauses.
func TestTrickleIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p, _ := f.start(&nothing{}, 0)
		go func() {
			for range 200 {
				p.send([]byte{0, 'x'})
				time.Sleep(5 * time.Millisecond) // the bubble's clock
			}
		}()
		began := time.Now()
		if a, ok := p.next().(*wire.Ack); !ok || time.Since(began) > 100*time.Millisecond {
			t.Errorf("%+v after %v", a, time.Since(began))
		}
		time.Sleep(2 * time.Second)
	})
}

// A server that takes the connection and says nothing is left again.
func TestSilentServerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		silent := <-f.play
		defer silent.ws.CloseNow()
		silent.next()
		began := time.Now()
		f.welcome()
		if d := time.Since(began); d < callTimeout || d > callTimeout+time.Second {
			t.Errorf("came again after %v", d)
		}
	})
}

// A connection that broke the protocol is not taken for one that is up.
func TestBrokenConnectionIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := f.welcome()
		p.send([]byte{wire.ControlChannel, '{'})
		p.ws.Read(t.Context()) // gone
		synctest.Wait()
		failed := make(chan error, 1)
		go func() {
			_, err := f.c.List(t.Context())
			failed <- err
		}()
		p = f.welcome()
		l, ok := p.next().(*wire.List)
		if !ok {
			t.Fatal("no list")
		}
		p.say(&wire.Tabs{Req: l.Req})
		if err := <-failed; err != nil {
			t.Error(err)
		}
	})
}

// An answer that comes after whoever asked has given up leaves no tab attached.
func TestAttachGivenUpIsDetached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := f.c.Attach(ctx, wire.Attach{Tab: "t", Cols: 80, Rows: 24}, &nothing{})
			failed <- err
		}()
		p := f.welcome()
		a := p.next().(*wire.Attach)
		cancel()
		if <-failed == nil {
			t.Fatal("attached")
		}
		p.say(&wire.Attached{Req: a.Req, Tab: "t", Channel: 7, Epoch: "life", Mode: wire.ModeResume})
		if d, ok := p.next().(*wire.Detach); !ok || d.Channel != 7 {
			t.Errorf("%+v", d)
		}
	})
}
