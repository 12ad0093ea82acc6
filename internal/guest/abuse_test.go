package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/guestapi"
	"staithe/internal/muxclient/muxtest"
	"staithe/internal/station"
	"staithe/internal/wire"
)

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
			r.Send(f)
		}
		if code := r.CloseCode(20 * time.Second); code != wire.CloseProtocol {
			t.Errorf("%s: close %d", name, code)
		}
	}
	r := rawMux(t, api, owner("ada"))
	if err := r.WS.Write(t.Context(), websocket.MessageText, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if code := r.CloseCode(20 * time.Second); code != wire.CloseProtocol {
		t.Errorf("text: close %d", code)
	}
	// What only cannot be done is answered, and the connection lives on.
	r = rawMux(t, api, owner("ada"))
	r.Send(hello)
	for _, bad := range []string{
		`{"type":"teleport","req":1}`, `{"type":"attach","req":1,"tab":"none","cols":80,"rows":24}`,
		`{"type":"detach","channel":9}`, `{"type":"signal","channel":9,"signal":"INT"}`, `{"type":"close","tab":"none"}`,
		`{"type":"open","req":1,"cols":80,"rows":24,"name":"../x"}`, `{"type":"open","req":1,"cols":80,"rows":24,"command":["/no/such"]}`,
		`{"type":"open","req":1,"cols":80,"rows":24,"env":{"A B":"x"}}`,
	} {
		r.Send(control(bad))
		if e := r.Next("error").(*wire.Error); e.Code == "" || e.Message == "" || e.Code == "internal" {
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
	s.See(t, "ready")
	viewer := owner("eve")
	viewer.Role = station.RoleViewer
	r := rawMux(t, w.api(), viewer)
	r.Say(&wire.Hello{Client: "abcdefghijklmnopqrst"})
	if m := r.Next("welcome").(*wire.Welcome); m.You.Role != "viewer" {
		t.Fatalf("%+v", m.You)
	}
	r.Say(&wire.Attach{Req: wire.StringReq("a"), Tab: "main", Cols: 10, Rows: 5})
	att := r.Next("attached").(*wire.Attached)
	if att.Cols != 90 || att.Rows != 30 {
		t.Errorf("a viewer's size counts: %dx%d", att.Cols, att.Rows)
	}
	denied := func(what string) {
		t.Helper()
		if e := r.Next("error").(*wire.Error); e.Code != "forbidden" {
			t.Errorf("%s: %+v", what, e)
		}
	}
	r.Send([]byte{att.Channel, 'e', 'v', 'i', 'l', '\n'})
	denied("input")
	for what, m := range map[string]wire.ClientMessage{
		"resize": &wire.Resize{Channel: att.Channel, Cols: 1, Rows: 1}, "drive": &wire.Drive{Channel: att.Channel},
		"signal": &wire.Signal{Channel: att.Channel, Signal: "KILL"}, "close": &wire.Close{Tab: "main"},
		"rename":  &wire.Rename{Tab: "main", Name: "mine"},
		"open":    &wire.Open{Req: wire.StringReq("b"), Cols: 80, Rows: 24},
		"open it": &wire.Open{Req: wire.StringReq("b"), Cols: 80, Rows: 24, Env: map[string]string{"A": "b"}},
	} {
		r.Say(m)
		denied(what)
	}
	st.Write([]byte("still here\n"))
	s.See(t, "still here")
	tabs, err := c.List(t.Context())
	if err != nil || len(tabs) != 1 || tabs[0].Name != "main" || tabs[0].Cols != 90 || strings.Contains(s.Out.String(), "evil") {
		t.Errorf("%+v %v %q", tabs, err, s.Out.String())
	}
}

func TestAbuse09_WriterSetsNoEnvironmentAndClosesOnlyItsOwn(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	openTab(t, c, wire.Open{Command: []string{"/bin/cat"}})
	writer := owner("wim")
	writer.Role = station.RoleWriter
	cw := w.client(writer)
	if _, err := cw.Open(t.Context(), wire.Open{Cols: 80, Rows: 24, Env: map[string]string{"LD_PRELOAD": "x"}}, muxtest.New()); err == nil {
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
	s.WaitExit(t)
	<-own.Done()
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
