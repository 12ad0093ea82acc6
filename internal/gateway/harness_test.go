package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/coder/websocket"

	"staithe/internal/auth"
	"staithe/internal/config"
	"staithe/internal/station"
	"staithe/internal/store"
	"staithe/internal/wire"
)

// patience bounds every wait in these tests.
const patience = 10 * time.Second

// bench is a running server with a real store, on a real port, with a small
// fleet whose guests listen on unix sockets.
type bench struct {
	t      testing.TB
	g      *Gateway
	auth   *auth.Auth
	store  *store.Store
	fleet  *testFleet
	base   string
	dir    string // the store's
	log    *lockedBuffer
	clock  *testClock
	stop   func() // ends Serve and waits
	served chan error

	read     sync.Once // document, at the first answer
	document struct {
		Paths map[string]map[string]struct{ Responses map[string]any }
	}
}

type setting func(*Options, *timing)

func withURL(u string) setting { return func(o *Options, _ *timing) { o.Config.URL = u } }

func withPage(page fs.FS) setting { return func(o *Options, _ *timing) { o.Page = page } }

func withProxies(cidr string) setting {
	return func(o *Options, _ *timing) { o.Config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(cidr)} }
}

func withTiming(change func(*timing)) setting { return func(_ *Options, t *timing) { change(t) } }

func newBench(t testing.TB, settings ...setting) *bench {
	t.Helper()
	b := &bench{t: t, log: &lockedBuffer{}, clock: &testClock{}, served: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.dir = t.TempDir()
	var err error
	if b.store, err = store.Open(t.Context(), b.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.store.Close() })
	b.auth, err = auth.New(auth.Options{Store: b.store, Log: log, Now: b.clock.now,
		Argon2: &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}})
	if err != nil {
		t.Fatal(err)
	}
	b.fleet = newTestFleet(t, b.store)
	o := Options{Config: config.Config{Listen: "127.0.0.1:0"}, Auth: b.auth, Fleet: b.fleet, Log: log, Version: "test",
		Page: fstest.MapFS{"index.html": {Data: []byte("<!doctype html><title>staithe</title>")}, "assets/app-1a2b.js": {Data: []byte("1")}},
	}
	tm := defaultTiming
	for _, set := range settings {
		set(&o, &tm)
	}
	if b.g, err = New(o); err != nil {
		t.Fatal(err)
	}
	b.g.timing = tm
	b.serve()
	return b
}

func (b *bench) serve() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.base = "http://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	if err := b.g.Bind(ln.Addr()); err != nil {
		b.t.Fatal(err)
	}
	go func() { b.served <- b.g.Serve(ctx, ln) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-b.served:
			if err != nil {
				b.t.Errorf("Serve: %v", err)
			}
		case <-time.After(2 * patience):
			b.t.Error("Serve does not end")
		}
	})
	b.t.Cleanup(b.stop)
}

type testClock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// browser is one client: a cookie jar, or a bearer token, and headers to add.
type browser struct {
	b      *bench
	http   *http.Client
	header http.Header
	user   station.User
	pinged func() // for each ping of a WebSocket; nil: nobody counts
}

func (b *bench) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return &browser{b: b, header: http.Header{}, http: &http.Client{Jar: jar, Timeout: patience,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// from makes the browser come from another loopback address.
func (br *browser) from(addr string) *browser {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	br.http.Transport = &http.Transport{DisableKeepAlives: true, DialContext: d.DialContext}
	return br
}

func (br *browser) with(name, value string) *browser {
	br.header.Add(name, value)
	return br
}

// reply is an answer that was read to its end.
type reply struct {
	*http.Response
	body []byte
}

func (r reply) code() string {
	var p struct{ Code string }
	json.Unmarshal(r.body, &p)
	return p.Code
}

func (r reply) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%s: %v in %s", r.Request.URL, err, r.body)
	}
}

// do sends a request; body is JSON unless it is a string or nil.
func (br *browser) do(method, path string, body any) reply {
	br.b.t.Helper()
	var rd io.Reader
	if s, ok := body.(string); ok {
		rd = strings.NewReader(s)
	} else if body != nil {
		buf, err := json.Marshal(body)
		if err != nil {
			br.b.t.Fatal(err)
		}
		rd = bytes.NewReader(buf)
	}
	req, err := http.NewRequest(method, br.b.base+path, rd)
	if err != nil {
		br.b.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range br.header {
		req.Header[k] = v
	}
	if h := br.header.Get("Host"); h != "" {
		req.Host = h
	}
	res, err := br.http.Do(req)
	if err != nil {
		br.b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		br.b.t.Fatalf("%s %s: %v", method, path, err)
	}
	br.b.documented(method, path, res.StatusCode)
	return reply{res, out}
}

// documented wants the OpenAPI document that is served to tell of an answer.
func (b *bench) documented(method, path string, status int) {
	b.t.Helper()
	b.read.Do(func() {
		res, err := http.Get(b.base + "/api/v1/openapi.json")
		if err != nil {
			b.t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&b.document); err != nil {
			b.t.Fatal(err)
		}
	})
	path, _, _ = strings.Cut(path, "?")
	method = strings.Replace(method, "HEAD", "GET", 1)
	for route, methods := range b.document.Paths {
		pattern := "^" + templates.ReplaceAllString(regexp.QuoteMeta(route), "[^/]+") + "$"
		op, there := methods[strings.ToLower(method)]
		if matched, err := regexp.MatchString(pattern, path); err != nil || !matched || !there {
			continue
		}
		if op.Responses[strconv.Itoa(status)] == nil {
			b.t.Errorf("%s %s answered %d, of which the document knows nothing", method, route, status)
		}
	}
}

var templates = regexp.MustCompile(`\\\{[a-z]+\\\}`)

// must is do for an answer of the status.
func (br *browser) must(status int, method, path string, body any) reply {
	br.b.t.Helper()
	r := br.do(method, path, body)
	if r.StatusCode != status {
		br.b.t.Fatalf("%s %s: %d %s, want %d", method, path, r.StatusCode, r.body, status)
	}
	return r
}

const goodPassword = "correct horse"

// admin sets the server up and returns the signed-in first admin.
func (b *bench) admin() *browser {
	b.t.Helper()
	token, err := b.auth.NewSetupToken(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	br := b.browser()
	br.must(201, "POST", "/api/v1/setup", map[string]any{"token": token.Reveal(), "username": "root", "password": goodPassword}).into(b.t, &br.user)
	return br
}

// member has the admin make a user, and signs it in.
func (b *bench) member(admin *browser, name string) *browser {
	b.t.Helper()
	br := b.browser()
	admin.must(201, "POST", "/api/v1/users", map[string]any{"username": name, "password": goodPassword}).into(b.t, &br.user)
	br.must(200, "POST", "/api/v1/login", map[string]any{"username": name, "password": goodPassword})
	return br
}

// token makes an API token and a client that uses it.
func (br *browser) token(scopes ...string) (client *browser, id string) {
	br.b.t.Helper()
	var t struct{ ID, Token string }
	br.must(201, "POST", "/api/v1/tokens", map[string]any{"name": "test", "scopes": scopes}).into(br.b.t, &t)
	c := br.b.browser()
	c.user = br.user
	return c.with("Authorization", "Bearer "+t.Token), t.ID
}

func (br *browser) ticket(session string, extra map[string]any) string {
	br.b.t.Helper()
	body := map[string]any{"scope": "terminal"}
	for k, v := range extra {
		body[k] = v
	}
	var t struct{ Ticket string }
	br.must(201, "POST", "/api/v1/sessions/"+session+"/tickets", body).into(br.b.t, &t)
	return t.Ticket
}

func (br *browser) session(ref string) station.Session {
	br.b.t.Helper()
	var s station.Session
	br.must(200, "GET", "/api/v1/sessions/"+ref, nil).into(br.b.t, &s)
	return s
}

// upgrade tries to open a WebSocket, with the own Origin unless the browser has
// one set ("-" for none).
func (br *browser) upgrade(path string, protocols ...string) (*websocket.Conn, *http.Response, error) {
	h := br.header.Clone()
	switch h.Get("Origin") {
	case "-":
		h.Del("Origin")
	case "":
		h.Set("Origin", br.b.base)
	}
	ctx, cancel := context.WithTimeout(br.b.t.Context(), patience)
	defer cancel()
	// The dialer wants no client timeout: it would end the connection.
	client := &http.Client{Jar: br.http.Jar, Transport: br.http.Transport}
	options := &websocket.DialOptions{HTTPClient: client, HTTPHeader: h, Host: h.Get("Host"), Subprotocols: protocols}
	if br.pinged != nil {
		options.OnPingReceived = func(context.Context, []byte) bool { br.pinged(); return true }
	}
	conn, res, err := websocket.Dial(ctx, br.b.base+path, options)
	if conn != nil {
		conn.SetReadLimit(-1)
		br.b.t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, res, err
}

// open opens the mux of a session and says hello.
func (br *browser) open(session string, extra ...string) *websocket.Conn {
	br.b.t.Helper()
	conn, res, err := br.upgrade("/ws/sessions/"+session, append([]string{wire.Subprotocol}, extra...)...)
	if err != nil {
		body := ""
		if res != nil {
			buf, _ := io.ReadAll(res.Body)
			body = string(buf)
		}
		br.b.t.Fatalf("open %s: %v %s", session, err, body)
	}
	return conn
}

// refused wants an upgrade to fail with a status before it happens.
func (br *browser) refused(status int, path string, protocols ...string) string {
	br.b.t.Helper()
	conn, res, err := br.upgrade(path, protocols...)
	if err == nil {
		conn.CloseNow()
		br.b.t.Errorf("%s was opened, want %d", path, status)
		return ""
	}
	if res == nil {
		br.b.t.Fatalf("%s: %v", path, err)
	}
	body, _ := io.ReadAll(res.Body)
	br.b.documented("GET", path, res.StatusCode)
	if res.StatusCode != status || res.Header.Get("Content-Type") != "application/problem+json" {
		br.b.t.Errorf("%s: %d %s %s, want %d", path, res.StatusCode, res.Header.Get("Content-Type"), body, status)
	}
	return reply{res, body}.code()
}

// closed reads until the connection ends and returns the close code.
func closed(t *testing.T, conn *websocket.Conn, within time.Duration) websocket.CloseError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for {
		_, _, err := conn.Read(ctx)
		if err == nil {
			continue
		}
		var ce websocket.CloseError
		if !errors.As(err, &ce) {
			t.Fatalf("ended without a close frame: %v", err)
		}
		return ce
	}
}

func wantClose(t *testing.T, conn *websocket.Conn, within time.Duration, code int) {
	t.Helper()
	if ce := closed(t, conn, within); int(ce.Code) != code {
		t.Errorf("closed with %d %q, want %d", ce.Code, ce.Reason, code)
	}
}

// send writes a binary message.
func send(t testing.TB, conn *websocket.Conn, msg []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageBinary, msg); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, conn *websocket.Conn) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, msg, err := conn.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// works wants a message to go to the guest and back.
func works(t testing.TB, conn *websocket.Conn) {
	t.Helper()
	send(t, conn, []byte("\x00echo"))
	if got := receive(t, conn); string(got) != "\x00echo" {
		t.Fatalf("got %q back", got)
	}
}
