package guest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/guestapi"
	"staithe/internal/muxclient"
	"staithe/internal/station"
	"staithe/internal/terminal"
	"staithe/internal/wire"
)

// world is a guest on a real socket with real shells.
type world struct {
	t      testing.TB
	guest  *Guest
	signer *guestapi.Signer
	dial   func(context.Context) (net.Conn, error)
	id     station.ID
	home   string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	signer, err := guestapi.NewSigner(guestapi.NewSeed())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, signer: signer, id: station.NewID(), home: t.TempDir()}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	reaper := terminal.NewReaper(false)
	w.guest = New(Options{
		Config: guestapi.Config{
			Session: w.id, Name: "test", PublicKey: signer.PublicKey(), User: "ada", Home: w.home, Shell: "/bin/sh",
			Env: []string{"PATH=/usr/bin:/bin", "HOME=" + w.home, "TERM=xterm-256color", "PS1=$ "},
		},
		Spawner: terminal.Local{Start: reaper.Start}, Version: "test",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	served := make(chan error, 1)
	go func() { served <- w.guest.Serve(l) }()
	w.dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", socket) }
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.guest.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		reaper.Close()
	})
	return w
}

func (w *world) api() *guestapi.Client {
	c := guestapi.NewClient(w.id, w.signer, w.dial)
	w.t.Cleanup(c.Close)
	return c
}

func owner(name string) guestapi.Identity {
	return guestapi.Identity{User: station.ID(name), Name: name, Role: station.RoleOwner}
}

// client connects a mux client that runs until the test's end.
func (w *world) client(id guestapi.Identity) *muxclient.Client {
	api := w.api()
	c := muxclient.New(muxclient.Options{
		FirstWait: time.Millisecond,
		Dial:      func(ctx context.Context) (*websocket.Conn, error) { return api.Mux(ctx, id, wire.Subprotocol) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	return c
}

// sink keeps everything.
type sink struct {
	mu     sync.Mutex
	cond   *sync.Cond
	out    bytes.Buffer // stream
	redraw bytes.Buffer
	resets int
	unsent bytes.Buffer
	exit   *wire.Exit
	sizes  []string
}

func newSink() *sink {
	s := &sink{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *sink) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.cond.Broadcast()
}

func (s *sink) Reset(int64)      { s.do(func() { s.resets++; s.redraw.Reset() }) }
func (s *sink) Exit(e wire.Exit) { s.do(func() { s.exit = &e }) }
func (s *sink) Unsent(p []byte)  { s.do(func() { s.unsent.Write(p) }) }
func (s *sink) Size(c, r int)    { s.do(func() { s.sizes = append(s.sizes, fmt.Sprintf("%dx%d", c, r)) }) }
func (s *sink) Output(p []byte, what muxclient.Kind) {
	s.do(func() {
		if what == muxclient.Redraw {
			s.redraw.Write(p)
		} else {
			s.out.Write(p)
		}
	})
}

// until waits for a condition over what was received.
func (s *sink) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := false
	timer := time.AfterFunc(30*time.Second, func() { s.do(func() { late = true }) })
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !ok() {
		if late {
			tail := s.out.Bytes()
			t.Fatalf("%s: not seen; %d bytes, the last %q", what, len(tail), tail[max(0, len(tail)-200):])
		}
		s.cond.Wait()
	}
}

func (s *sink) see(t testing.TB, text string) {
	t.Helper()
	s.until(t, text, func() bool {
		return strings.Contains(s.redraw.String()+s.out.String(), text)
	})
}

func openTab(t testing.TB, c *muxclient.Client, o wire.Open) (*muxclient.Stream, *sink) {
	t.Helper()
	if o.Cols == 0 {
		o.Cols, o.Rows = 80, 24
	}
	s := newSink()
	st, err := c.Open(t.Context(), o, s)
	if err != nil {
		t.Fatal(err)
	}
	return st, s
}

func attachTab(t testing.TB, c *muxclient.Client, a wire.Attach) (*muxclient.Stream, *sink) {
	t.Helper()
	if a.Cols == 0 {
		a.Cols, a.Rows = 80, 24
	}
	s := newSink()
	st, err := c.Attach(t.Context(), a, s)
	if err != nil {
		t.Fatal(err)
	}
	return st, s
}

func TestOpenTypeExitRestart(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	st, s := openTab(t, c, wire.Open{})
	st.Write([]byte("echo one-$((40+2)); exit 3\n"))
	s.see(t, "one-42")
	s.until(t, "exit", func() bool { return s.exit != nil })
	if s.exit.Code != 3 {
		t.Errorf("exit %+v", s.exit)
	}
	tabs, err := c.List(t.Context())
	if err != nil || len(tabs) != 1 || !tabs[0].Exited || tabs[0].ExitCode != 3 || tabs[0].Name != "main" {
		t.Fatalf("%+v %v", tabs, err)
	}
	// A newcomer to the ended tab sees what it said and how it ended.
	_, s2 := attachTab(t, c, wire.Attach{Tab: "main"})
	s2.see(t, "one-42")
	s2.until(t, "exit again", func() bool { return s2.exit != nil })
	st3, s3 := attachTab(t, c, wire.Attach{Tab: "main", Restart: true})
	st3.Write([]byte("echo two-$((40+3))\n"))
	s3.see(t, "two-43")
	if s3.resets != 0 {
		t.Error("a new shell begins with a redraw")
	}
	if err := c.Say(t.Context(), &wire.Close{Tab: "main"}); err != nil {
		t.Fatal(err)
	}
	s3.until(t, "closed", func() bool { return s3.exit != nil })
}

// TestDrops cuts the connection 200 times at random moments, with output and
// input running: no byte is lost or doubled, either way.
func TestDrops(t *testing.T) {
	drops := 200
	w := newWorld(t)
	c := w.client(owner("ada"))
	const lines, typedLen = 300_000, 1 << 20
	st, s := openTab(t, c, wire.Open{Command: []string{"/bin/sh", "-c",
		fmt.Sprintf(`stty raw -echo; echo ready; seq 1 %d; head -c %d > typed; sha256sum < typed; exit 7`, lines, typedLen)}})
	s.see(t, "ready")

	rnd := rand.New(rand.NewPCG(1, 99))
	typed := make([]byte, typedLen)
	for i := range typed {
		typed[i] = byte(rnd.Uint32())
	}
	typing := make(chan error, 1)
	go func() {
		rnd := rand.New(rand.NewPCG(5, 5))
		for p := typed; len(p) > 0; {
			n := min(1+rnd.IntN(4096), len(p))
			if _, err := st.Write(p[:n]); err != nil {
				typing <- err
				return
			}
			p = p[n:]
		}
		typing <- nil
	}()
	for range drops {
		target := st.Offset() + rnd.Int64N(8<<10)
		s.until(t, "output", func() bool {
			return s.exit != nil || int64(s.out.Len()) >= target || st.Unacked() > 0 && rnd.IntN(3) == 0
		})
		c.Drop()
	}
	if err := <-typing; err != nil {
		t.Fatal(err)
	}
	s.until(t, "exit", func() bool { return s.exit != nil })
	var want bytes.Buffer
	want.WriteString("ready\n")
	for i := range lines {
		fmt.Fprintf(&want, "%d\n", i+1)
	}
	fmt.Fprintf(&want, "%x  -\n", sha256.Sum256(typed))
	if s.exit.Code != 7 || s.resets != 0 {
		t.Errorf("exit %+v, %d resets", s.exit, s.resets)
	}
	if !bytes.Equal(s.out.Bytes(), want.Bytes()) {
		t.Errorf("output differs: %d bytes, want %d; end %q", s.out.Len(), want.Len(), s.out.Bytes()[max(0, s.out.Len()-100):])
	}
	if got, err := os.ReadFile(filepath.Join(w.home, "typed")); err != nil || !bytes.Equal(got, typed) {
		t.Errorf("input differs: %d bytes, %v", len(got), err)
	}
}

// The second connection of a client takes the first one's place.
func TestSameClientAgainReplacesTheFirst(t *testing.T) {
	w := newWorld(t)
	api := w.api()
	hello := &wire.Hello{Client: "abcdefghijklmnopqrst"}
	first := rawMux(t, api, owner("ada"))
	first.say(hello)
	first.next("welcome")
	second := rawMux(t, api, owner("ada"))
	second.say(hello)
	second.next("welcome")
	if code := first.closeCode(); code != wire.CloseReplaced {
		t.Errorf("close %d", code)
	}
	// Another user's client of the same name is another client.
	third := rawMux(t, api, owner("bob"))
	third.say(hello)
	third.next("welcome")
	second.say(&wire.Ping{})
	second.next("pong")
}

// raw is a mux connection with nothing on top.
type raw struct {
	t  testing.TB
	ws *websocket.Conn
}

func rawMux(t testing.TB, api *guestapi.Client, id guestapi.Identity) *raw {
	t.Helper()
	ws, err := api.Mux(t.Context(), id, wire.Subprotocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	return &raw{t, ws}
}

func (r *raw) say(m wire.ClientMessage) { r.send(wire.AppendClient(nil, m)) }

func (r *raw) send(b []byte) {
	r.t.Helper()
	if err := r.ws.Write(r.t.Context(), websocket.MessageBinary, b); err != nil {
		r.t.Fatal(err)
	}
}

// next returns the next control message of a type, skipping all else.
func (r *raw) next(typ string) wire.ServerMessage {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, b, err := r.ws.Read(ctx)
		if err != nil {
			r.t.Fatalf("waiting for %s: %v", typ, err)
		}
		if b[0] == wire.ControlChannel && bytes.Contains(b, []byte(`{"type":"`+typ+`"`)) {
			m, err := wire.ParseServer(b[1:])
			if err != nil {
				r.t.Fatal(err)
			}
			return m
		}
	}
}

func (r *raw) closeCode() websocket.StatusCode {
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for {
		if _, _, err := r.ws.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

func TestAbuse32_MalformedFramesClose4400(t *testing.T) {
	w := newWorld(t)
	api := w.api()
	hello := wire.AppendClient(nil, &wire.Hello{Client: "abcdefghijklmnopqrst"})
	control := func(s string) []byte { return append([]byte{wire.ControlChannel}, s...) }
	cases := map[string][][]byte{
		"no hello":      {control(`{"type":"list","req":1}`)},
		"input first":   {{0, 'x'}},
		"hello twice":   {hello, hello},
		"empty":         {hello, {}},
		"not JSON":      {hello, control("nope")},
		"wrong type":    {hello, control(`{"type":"attach","req":1,"tab":5,"cols":80,"rows":24}`)},
		"too large":     {hello, make([]byte, wire.MaxMessage+1)},
		"far too large": {hello, make([]byte, 4*wire.MaxMessage)},
		"bad hello":     {control(`{"type":"hello","client":"x"}`)},
	}
	for name, frames := range cases {
		r := rawMux(t, api, owner("ada"))
		for _, f := range frames {
			r.send(f)
		}
		if code := r.closeCode(); code != wire.CloseProtocol {
			t.Errorf("%s: close %d", name, code)
		}
	}
	r := rawMux(t, api, owner("ada"))
	if err := r.ws.Write(t.Context(), websocket.MessageText, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if code := r.closeCode(); code != wire.CloseProtocol {
		t.Errorf("text: close %d", code)
	}
	// What only cannot be done is answered, and the connection lives on.
	r = rawMux(t, api, owner("ada"))
	r.send(hello)
	for _, bad := range []string{
		`{"type":"teleport","req":1}`, `{"type":"attach","req":1,"tab":"none","cols":80,"rows":24}`,
		`{"type":"detach","channel":9}`, `{"type":"signal","channel":9,"signal":"INT"}`, `{"type":"close","tab":"none"}`,
		`{"type":"open","req":1,"cols":80,"rows":24,"name":"../x"}`, `{"type":"open","req":1,"cols":80,"rows":24,"command":["/no/such"]}`,
		`{"type":"open","req":1,"cols":80,"rows":24,"env":{"A B":"x"}}`,
	} {
		r.send(control(bad))
		if e := r.next("error").(*wire.Error); e.Code == "" || e.Message == "" || e.Code == "internal" {
			t.Errorf("%s: %+v", bad, e)
		}
	}
}

// Random frames, also almost right ones: refused or answered, never a panic or
// a leak. `make soak` sends 10 million.
func TestAbuse32_RandomFrames(t *testing.T) {
	w := newWorld(t)
	api := w.api()
	n := 20_000
	if s := os.Getenv("STAITHE_SOAK_FRAMES"); s != "" {
		fmt.Sscan(s, &n)
	}
	var seeds [][]byte
	for _, m := range []wire.ClientMessage{
		&wire.Hello{Client: "abcdefghijklmnopqrst"}, &wire.List{Req: wire.StringReq("a")}, &wire.Ping{},
		&wire.Attach{Req: wire.StringReq("a"), Tab: "main", Cols: 80, Rows: 24}, &wire.Detach{Channel: 0},
		&wire.Resize{Channel: 0, Cols: 80, Rows: 24}, &wire.Ack{Channel: 0, Offset: 5}, &wire.Drive{},
		&wire.Rename{Tab: "main", Name: "x"}, &wire.Signal{Signal: "CONT"},
	} {
		seeds = append(seeds, wire.AppendClient(nil, m))
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	before := runtime.NumGoroutine()
	conns := 0
	for sent := 0; sent < n; {
		ws, err := api.Mux(t.Context(), owner("ada"), wire.Subprotocol)
		if err != nil {
			t.Fatal(err)
		}
		conns++
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			for {
				if _, _, err := ws.Read(context.Background()); err != nil {
					return
				}
			}
		}()
		ws.Write(t.Context(), websocket.MessageBinary, seeds[0])
		for range 200 {
			b := bytes.Clone(seeds[1+rnd.IntN(len(seeds)-1)])
			switch rnd.IntN(20) {
			case 0:
				b = make([]byte, rnd.IntN(300))
				for i := range b {
					b[i] = byte(rnd.Uint32())
				}
			case 1:
				b[rnd.IntN(len(b))] ^= byte(1 << rnd.IntN(8))
			}
			sent++
			if ws.Write(t.Context(), websocket.MessageBinary, b) != nil {
				break
			}
		}
		ws.CloseNow()
		<-drained
	}
	if h, err := api.Health(t.Context()); err != nil || h.Session != w.id {
		t.Fatalf("the guest is unwell after %d connections: %v", conns, err)
	}
	w.settle(before + 20)
}

// settle waits until connections and goroutines are down.
func (w *world) settle(goroutines int) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for w.guest.health().Clients > 0 || runtime.NumGoroutine() > goroutines {
		if time.Now().After(deadline) {
			w.t.Fatalf("%d connections, %d goroutines, want ≤ %d", w.guest.health().Clients, runtime.NumGoroutine(), goroutines)
		}
		runtime.Gosched()
	}
}

func TestAbuse34_ThousandDropsLeaveNothing(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	_, s := openTab(t, c, wire.Open{Command: []string{"/bin/cat"}})
	api := w.api()
	fds := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(d)
	}
	before, beforeFDs := runtime.NumGoroutine(), fds()
	for i := range 1000 {
		ws, err := api.Mux(t.Context(), owner("ada"), wire.Subprotocol)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			ws.Write(t.Context(), websocket.MessageBinary, wire.AppendClient(nil, &wire.Hello{Client: fmt.Sprintf("client-%016d", i)}))
			ws.Write(t.Context(), websocket.MessageBinary, wire.AppendClient(nil, &wire.Attach{Req: wire.StringReq("a"), Tab: "main", Cols: 80, Rows: 24}))
		}
		ws.CloseNow()
	}
	deadline := time.Now().Add(20 * time.Second)
	for w.guest.health().Clients > 1 || runtime.NumGoroutine() > before+10 || fds() > beforeFDs+10 {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections; goroutines %d → %d; descriptors %d → %d", w.guest.health().Clients, before, runtime.NumGoroutine(), beforeFDs, fds())
		}
		runtime.Gosched()
	}
	if n := len(w.guest.visible(owner("ada"))[0].terminal().Clients()); n != 1 {
		t.Errorf("%d clients are still attached", n)
	}
	_ = s
}

func TestAbuse08_ViewerChangesNothing(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	st, s := openTab(t, c, wire.Open{Command: []string{"/bin/sh", "-c", "stty -echo; echo ready; cat"}, Cols: 90, Rows: 30})
	s.see(t, "ready")
	viewer := owner("eve")
	viewer.Role = station.RoleViewer
	r := rawMux(t, w.api(), viewer)
	r.say(&wire.Hello{Client: "abcdefghijklmnopqrst"})
	if m := r.next("welcome").(*wire.Welcome); m.You.Role != "viewer" {
		t.Fatalf("%+v", m.You)
	}
	r.say(&wire.Attach{Req: wire.StringReq("a"), Tab: "main", Cols: 10, Rows: 5})
	att := r.next("attached").(*wire.Attached)
	if att.Cols != 90 || att.Rows != 30 {
		t.Errorf("a viewer's size counts: %dx%d", att.Cols, att.Rows)
	}
	denied := func(what string) {
		t.Helper()
		if e := r.next("error").(*wire.Error); e.Code != "forbidden" {
			t.Errorf("%s: %+v", what, e)
		}
	}
	r.send([]byte{att.Channel, 'e', 'v', 'i', 'l', '\n'})
	denied("input")
	for what, m := range map[string]wire.ClientMessage{
		"resize": &wire.Resize{Channel: att.Channel, Cols: 1, Rows: 1}, "drive": &wire.Drive{Channel: att.Channel},
		"signal": &wire.Signal{Channel: att.Channel, Signal: "KILL"}, "close": &wire.Close{Tab: "main"},
		"rename":  &wire.Rename{Tab: "main", Name: "mine"},
		"open":    &wire.Open{Req: wire.StringReq("b"), Cols: 80, Rows: 24},
		"open it": &wire.Open{Req: wire.StringReq("b"), Cols: 80, Rows: 24, Env: map[string]string{"A": "b"}},
	} {
		r.say(m)
		denied(what)
	}
	st.Write([]byte("still here\n"))
	s.see(t, "still here")
	tabs, err := c.List(t.Context())
	if err != nil || len(tabs) != 1 || tabs[0].Name != "main" || tabs[0].Cols != 90 || strings.Contains(s.out.String(), "evil") {
		t.Errorf("%+v %v %q", tabs, err, s.out.String())
	}
}

func TestAbuse09_WriterSetsNoEnvironmentAndClosesOnlyItsOwn(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	openTab(t, c, wire.Open{Command: []string{"/bin/cat"}})
	writer := owner("wim")
	writer.Role = station.RoleWriter
	cw := w.client(writer)
	if _, err := cw.Open(t.Context(), wire.Open{Cols: 80, Rows: 24, Env: map[string]string{"LD_PRELOAD": "x"}}, newSink()); err == nil {
		t.Error("a writer set the environment")
	}
	own, s := openTab(t, cw, wire.Open{Name: "own", Command: []string{"/bin/cat"}})
	api := w.api()
	if err := api.CloseTab(t.Context(), writer, "main"); !errors.Is(err, station.ErrForbidden) {
		t.Errorf("closed the owner's tab: %v", err)
	}
	if err := api.CloseTab(t.Context(), writer, "own"); err != nil {
		t.Errorf("its own tab: %v", err)
	}
	s.until(t, "exit", func() bool { return s.exit != nil })
	<-own.Done()
}

// A ticket for one tab sees that tab alone.
func TestTabScopedIdentity(t *testing.T) {
	w := newWorld(t)
	api := w.api()
	a, err := api.CreateTab(t.Context(), owner("ada"), guestapi.TabCreate{Command: []string{"/bin/cat"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := api.CreateTab(t.Context(), owner("ada"), guestapi.TabCreate{Command: []string{"/bin/cat"}})
	if err != nil {
		t.Fatal(err)
	}
	scoped := owner("ada")
	scoped.Tab = b.ID
	c := w.client(scoped)
	if tabs, err := c.List(t.Context()); err != nil || len(tabs) != 1 || tabs[0].Tab != string(b.ID) {
		t.Errorf("%+v %v", tabs, err)
	}
	if _, err := c.Attach(t.Context(), wire.Attach{Tab: string(a.ID), Cols: 80, Rows: 24}, newSink()); err == nil {
		t.Error("attached to another tab")
	}
	if _, err := c.Open(t.Context(), wire.Open{Cols: 80, Rows: 24}, newSink()); err == nil {
		t.Error("opened a tab")
	}
	if err := api.CloseTab(t.Context(), scoped, "main"); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("close: %v", err)
	}
	attachTab(t, c, wire.Attach{Tab: "sh-2"})
}

// Two sessions' guests are not reached with each other's credentials, and
// nothing but a genuine identity counts.
func TestAbuse04_OnlyASignedIdentityForThisSessionCounts(t *testing.T) {
	a, b := newWorld(t), newWorld(t)
	other := guestapi.NewClient(b.id, b.signer, a.dial) // b's credential at a's socket
	defer other.Close()
	if _, err := other.Health(t.Context()); !errors.Is(err, station.ErrUnavailable) {
		t.Errorf("health of another session: %v", err)
	}
	foreignKey, _ := guestapi.NewSigner(guestapi.NewSeed())
	for name, c := range map[string]*guestapi.Client{
		"another session's":        other,
		"another key's":            guestapi.NewClient(a.id, foreignKey, a.dial),
		"right key, wrong session": guestapi.NewClient(b.id, a.signer, a.dial),
	} {
		if _, err := c.Tabs(t.Context(), owner("ada")); !errors.Is(err, station.ErrUnauthenticated) {
			t.Errorf("%s identity: %v", name, err)
		}
		if _, err := c.Mux(t.Context(), owner("ada"), wire.Subprotocol); !errors.Is(err, station.ErrUnauthenticated) {
			t.Errorf("%s identity on the mux: %v", name, err)
		}
		c.Close()
	}
	old := a.signer.Sign(guestapi.Identity{Session: a.id, User: "ada", Role: station.RoleOwner}, time.Now().Add(-10*time.Minute))
	good := a.signer.Sign(guestapi.Identity{Session: a.id, User: "ada", Role: station.RoleOwner}, time.Now())
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return a.dial(ctx) }}}
	defer hc.CloseIdleConnections()
	for auth, want := range map[string]int{
		"": 401, "Bearer x": 401, guestapi.Scheme + " " + old: 401, guestapi.Scheme + " " + good + "x": 401,
		guestapi.Scheme + " .": 401, guestapi.Scheme + " " + good: 200,
	} {
		req, _ := http.NewRequest("GET", "http://guest"+guestapi.PathTabs, nil)
		req.Header.Set("Authorization", auth)
		req.Header.Set("X-User-Id", "root")
		res, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%.40q: %d, want %d", auth, res.StatusCode, want)
		}
	}
}

// A flood on one tab lets another's echo through.
func TestFloodDoesNotStarveAnotherTab(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	_, flood := openTab(t, c, wire.Open{Name: "flood", Command: []string{"/usr/bin/yes"}})
	flood.see(t, "y")
	st, s := openTab(t, c, wire.Open{Name: "calm", Command: []string{"/bin/cat"}})
	for i := range 20 {
		word := fmt.Sprintf("word-%d", i)
		st.Write([]byte(word + "\n"))
		s.see(t, word)
	}
}
