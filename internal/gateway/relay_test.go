package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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
	if err := root.open("main").Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Fatal(err)
	}
	if err := <-left; websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("asked for: the guest saw %v", err)
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

	alive := root.open("main")
	ctx := alive.CloseRead(t.Context()) // answers pings, says nothing
	select {
	case <-ctx.Done():
		t.Error("a client that answers pings was cut")
	case <-time.After(5 * 200 * time.Millisecond):
	}
}

// TestBackpressureIsNotDeath has a client that for several times the limit takes
// nothing but keeps talking: its connection lives and no byte is lost.
func TestBackpressureIsNotDeath(t *testing.T) {
	dead := 300 * time.Millisecond
	b := newBench(t, withTiming(func(tm *timing) { tm.ping, tm.dead = 50*time.Millisecond, dead }))
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
	talk, stop := time.NewTicker(dead/6), time.After(5*dead)
	defer talk.Stop()
	for talking := true; talking; {
		select {
		case <-talk.C:
			send(t, conn, []byte("\xffack"))
		case <-stop:
			talking = false
		}
	}
	for i := range messages {
		if got := receive(t, conn); len(got) != 32<<10 || got[0] != byte(i) {
			t.Fatalf("message %d: %d bytes of %d", i, len(got), got[0])
		}
	}
	wantClose(t, conn, patience, wire.CloseNormal)
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

func TestAbuse39_AGuestThatLies(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	ada := b.member(root, "ada")
	bystander := ada.open("main")
	guest := b.fleet.guest(root.session("main").ID)
	elsewhere := make(chan struct{}, 100)
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere <- struct{}{} })}
	go func() { defer close(served); srv.Serve(trap) }()
	t.Cleanup(func() { srv.Close(); <-served })

	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(`[{"name":"`))
		for chunk := bytes.Repeat([]byte("a"), 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	lies := map[string]http.HandlerFunc{
		"10 GB body": endless,
		"10 GB failure": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			endless(w, r)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+trap.Addr().String()+"/stolen", http.StatusTemporaryRedirect)
		},
		"html":        func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<script>alert(1)</script>")) },
		"sign-out":    fails(401, "sign_in", "Your login has ended; type your password."),
		"forbidden":   fails(403, "x", "y"),
		"made-up 299": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) },
		"418":         fails(418, "x", "y"),
		"hang up":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"big header":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("a", 1<<20)) },
		"other health": func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(guestapi.Health{Session: station.NewID()})
		},
	}
	for name, lie := range lies {
		guest.lies(lie)
		if r := root.do("GET", "/api/v1/sessions/main/tabs", nil); r.StatusCode != 503 || r.code() == "sign_in" {
			t.Errorf("%s: tabs answered %d %.200s", name, r.StatusCode, r.body)
		}
		root.refused(503, "/ws/sessions/main", wire.Subprotocol)
		if hops := probe(t, root, "main"); hops[len(hops)-1].OK {
			t.Errorf("%s: the probe is content: %+v", name, hops)
		}
	}
	guest.lies(fails(409, "busy\x1b[2J", "Line one\nline two \x1b]0;x\x07\u202e"+strings.Repeat("x", 3000)))
	r := root.do("GET", "/api/v1/sessions/main/tabs", nil)
	var p problem
	r.into(t, &p)
	if r.StatusCode != 409 || strings.ContainsAny(p.Detail+p.Code, "\x1b\n\x07\u202e") || len(p.Detail) > maxPlain {
		t.Errorf("%d %q", r.StatusCode, p.Detail)
	}
	guest.lies(nil)
	if len(elsewhere) != 0 {
		t.Error("a guest sent the gateway elsewhere")
	}
	lyingMux(t, root, guest)
	works(t, bystander)
	root.must(200, "GET", "/api/v1/me", nil)
}

func fails(status int, code, sentence string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(guestapi.Failure{Code: code, Sentence: sentence})
	}
}

// lyingMux has the guest misuse an open mux: what it says wrong is not passed
// on, and what is the gateway's to say does not come from it.
func lyingMux(t *testing.T, root *browser, guest *stubGuest) {
	t.Helper()
	bg := context.Background()
	for name, c := range map[string]struct {
		speak func(*websocket.Conn)
		want  int
	}{
		"text":          {func(c *websocket.Conn) { c.Write(bg, websocket.MessageText, []byte("x")) }, wire.CloseProtocol},
		"empty":         {func(c *websocket.Conn) { c.Write(bg, websocket.MessageBinary, nil) }, wire.CloseProtocol},
		"huge":          {func(c *websocket.Conn) { c.Write(bg, websocket.MessageBinary, make([]byte, 64<<20)) }, wire.CloseProtocol},
		"says 4401":     {func(c *websocket.Conn) { c.Close(wire.CloseUnauthorized, "sign in") }, wire.CloseGoingAway},
		"says 4410":     {func(c *websocket.Conn) { c.Close(wire.CloseDeleted, "deleted") }, wire.CloseGoingAway},
		"says 4412":     {func(c *websocket.Conn) { c.Close(wire.CloseAsleep, "asleep") }, wire.CloseGoingAway},
		"says 3999":     {func(c *websocket.Conn) { c.Close(3999, "odd") }, wire.CloseGoingAway},
		"says 4409":     {func(c *websocket.Conn) { c.Close(wire.CloseReplaced, "elsewhere") }, wire.CloseReplaced},
		"odd reason":    {func(c *websocket.Conn) { c.Close(wire.CloseProtocol, "a\x1b[2Jb\xff") }, wire.CloseProtocol},
		"just hangs up": {func(c *websocket.Conn) { c.CloseNow() }, wire.CloseGoingAway},
	} {
		guest.speaks(func(conn *websocket.Conn, _ guestapi.Identity) { c.speak(conn) })
		ce := closed(t, root.open("main"), patience)
		if int(ce.Code) != c.want || strings.Contains(ce.Reason, "\x1b") || !utf8.ValidString(ce.Reason) {
			t.Errorf("%s: closed with %d %q, want %d", name, ce.Code, ce.Reason, c.want)
		}
	}
	guest.speaks(nil)
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
