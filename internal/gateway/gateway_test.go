package gateway

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"staithe/internal/station"
)

func TestFromSetupToTerminal(t *testing.T) {
	b := newBench(t)
	var state struct{ Needed bool }
	b.browser().must(200, "GET", "/api/v1/setup", nil).into(t, &state)
	if !state.Needed {
		t.Error("a fresh server needs no setup")
	}
	root := b.admin()
	if !root.user.Admin || root.user.Name != "root" || !b.fleet.homes[root.user.ID] {
		t.Errorf("%+v", root.user)
	}
	b.browser().must(200, "GET", "/api/v1/setup", nil).into(t, &state)
	if state.Needed {
		t.Error("setup is still needed")
	}
	s := root.session("main")
	if s.State != station.StateRunning {
		t.Errorf("%+v", s)
	}
	works(t, root.open("main"))
	works(t, root.open(string(s.ID)))
	id := b.fleet.guest(s.ID).identities()[0]
	if id.User != root.user.ID || id.Name != "root" || id.Role != station.RoleOwner || id.Tab != "" || id.Session != s.ID {
		t.Errorf("%+v", id)
	}
}

func TestSessionsOverTheAPI(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	var s station.Session
	root.must(201, "POST", "/api/v1/sessions", map[string]any{"name": "build"}).into(t, &s)
	if r := root.must(409, "POST", "/api/v1/sessions", map[string]any{"name": "build"}); r.code() != "name_taken" {
		t.Errorf("%s", r.body)
	}
	root.must(400, "POST", "/api/v1/sessions", map[string]any{"name": "a", "class": "huge"})
	root.must(200, "PATCH", "/api/v1/sessions/build", map[string]any{"name": "make"})
	root.must(404, "GET", "/api/v1/sessions/build", nil)
	root.must(200, "POST", "/api/v1/sessions/make/sleep", nil)
	if code := root.refused(409, "/ws/sessions/make", "staithe.mux.v1"); code != "asleep" {
		t.Error(code)
	}
	if r := root.must(409, "GET", "/api/v1/sessions/make/tabs", nil); r.code() != "asleep" {
		t.Errorf("%s", r.body)
	}
	root.must(200, "POST", "/api/v1/sessions/make/wake", map[string]any{})
	works(t, root.open("make"))
	var list []station.Session
	root.must(200, "GET", "/api/v1/sessions", nil).into(t, &list)
	if len(list) != 2 || list[0].Name != "main" || list[1].ID != s.ID {
		t.Errorf("%+v", list)
	}
	root.must(204, "DELETE", "/api/v1/sessions/make", nil)
	root.must(404, "DELETE", "/api/v1/sessions/make", nil)
}

func TestTabsOverTheAPI(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	var tabs []station.Tab
	root.must(200, "GET", "/api/v1/sessions/main/tabs", nil).into(t, &tabs)
	if len(tabs) != 1 || tabs[0].Name != "main" {
		t.Errorf("%+v", tabs)
	}
	root.must(201, "POST", "/api/v1/sessions/main/tabs", map[string]any{"name": "x", "command": []string{"top"}})
	root.must(200, "PATCH", "/api/v1/sessions/main/tabs/main", map[string]any{"name": "y"})
	root.must(204, "DELETE", "/api/v1/sessions/main/tabs/main", nil)
	root.must(422, "POST", "/api/v1/sessions/main/tabs", map[string]any{"cols": -1})
}

func TestInviteAndResetLinks(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	var made struct{ Invite string }
	root.must(201, "POST", "/api/v1/users", map[string]any{"username": "ada"}).into(t, &made)
	origin, token, ok := strings.Cut(made.Invite, "/invite#")
	if !ok || origin != b.base {
		t.Fatal(made.Invite)
	}
	ada := b.browser()
	ada.must(401, "POST", "/api/v1/login", map[string]any{"username": "ada", "password": ""})
	ada.must(400, "POST", "/api/v1/invite", map[string]any{"token": token, "password": "short"})
	ada.must(200, "POST", "/api/v1/invite", map[string]any{"token": token, "password": goodPassword})
	works(t, ada.open("main"))
	b.browser().must(410, "POST", "/api/v1/invite", map[string]any{"token": token, "password": goodPassword})

	var link struct{ Link string }
	root.must(201, "POST", "/api/v1/users/ada/reset-link", nil).into(t, &link)
	_, token, _ = strings.Cut(link.Link, "#")
	b.browser().must(200, "POST", "/api/v1/invite", map[string]any{"token": token, "password": "another password"})
	ada.must(401, "GET", "/api/v1/me", nil)
	b.browser().must(401, "POST", "/api/v1/login", map[string]any{"username": "ada", "password": goodPassword})

	// A password that was changed since makes an older link void.
	carl := b.member(root, "carl")
	root.must(201, "POST", "/api/v1/users/carl/reset-link", nil).into(t, &link)
	carl.must(204, "POST", "/api/v1/me/password", map[string]any{"current": goodPassword, "new": "another password"})
	_, token, _ = strings.Cut(link.Link, "#")
	b.browser().must(410, "POST", "/api/v1/invite", map[string]any{"token": token, "password": goodPassword})

	// Who lost the invite gets another way in, to all that a fresh user has; the
	// lost one works no more.
	root.must(201, "POST", "/api/v1/users", map[string]any{"username": "bob"}).into(t, &made)
	root.must(201, "POST", "/api/v1/users/bob/reset-link", nil).into(t, &link)
	_, token, _ = strings.Cut(link.Link, "#")
	bob := b.browser()
	bob.must(200, "POST", "/api/v1/invite", map[string]any{"token": token, "password": goodPassword})
	works(t, bob.open("main"))
	_, token, _ = strings.Cut(made.Invite, "#")
	b.browser().must(410, "POST", "/api/v1/invite", map[string]any{"token": token, "password": goodPassword})

	root.must(201, "POST", "/api/v1/users/ada/reset-link", nil).into(t, &link)
	_, token, _ = strings.Cut(link.Link, "#")
	b.clock.advance(61 * 60e9)
	b.browser().must(410, "POST", "/api/v1/invite", map[string]any{"token": token, "password": goodPassword})
}

func TestTokensEnd(t *testing.T) {
	b := newBench(t, sweepsOften)
	root := b.admin()
	var made struct {
		ID, Token string
		ExpiresAt string `json:"expires_at"`
	}
	root.must(201, "POST", "/api/v1/tokens", map[string]any{"name": "short", "scopes": []string{"*"}, "expires_in": 60}).into(t, &made)
	api := b.browser().with("Authorization", "Bearer "+made.Token)
	api.must(200, "GET", "/api/v1/me", nil)
	// It makes none that is good for longer than itself.
	for _, life := range []int{0, 3600} {
		if r := api.must(403, "POST", "/api/v1/tokens", map[string]any{"name": "for ever", "scopes": []string{"*"}, "expires_in": life}); r.code() != "token_outlives" {
			t.Errorf("%s", r.body)
		}
	}
	api.must(201, "POST", "/api/v1/tokens", map[string]any{"name": "shorter", "scopes": []string{"*"}, "expires_in": 30})
	conn := api.open("main")
	list := root.must(200, "GET", "/api/v1/tokens", nil)
	if made.ExpiresAt == "" || !strings.Contains(string(list.body), made.ID) || strings.Contains(string(list.body), made.Token) || !strings.Contains(string(list.body), `"used_at":"2`) {
		t.Errorf("%+v %s", made, list.body)
	}
	b.clock.advance(61e9)
	wantClose(t, conn, patience, 4401)
	if r := api.must(401, "GET", "/api/v1/me", nil); r.code() != "bad_token" || r.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("%v %s", r.Header, r.body)
	}
	// A cookie does not make a bad token good.
	root.with("Authorization", "Bearer "+made.Token).must(401, "GET", "/api/v1/me", nil)
}

func TestASandboxThatFailsLeavesAnAccount(t *testing.T) {
	b := newBench(t)
	b.fleet.failing = station.Errorf(station.ErrUnavailable, "no_runtime", "Install crun or runc.")
	token, err := b.auth.NewSetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	br := b.browser()
	var n struct {
		Name    string
		Session *station.Session
		Problem struct{ Code, Detail string }
	}
	br.must(201, "POST", "/api/v1/setup", map[string]any{"token": token.Reveal(), "username": "root", "password": goodPassword}).into(t, &n)
	if n.Name != "root" || n.Session == nil || n.Session.State != station.StateFailed || n.Session.Reason == "" || n.Problem.Code != "no_runtime" {
		t.Errorf("%+v", n)
	}
	if code := br.refused(409, "/ws/sessions/main", "staithe.mux.v1"); code != "failed" {
		t.Error(code)
	}
	b.fleet.failing = nil
	br.must(200, "POST", "/api/v1/sessions/main/wake", nil)
	works(t, br.open("main"))
}

func TestUsersAndAdmins(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	ada := b.member(root, "ada")
	ada.must(403, "GET", "/api/v1/users", nil)
	ada.must(403, "POST", "/api/v1/users", map[string]any{"username": "eve"})
	ada.must(403, "GET", "/metrics", nil)
	if m := root.must(200, "GET", "/metrics", nil); !strings.Contains(string(m.body), `staithe_http_requests_total{method="POST",route="/api/v1/login",status="200"} 1`) {
		t.Errorf("%s", m.body)
	}
	root.must(409, "PATCH", "/api/v1/users/root", map[string]any{"disabled": true})
	root.must(409, "DELETE", "/api/v1/users/root", nil)
	login := map[string]any{"username": "ada", "password": goodPassword}
	root.must(200, "PATCH", "/api/v1/users/ada", map[string]any{"disabled": true})
	if r := b.browser().must(403, "POST", "/api/v1/login", login); r.code() != "user_disabled" {
		t.Errorf("%s", r.body)
	}
	ada.must(401, "GET", "/api/v1/me", nil)
	root.must(200, "PATCH", "/api/v1/users/"+string(ada.user.ID), map[string]any{"disabled": false})
	ada.must(401, "GET", "/api/v1/me", nil) // enabling brings no old login back
	ada.must(200, "POST", "/api/v1/login", login)
	root.must(200, "PATCH", "/api/v1/users/ada", map[string]any{"admin": true})
	ada.must(200, "GET", "/api/v1/users", nil)
	ada.must(204, "DELETE", "/api/v1/users/root", nil)
	root.must(401, "GET", "/api/v1/me", nil)
	var users []station.User
	ada.must(200, "GET", "/api/v1/users", nil).into(t, &users)
	if len(users) != 1 || users[0].Name != "ada" {
		t.Errorf("%+v", users)
	}
}

func TestThePage(t *testing.T) {
	b := newBench(t)
	br := b.browser()
	for _, p := range []string{"/", "/setup", "/login", "/invite", "/s/main"} {
		r := br.must(200, "GET", p, nil)
		if !strings.Contains(string(r.body), "<title>staithe") || r.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %v %s", p, r.Header, r.body)
		}
	}
	r := br.must(200, "GET", "/assets/app-1a2b.js", nil)
	if !strings.Contains(r.Header.Get("Cache-Control"), "immutable") || r.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("%v", r.Header)
	}
	for _, p := range []string{"/assets/", "/assets/none.js", "/nothing", "/api/v1/nothing", "/api", "/ws/nothing", "/..%2f..%2fetc%2fpasswd", "/assets/..%2findex.html"} {
		if r := br.do("GET", p, nil); r.StatusCode != 404 && r.StatusCode != 307 || r.StatusCode == 404 && r.code() != "no_route" {
			t.Errorf("%s: %d %s", p, r.StatusCode, r.body)
		}
	}
	bare := newBench(t, withPage(fstest.MapFS{".keep": {}}))
	if r := bare.browser().must(200, "GET", "/", nil); !strings.Contains(string(r.body), "page is not built") || strings.Contains(string(r.body), "<script") {
		t.Errorf("%s", r.body)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	var broken error
	b := newBench(t, func(o *Options, tm *timing) {
		tm.ready = 0
		o.Ready = []Check{{"store", func(ctx context.Context) error { return nil }}, {"runtime", func(context.Context) error { return broken }}}
	})
	br := b.browser().with("Host", "10.0.0.1:9") // an orchestrator asks by address
	br.must(200, "GET", "/healthz", nil)
	br.must(200, "GET", "/readyz", nil)
	broken = station.ErrUnavailable
	if r := br.must(503, "GET", "/readyz", nil); !strings.Contains(string(r.body), `"runtime":"failed"`) {
		t.Errorf("%s", r.body)
	}
}

// Anybody may ask for readiness, as often as they like: the parts are not asked
// each time, and who leaves does not make them look broken.
func TestReadinessIsNoLever(t *testing.T) {
	var asked atomic.Int32
	b := newBench(t, func(o *Options, tm *timing) {
		tm.ready = time.Hour
		o.Ready = []Check{{"store", func(ctx context.Context) error {
			asked.Add(1)
			<-time.After(50 * time.Millisecond)
			return ctx.Err()
		}}}
	})
	ctx, leave := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, "GET", b.base+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.DefaultClient.Do(req); err == nil {
		t.Error("the impatient one had an answer")
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			res, err := http.Get(b.base + "/readyz")
			if err != nil || res.StatusCode != 200 {
				t.Error(res, err)
				return
			}
			res.Body.Close()
		})
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A panic is a 500 with a document, or, when part of the answer is out, a broken
// connection: half an answer must not look whole.
func TestPanics(t *testing.T) {
	b := newBench(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/early", func(http.ResponseWriter, *http.Request) { panic("early") })
	mux.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		panic("late")
	})
	server := httptest.NewUnstartedServer(b.g.wrap(mux))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	defer server.Close()
	// Serve binds its own address when it begins: only after that may another
	// take its place.
	ready, err := http.Get(b.base + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	ready.Body.Close()
	if err := b.g.Bind(server.Listener.Addr()); err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(server.URL + "/early")
	if err != nil || res.StatusCode != 500 || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("early: %v %v", res, err)
	}
	if res, err = http.Get(server.URL + "/late"); err == nil {
		_, err = io.ReadAll(res.Body)
	}
	if err == nil {
		t.Error("half an answer was passed off as whole")
	}
	if got := b.log.String(); !strings.Contains(got, "panic=early") || !strings.Contains(got, "panic=late") {
		t.Error("not logged: ", got)
	}
}

func TestRequestsThatAreNotOurs(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	big := `{"name":"` + strings.Repeat("a", 70<<10) + `"}`
	for _, c := range []struct {
		body        any
		contentType string
		status      int
		code        string
	}{
		{big, "", 413, "too_large"},
		{`{"name":`, "", 400, "bad_request"},
		{`{"name":7}`, "", 422, "bad_request"},
		{`{"name":"x","colour":"red"}`, "", 422, "bad_request"},
		{`name=x`, "application/x-www-form-urlencoded", 415, "wrong_content_type"},
		{`{"name":"x"}`, "text/plain", 415, "wrong_content_type"},
	} {
		br := &browser{b: b, http: root.http, header: http.Header{}}
		if c.contentType != "" {
			br.with("Content-Type", c.contentType)
		}
		if r := br.do("POST", "/api/v1/sessions", c.body); r.StatusCode != c.status || r.code() != c.code {
			t.Errorf("%.40v: %d %s, want %d %s", c.body, r.StatusCode, r.body, c.status, c.code)
		}
	}
	if r := root.must(405, "PUT", "/api/v1/sessions/main", map[string]any{}); r.Header.Get("Allow") != "GET, HEAD, PATCH, DELETE" || r.code() != "wrong_method" {
		t.Errorf("%v %s", r.Header, r.body)
	}
	root.must(404, "PUT", "/api/v1/nowhere", map[string]any{})
	// What was typed is never repeated: it may be a password.
	r := b.browser().must(422, "POST", "/api/v1/login", `{"username":"root","password":["hunter2hunter2"]}`)
	if strings.Contains(string(r.body), "hunter2") {
		t.Errorf("%s", r.body)
	}
}
