package gateway

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// stubGuest is a guest as the gateway sees one: HTTP and mux over a unix
// socket, behind the real signed identity. Its mux echoes what is not hello.
type stubGuest struct {
	t       testing.TB
	session station.ID
	server  *http.Server
	client  *guestapi.Client
	verify  guestapi.Verifier
	done    chan struct{}

	mu     sync.Mutex
	conns  []net.Conn
	seen   []guestapi.Identity
	header []http.Header
	lie    http.HandlerFunc                         // instead of everything, when set
	onMux  func(*websocket.Conn, guestapi.Identity) // instead of the echo, when set
	tabs   []station.Tab
}

func startGuest(t testing.TB, socket string, session station.ID, signer *guestapi.Signer) *stubGuest {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g := &stubGuest{t: t, session: session, verify: guestapi.Verifier{Key: signer.PublicKey(), Session: session}, done: make(chan struct{}),
		tabs: []station.Tab{{ID: station.NewID(), Name: "main", Cols: 80, Rows: 24}}}
	g.client = guestapi.NewClient(session, signer, func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	})
	g.server = &http.Server{Handler: http.HandlerFunc(g.serve), ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.conns = append(g.conns, c)
		return ctx
	}}
	go func() {
		defer close(g.done)
		g.server.Serve(ln)
	}()
	t.Cleanup(g.kill)
	return g
}

// kill ends the guest as SIGKILL would: no goodbye.
func (g *stubGuest) kill() {
	g.server.Close() // forgets hijacked connections
	<-g.done
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		c.Close()
	}
}

func (g *stubGuest) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	lie := g.lie
	g.mu.Unlock()
	if lie != nil {
		lie(w, r)
		return
	}
	if r.URL.Path == guestapi.PathHealth {
		json.NewEncoder(w).Encode(guestapi.Health{Session: g.session, Version: "stub", Tabs: 1})
		return
	}
	id, err := g.verify.Verify(strings.TrimPrefix(r.Header.Get("Authorization"), guestapi.Scheme+" "), time.Now())
	if err != nil {
		w.WriteHeader(401)
		json.NewEncoder(w).Encode(guestapi.Failure{Code: "bad_identity", Sentence: err.Error()})
		return
	}
	g.mu.Lock()
	g.seen = append(g.seen, id)
	g.header = append(g.header, r.Header.Clone())
	g.mu.Unlock()
	switch {
	case r.URL.Path == guestapi.PathMux:
		g.mux(w, r, id)
	case r.URL.Path == guestapi.PathTabs && r.Method == http.MethodGet:
		json.NewEncoder(w).Encode(g.tabs)
	case r.Method == http.MethodDelete:
		w.WriteHeader(204)
	default:
		json.NewEncoder(w).Encode(g.tabs[0])
	}
}

func (g *stubGuest) mux(w http.ResponseWriter, r *http.Request, id guestapi.Identity) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(wire.MaxMessage + 10)
	g.mu.Lock()
	onMux := g.onMux
	g.mu.Unlock()
	if onMux != nil {
		onMux(conn, id)
		return
	}
	ctx := context.Background()
	for {
		typ, msg, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if len(msg) > wire.MaxMessage || typ != websocket.MessageBinary || len(msg) == 0 {
			conn.Close(wire.CloseProtocol, "message over the limit, empty or text")
			return
		}
		if msg[0] == wire.ControlChannel {
			if m, err := wire.ParseClient(msg[1:]); err == nil {
				if _, ok := m.(*wire.Hello); ok {
					msg = wire.AppendServer(nil, &wire.Welcome{Protocol: 1, Session: string(g.session), Tabs: []wire.Tab{}})
				}
			}
		}
		if err := conn.Write(ctx, websocket.MessageBinary, msg); err != nil {
			return
		}
	}
}

func (g *stubGuest) identities() []guestapi.Identity {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]guestapi.Identity(nil), g.seen...)
}

func (g *stubGuest) headers() []http.Header {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]http.Header(nil), g.header...)
}

func (g *stubGuest) lies(h http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lie = h
}

func (g *stubGuest) speaks(fn func(*websocket.Conn, guestapi.Identity)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.onMux = fn
}
