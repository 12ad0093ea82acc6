package guest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/guestapi"
	"staithe/internal/muxclient"
	"staithe/internal/muxclient/muxtest"
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

func openTab(t testing.TB, c *muxclient.Client, o wire.Open) (*muxclient.Stream, *muxtest.Sink) {
	t.Helper()
	if o.Cols == 0 {
		o.Cols, o.Rows = 80, 24
	}
	s := muxtest.New()
	st, err := c.Open(t.Context(), o, s)
	if err != nil {
		t.Fatal(err)
	}
	return st, s
}

func attachTab(t testing.TB, c *muxclient.Client, a wire.Attach) (*muxclient.Stream, *muxtest.Sink) {
	t.Helper()
	if a.Cols == 0 {
		a.Cols, a.Rows = 80, 24
	}
	s := muxtest.New()
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
	s.See(t, "one-42")
	s.WaitExit(t)
	if s.Exited.Code != 3 {
		t.Errorf("exit %+v", s.Exited)
	}
	tabs, err := c.List(t.Context())
	if err != nil || len(tabs) != 1 || !tabs[0].Exited || tabs[0].ExitCode != 3 || tabs[0].Name != "main" {
		t.Fatalf("%+v %v", tabs, err)
	}
	// A newcomer to the ended tab sees what it said and how it ended.
	_, s2 := attachTab(t, c, wire.Attach{Tab: "main"})
	s2.See(t, "one-42")
	s2.Until(t, "exit again", func() bool { return s2.Exited != nil })
	st3, s3 := attachTab(t, c, wire.Attach{Tab: "main", Restart: true})
	st3.Write([]byte("echo two-$((40+3))\n"))
	s3.See(t, "two-43")
	if s3.Resets != 0 {
		t.Error("a new shell begins with a redraw")
	}
	if err := c.Say(t.Context(), &wire.Close{Tab: "main"}); err != nil {
		t.Fatal(err)
	}
	s3.Until(t, "closed", func() bool { return s3.Exited != nil })
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
	s.See(t, "ready")

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
		s.Until(t, "output", func() bool {
			return s.Exited != nil || int64(s.Out.Len()) >= target || st.Unacked() > 0 && rnd.IntN(3) == 0
		})
		c.Drop()
	}
	if err := <-typing; err != nil {
		t.Fatal(err)
	}
	s.WaitExit(t)
	var want bytes.Buffer
	want.WriteString("ready\n")
	for i := range lines {
		fmt.Fprintf(&want, "%d\n", i+1)
	}
	fmt.Fprintf(&want, "%x  -\n", sha256.Sum256(typed))
	if s.Exited.Code != 7 || s.Resets != 0 {
		t.Errorf("exit %+v, %d resets", s.Exited, s.Resets)
	}
	if !bytes.Equal(s.Out.Bytes(), want.Bytes()) {
		t.Errorf("output differs: %d bytes, want %d; end %q", s.Out.Len(), want.Len(), s.Out.Bytes()[max(0, s.Out.Len()-100):])
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
	first.Say(hello)
	first.Next("welcome")
	second := rawMux(t, api, owner("ada"))
	second.Say(hello)
	second.Next("welcome")
	if code := first.CloseCode(20 * time.Second); code != wire.CloseReplaced {
		t.Errorf("close %d", code)
	}
	// Another user's client of the same name is another client.
	third := rawMux(t, api, owner("bob"))
	third.Say(hello)
	third.Next("welcome")
	second.Say(&wire.Ping{})
	second.Next("pong")
}

// rawMux connects without a client.
func rawMux(t testing.TB, api *guestapi.Client, id guestapi.Identity) *muxtest.Raw {
	t.Helper()
	ws, err := api.Mux(t.Context(), id, wire.Subprotocol)
	if err != nil {
		t.Fatal(err)
	}
	return muxtest.NewRaw(t, ws)
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
	if _, err := c.Attach(t.Context(), wire.Attach{Tab: string(a.ID), Cols: 80, Rows: 24}, muxtest.New()); err == nil {
		t.Error("attached to another tab")
	}
	if _, err := c.Open(t.Context(), wire.Open{Cols: 80, Rows: 24}, muxtest.New()); err == nil {
		t.Error("opened a tab")
	}
	if err := api.CloseTab(t.Context(), scoped, "main"); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("close: %v", err)
	}
	attachTab(t, c, wire.Attach{Tab: "sh-2"})
}

// A flood on one tab lets another's echo through.
func TestFloodDoesNotStarveAnotherTab(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	_, flood := openTab(t, c, wire.Open{Name: "flood", Command: []string{"/usr/bin/yes"}})
	flood.See(t, "y")
	st, s := openTab(t, c, wire.Open{Name: "calm", Command: []string{"/bin/cat"}})
	for i := range 20 {
		word := fmt.Sprintf("word-%d", i)
		st.Write([]byte(word + "\n"))
		s.See(t, word)
	}
}
