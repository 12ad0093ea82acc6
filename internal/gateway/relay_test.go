package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/wire"
)

func TestMessagesPassWhole(t *testing.T) {
	b := newBench(t)
	conn := b.admin().open("main")
	for _, n := range []int{1, 2, 125, 126, 4095, 4096, 32 << 10, wire.MaxMessage - 1, wire.MaxMessage} {
		msg := bytes.Repeat([]byte{7}, n)
		send(t, conn, msg)
		if got := receive(t, conn); !bytes.Equal(got, msg) {
			t.Errorf("%d bytes came back as %d", n, len(got))
		}
	}
	// A message in several frames arrives as one.
	w, err := conn.Writer(t.Context(), websocket.MessageBinary)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"\x01he", "", "llo"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, conn); string(got) != "\x01hello" {
		t.Errorf("%q", got)
	}
}

func TestTheGuestRefusesWhatBreaksTheProtocol(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	for name, do := range map[string]func(*websocket.Conn) error{
		"too large": func(c *websocket.Conn) error {
			return c.Write(t.Context(), websocket.MessageBinary, make([]byte, wire.MaxMessage+1))
		},
		"much too large": func(c *websocket.Conn) error {
			return c.Write(t.Context(), websocket.MessageBinary, make([]byte, 8<<20))
		},
		"a text message":   func(c *websocket.Conn) error { return c.Write(t.Context(), websocket.MessageText, []byte("x")) },
		"an empty message": func(c *websocket.Conn) error { return c.Write(t.Context(), websocket.MessageBinary, nil) },
	} {
		conn := root.open("main")
		if err := do(conn); err != nil {
			t.Logf("%s: %v", name, err) // the close may come first
		}
		if ce := closed(t, conn, patience); ce.Code != wire.CloseProtocol || ce.Reason != "message over the limit, empty or text" {
			t.Errorf("%s: closed with %+v", name, ce)
		}
	}
}

func TestEndings(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	root.must(201, "POST", "/api/v1/sessions", map[string]any{"name": "other"})
	bystander := root.open("other")
	conn := root.open("main")
	root.must(200, "POST", "/api/v1/sessions/main/sleep", nil)
	wantClose(t, conn, patience, wire.CloseAsleep)

	root.must(200, "POST", "/api/v1/sessions/main/wake", nil)
	conn = root.open("main")
	b.fleet.guest(root.session("main").ID).kill()
	wantClose(t, conn, patience, wire.CloseGoingAway)
	if code := root.refused(503, "/ws/sessions/main", wire.Subprotocol); code != "guest_unreachable" {
		t.Error(code)
	}

	works(t, bystander)
	root.must(204, "DELETE", "/api/v1/sessions/other", nil)
	wantClose(t, bystander, patience, wire.CloseDeleted)
}

func TestShutdownEndsEveryConnection(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	conn := root.open("main")
	hello, _, err := root.upgrade("/ws/hello")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		wantClose(t, hello, patience, wire.CloseGoingAway)
	}()
	go b.stop()
	wantClose(t, conn, patience, wire.CloseGoingAway)
	<-done
	b.stop() // Serve has ended without an error, and waited
	if n := b.g.live.count(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestTheGuestIsToldHowAClientLeft(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	left := make(chan error, 1)
	b.fleet.guest(root.session("main").ID).speaks(func(c *websocket.Conn, _ guestapi.Identity) {
		_, _, err := c.Read(context.Background())
		left <- err
	})
	for _, code := range []websocket.StatusCode{websocket.StatusNormalClosure, websocket.StatusGoingAway, 4321} {
		if err := root.open("main").Close(code, "bye"); err != nil {
			t.Fatal(err)
		}
		var ce websocket.CloseError
		if err := <-left; !errors.As(err, &ce) || ce.Code != code || ce.Reason != "bye" {
			t.Errorf("%d: the guest saw %v", code, err)
		}
	}
	// Without a code nobody has said that they will not come back: a page closes
	// so when it takes its link for dead.
	if err := root.open("main").Close(websocket.StatusNoStatusRcvd, ""); err != nil {
		t.Fatal(err)
	}
	if err := <-left; websocket.CloseStatus(err) != -1 {
		t.Errorf("a close without a code: the guest saw %v", err)
	}
	root.open("main").CloseNow()
	if err := <-left; websocket.CloseStatus(err) != -1 {
		t.Errorf("a lost link: the guest saw %v", err)
	}
}

func TestConnectionsPerUserAreCapped(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	ada := b.member(root, "ada")
	var conns []*websocket.Conn
	for range maxPerUser {
		conns = append(conns, ada.open("main"))
	}
	if code := ada.refused(429, "/ws/sessions/main", wire.Subprotocol); code != "too_many_connections" {
		t.Error(code)
	}
	works(t, conns[0])
	works(t, root.open("main"))
}

func TestASilentClientIsGone(t *testing.T) {
	b := newBench(t, withTiming(func(tm *timing) { tm.ping, tm.dead = 20*time.Millisecond, 200*time.Millisecond }))
	root := b.admin()
	left := make(chan struct{}, 2)
	b.fleet.guest(root.session("main").ID).speaks(func(c *websocket.Conn, _ guestapi.Identity) {
		c.Read(context.Background())
		left <- struct{}{}
	})
	root.open("main") // nobody reads: its pings stay unanswered
	select {
	case <-left:
	case <-time.After(patience):
		t.Error("a client that answers no ping is kept")
	}
}

// A client that answers pings and says nothing is there for longer than a silent
// one would be.
func TestAClientThatAnswersPingsStays(t *testing.T) {
	dead := 2 * time.Second
	b := newBench(t, withTiming(func(tm *timing) { tm.ping, tm.dead = 20*time.Millisecond, dead }))
	root := b.admin()
	pings := make(chan time.Time, 1)
	root.pinged = func() {
		select {
		case pings <- time.Now():
		default: // one that nobody has looked at yet will do
		}
	}
	conn := root.open("main")
	opened := time.Now()
	ctx := conn.CloseRead(t.Context()) // answers pings, says nothing
	for {
		select {
		case at := <-pings:
			if at.Sub(opened) > dead*3/2 { // nor was it sent before and came late
				return
			}
		case <-ctx.Done():
			t.Fatal("a client that answers pings was cut")
		case <-time.After(patience):
			t.Fatal("a client that answers pings is pinged no more")
		}
	}
}

// TestBackpressureIsNotDeath has a client that for several times the limit takes
// nothing but keeps talking: its connection lives and no byte is lost.
func TestBackpressureIsNotDeath(t *testing.T) {
	dead := 2 * time.Second // a busy machine, too, lets the client say something in it
	b := newBench(t, withTiming(func(tm *timing) { tm.ping, tm.dead = dead/3, dead }))
	root := b.admin()
	const messages = 1000 // 32 MB: far more than the kernel holds
	b.fleet.guest(root.session("main").ID).speaks(func(c *websocket.Conn, _ guestapi.Identity) {
		go func() { // takes what the client says
			for {
				if _, _, err := c.Read(context.Background()); err != nil {
					return
				}
			}
		}()
		for i := range messages {
			if c.Write(context.Background(), websocket.MessageBinary, bytes.Repeat([]byte{byte(i)}, 32<<10)) != nil {
				return
			}
		}
		c.Close(websocket.StatusNormalClosure, "all said")
	})
	conn := root.open("main")
	stop := talk(t, conn, dead/30)
	<-time.After(3 * dead) // takes nothing
	for i := range messages {
		if got := receive(t, conn); len(got) != 32<<10 || got[0] != byte(i) {
			t.Fatalf("message %d: %d bytes of %d", i, len(got), got[0])
		}
	}
	stop()
	wantClose(t, conn, patience, wire.CloseNormal)
}

// talk has a client say something again and again until stop is called.
func talk(t *testing.T, conn *websocket.Conn, every time.Duration) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			if err := conn.Write(t.Context(), websocket.MessageBinary, []byte("\xffack")); err != nil {
				t.Errorf("talk: %v", err)
				return
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(over); <-done })
	t.Cleanup(stop)
	return stop
}

func TestStalledAndSilentIsDeath(t *testing.T) {
	b := newBench(t, withTiming(func(tm *timing) { tm.ping, tm.dead = 50*time.Millisecond, 300*time.Millisecond }))
	root := b.admin()
	cut := make(chan error, 1)
	b.fleet.guest(root.session("main").ID).speaks(func(c *websocket.Conn, _ guestapi.Identity) {
		for {
			if err := c.Write(context.Background(), websocket.MessageBinary, make([]byte, 32<<10)); err != nil {
				cut <- err
				return
			}
		}
	})
	root.open("main")
	select {
	case <-cut:
	case <-time.After(patience):
		t.Error("a dead client pins the guest")
	}
}

func TestHelloEchoes(t *testing.T) {
	b := newBench(t)
	conn, _, err := b.browser().with("Origin", "-").upgrade("/ws/hello")
	if err != nil {
		t.Fatal(err)
	}
	var h struct {
		Type string
		T    int64
	}
	if err := json.Unmarshal(receive(t, conn), &h); err != nil || h.Type != "hello" || h.T == 0 {
		t.Errorf("%+v, %v", h, err)
	}
	works(t, conn)
	conn.Write(t.Context(), websocket.MessageBinary, make([]byte, wire.MaxMessage+10))
	closed(t, conn, patience)
}

func TestProbeNamesTheHopThatFails(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	said := func(hops []hop) string {
		var out []string
		for _, h := range hops {
			mark := "-"
			if h.OK {
				mark = "+"
			}
			if h.Detail == "" {
				t.Errorf("%s says nothing", h.Hop)
			}
			out = append(out, mark+h.Hop)
		}
		return strings.Join(out, " ")
	}
	if got := said(probe(t, root, "main")); got != "+gateway +session +guest +mux" {
		t.Error(got)
	}
	if got := said(probe(t, root, "none")); got != "+gateway -session" {
		t.Error(got)
	}
	guest := b.fleet.guest(root.session("main").ID)
	guest.speaks(func(c *websocket.Conn, _ guestapi.Identity) {
		c.Write(context.Background(), websocket.MessageBinary, []byte("\x01no welcome"))
	})
	if got := said(probe(t, root, "main")); got != "+gateway +session +guest -mux" {
		t.Error(got)
	}
	guest.kill()
	if got := said(probe(t, root, "main")); got != "+gateway +session -guest" {
		t.Error(got)
	}
	root.must(200, "POST", "/api/v1/sessions/main/sleep", nil)
	if got := said(probe(t, root, "main")); got != "+gateway +session -guest" {
		t.Error(got)
	}
	if s := root.session("main"); s.State != station.StateAsleep {
		t.Errorf("the probe woke it: %+v", s)
	}
	b.browser().refused(401, "/ws/terminal-probe?session=main")
	b.browser().refused(401, "/ws/terminal-probe?session=main", wire.TicketPrefix+root.ticket("main", map[string]any{"scope": "files"}))
}

func TestRegistryRefusesAfterShutdown(t *testing.T) {
	r := newRegistry()
	l, err := r.add(station.Credential{User: "u"}, "")
	if err != nil {
		t.Fatal(err)
	}
	r.shutdown()
	r.shutdown()
	<-l.ended
	if _, err := r.add(station.Credential{}, ""); !errors.Is(err, station.ErrUnavailable) {
		t.Error(err)
	}
	r.remove(l)
	if err := r.wait(t.Context()); err != nil {
		t.Error(err)
	}
}
