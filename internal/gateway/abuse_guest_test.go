package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coder/websocket"

	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/wire"
)

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

	lies := guestLies("http://" + trap.Addr().String() + "/stolen")
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

// guestLies are answers that no honest guest gives; one redirects elsewhere.
func guestLies(elsewhere string) map[string]http.HandlerFunc {
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(`[{"name":"`))
		for chunk := bytes.Repeat([]byte("a"), 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	return map[string]http.HandlerFunc{
		"10 GB body": endless,
		"10 GB failure": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			endless(w, r)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
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
}
