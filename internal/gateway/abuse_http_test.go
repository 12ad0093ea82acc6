package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"staithe/internal/station"
	"staithe/internal/wire"
)

func TestAbuse04_IdentityHeadersAreIgnored(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	ada := b.member(root, "ada")
	forge := func(br *browser) *browser {
		f := &browser{b: b, http: br.http, header: br.header.Clone()}
		id := string(root.user.ID)
		for _, h := range []string{"X-User-Id", "X-User-Email", "X-Session-Id", "X-Tab-Id", "X-Forwarded-User", "X-Remote-User", "Remote-User", "X-Forwarded-Email"} {
			f.with(h, id)
		}
		return f.with("X-Forwarded-Host", "evil.example").with("X-Forwarded-Proto", "https").with("X-Forwarded-For", "127.0.0.1").with("Forwarded", "for=127.0.0.1")
	}
	nobody := forge(b.browser())
	for _, op := range operations(t, b) {
		path := strings.NewReplacer("{session}", "main", "{tab}", "main", "{id}", "x", "{user}", "root").Replace(op.path)
		r := nobody.do(op.method, path, op.sample(map[string]string{"username": "root"}))
		if op.public {
			continue
		}
		if r.StatusCode != 401 {
			t.Errorf("%s %s with forged headers: %d %s", op.method, op.path, r.StatusCode, r.body)
		}
	}
	nobody.refused(401, "/ws/sessions/main", wire.Subprotocol)
	nobody.refused(401, "/ws/terminal-probe?session=main", wire.Subprotocol)

	var me station.User
	forge(ada).must(200, "GET", "/api/v1/me", nil).into(t, &me)
	if me.Name != "ada" {
		t.Errorf("ada is %+v", me)
	}
	works(t, forge(ada).open("main"))
	guest := b.fleet.guest(ada.session("main").ID)
	if ids := guest.identities(); len(ids) != 1 || ids[0].User != ada.user.ID {
		t.Errorf("%+v", ids)
	}
	for _, h := range guest.headers() {
		for name := range h {
			if strings.HasPrefix(name, "X-") || name == "Cookie" || strings.HasPrefix(name, "Forwarded") || name == "Remote-User" {
				t.Errorf("%s reached the guest", name)
			}
		}
	}
	if r := forge(ada).do("GET", "/", nil); r.Header.Get("Strict-Transport-Security") != "" {
		t.Error("X-Forwarded-Proto from a client counted")
	}
}

func TestAbuse04_ForwardedForCountsOnlyFromListedProxies(t *testing.T) {
	guess := func(br *browser, i int) int {
		br.header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d, 198.51.100.%d", i, i))
		return br.do("POST", "/api/v1/login", map[string]any{"username": "root", "password": "wrong"}).StatusCode
	}
	for _, c := range []struct {
		settings []setting
		limited  bool
	}{
		{nil, true}, // made-up addresses are one client
		{[]setting{withProxies("127.0.0.1/32")}, false},
		{[]setting{withProxies("10.0.0.0/8")}, true},
		{[]setting{withProxies("0.0.0.0/0")}, false}, // every hop trusted: the leftmost is the client
	} {
		b := newBench(t, c.settings...)
		b.admin()
		limited := false
		for i := range 20 {
			limited = guess(b.browser(), i) == 429 || limited
		}
		if limited != c.limited {
			t.Errorf("%d proxies listed: limited %v", len(c.settings), limited)
		}
	}
	// Behind a listed proxy, what a client itself wrote further left is not believed.
	b := newBench(t, withProxies("127.0.0.1/32"))
	b.admin()
	last := 0
	for i := range 20 {
		br := b.browser().with("X-Forwarded-For", fmt.Sprintf("203.0.113.%d, 198.51.100.7", i))
		last = br.do("POST", "/api/v1/login", map[string]any{"username": "root", "password": "wrong"}).StatusCode
	}
	if last != 429 {
		t.Errorf("a client chose its own address: %d", last)
	}
}

func TestAbuse07_NoSecretInLogsMetricsOrErrors(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	api, _ := root.token("*")
	bearer := strings.TrimPrefix(api.header.Get("Authorization"), "Bearer ")
	ticket := root.ticket("main", nil)
	var made struct{ Invite string }
	root.must(201, "POST", "/api/v1/users", map[string]any{"username": "ada"}).into(t, &made)
	_, invite, _ := strings.Cut(made.Invite, "#")
	secrets := []string{bearer, ticket, invite, goodPassword, "hunter2hunter2"}
	for _, c := range root.http.Jar.Cookies(mustURL(b.base)) {
		secrets = append(secrets, c.Value)
	}
	var shown strings.Builder
	keep := func(r reply) {
		shown.Write(r.body)
		for k, v := range r.Header {
			if k != "Set-Cookie" {
				fmt.Fprint(&shown, k, v)
			}
		}
	}
	for _, s := range secrets[:3] {
		keep(root.do("GET", "/api/v1/me?token="+s, nil))
		keep(root.do("GET", "/invite/"+s, nil))
		keep(root.do("GET", "/s/main?ticket="+s, nil))
		keep(root.do("GET", "/ws/sessions/main?ticket="+s, nil))
		keep(root.do("GET", "/api/v1/nothing/"+s, nil))
		keep(b.browser().with("Authorization", "Basic "+s).do("GET", "/api/v1/me", nil))
		keep(b.browser().with("Referer", b.base+"/invite#"+s).do("GET", "/login", nil))
		keep(b.browser().do("POST", "/api/v1/invite", map[string]any{"token": s + "x", "password": "hunter2hunter2"}))
		keep(b.browser().do("POST", "/api/v1/setup", map[string]any{"token": s, "username": "x", "password": "hunter2hunter2"}))
		keep(b.browser().do("DELETE", "/api/v1/tokens/"+s, nil))
	}
	keep(b.browser().do("POST", "/api/v1/login", map[string]any{"username": "root", "password": "hunter2hunter2"}))
	keep(b.browser().do("POST", "/api/v1/login", `{"username":"root","password":{"hunter2hunter2":1}}`))
	works(t, api.open("main"))
	works(t, b.browser().open("main", wire.TicketPrefix+ticket))
	b.browser().refused(401, "/ws/sessions/main", wire.Subprotocol, wire.TicketPrefix+ticket)
	keep(root.must(200, "GET", "/metrics", nil))
	b.stop()
	for _, s := range secrets {
		if strings.Contains(b.log.String(), s) {
			t.Errorf("%q is in the log", s)
		}
		if strings.Contains(shown.String(), s) {
			t.Errorf("%q is in an answer", s)
		}
	}
	if !strings.Contains(b.log.String(), "path=/api/v1/me ") || !strings.Contains(b.log.String(), "msg=request") {
		t.Error("there is no access log")
	}
}

func TestAbuse12_CrossSiteRequestForgery(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	before := string(root.must(200, "GET", "/api/v1/sessions", nil).body)
	body := `{"name":"forged"}`
	attack := func(name, method, path, content, contentType string, want int, headers ...string) {
		t.Helper()
		br := &browser{b: b, http: root.http, header: http.Header{"Content-Type": {contentType}}}
		for i := 0; i < len(headers); i += 2 {
			br.with(headers[i], headers[i+1])
		}
		if r := br.do(method, path, content); r.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", name, r.StatusCode, r.body, want)
		}
	}
	evil := []string{"Origin", "https://evil.example"}
	attack("form", "POST", "/api/v1/sessions", "name=forged", "application/x-www-form-urlencoded", 403, evil...)
	attack("text/plain form", "POST", "/api/v1/sessions", body, "text/plain", 403, evil...)
	attack("JSON", "POST", "/api/v1/sessions", body, "application/json", 403, evil...)
	attack("no-cors fetch", "POST", "/api/v1/sessions", body, "text/plain", 403, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors")
	attack("sibling site", "POST", "/api/v1/sessions", body, "application/json", 403, "Sec-Fetch-Site", "same-site")
	attack("sandboxed frame", "POST", "/api/v1/sessions", body, "application/json", 403, "Origin", "null")
	attack("another port", "POST", "/api/v1/sessions", body, "application/json", 403, "Origin", "http://127.0.0.1:1")
	attack("multipart", "POST", "/api/v1/sessions", body, "multipart/form-data; boundary=x", 415)
	attack("empty form", "POST", "/api/v1/sessions/main/sleep", "", "application/x-www-form-urlencoded", 403, evil...)
	attack("logout", "POST", "/api/v1/logout", "", "text/plain", 403, evil...)
	attack("login form", "POST", "/api/v1/login", `{"username":"root","password":"`+goodPassword+`"}`, "text/plain", 403, evil...)
	attack("login form with a text type", "POST", "/api/v1/login", `{"username":"root","password":"`+goodPassword+`"}`, "text/plain", 415)
	attack("DELETE", "DELETE", "/api/v1/sessions/main", "", "application/json", 403, evil...)
	attack("navigation", "GET", "/api/v1/sessions/main/sleep", "", "", 405, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	attack("navigation to logout", "GET", "/api/v1/logout", "", "", 405, "Sec-Fetch-Site", "cross-site")
	attack("method in a header", "GET", "/api/v1/sessions/main", "", "", 200, "X-HTTP-Method-Override", "DELETE")
	attack("preflight", "OPTIONS", "/api/v1/sessions", "", "", 403, "Origin", "https://evil.example", "Access-Control-Request-Method", "POST")
	if after := string(root.must(200, "GET", "/api/v1/sessions", nil).body); after != before {
		t.Errorf("before %s\nafter %s", before, after)
	}
	if r := root.with("Origin", "https://evil.example").do("GET", "/api/v1/me", nil); r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("another site may read answers")
	}
}

func TestAbuse13_FramesAndScripts(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	const want = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
	for _, path := range []string{"/", "/login", "/s/main", "/assets/app-1a2b.js", "/api/v1/me", "/api/v1/openapi.json", "/api/v1/nothing", "/nothing", "/healthz", "/metrics", "/ws/hello"} {
		h := root.do("GET", path, nil).Header
		for name, value := range map[string]string{"Content-Security-Policy": want, "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
			if h.Get(name) != value {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
		if strings.HasPrefix(path, "/api/") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached: %q", path, h.Get("Cache-Control"))
		}
	}
	for _, typ := range []string{"application/json", "application/problem+json"} {
		path := map[string]string{"application/json": "/api/v1/me", "application/problem+json": "/api/v1/sessions/none"}[typ]
		if r := root.with("Accept", "text/html").do("GET", path, nil); r.Header.Get("Content-Type") != typ {
			t.Errorf("%s is %s", path, r.Header.Get("Content-Type"))
		}
	}
}

func TestAbuse14_ThousandWrongPasswords(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	known := b.browser() // has signed in from the attacker's own address before
	known.must(200, "POST", "/api/v1/login", map[string]any{"username": "root", "password": goodPassword})
	known.must(204, "POST", "/api/v1/logout", nil)

	attacker := b.browser()
	attacker.http.Transport = &http.Transport{}
	tried, limited := 0, 0
	for i := range 1000 {
		r := attacker.do("POST", "/api/v1/login", map[string]any{"username": "root", "password": "wrong " + strconv.Itoa(i)})
		switch r.StatusCode {
		case 401:
			tried++
		case 429:
			limited++
			if s, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || s < 1 || r.code() != "too_many_attempts" {
				t.Fatalf("%v %s", r.Header, r.body)
			}
		default:
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
	}
	if tried > 60 || limited < 900 {
		t.Errorf("%d passwords were tried, %d refused", tried, limited)
	}
	right := map[string]any{"username": "root", "password": goodPassword}
	attacker.must(429, "POST", "/api/v1/login", right)
	b.browser().from("127.0.0.2").must(200, "POST", "/api/v1/login", right)
	known.must(200, "POST", "/api/v1/login", right)
	root.must(200, "GET", "/api/v1/me", nil) // who is in stays in
	// Another account from that address is not held by this one's limit.
	b.member(root, "ada")
	// From a thousand addresses: the account's own limit holds, and who has
	// signed in before still gets in.
	for i := range 400 {
		b.browser().from(fmt.Sprintf("127.0.%d.%d", 1+i/200, 1+i%200)).do("POST", "/api/v1/login", map[string]any{"username": "ada", "password": "wrong"})
	}
	ada := map[string]any{"username": "ada", "password": goodPassword}
	b.browser().from("127.0.9.9").must(429, "POST", "/api/v1/login", ada)
	b.browser().must(200, "POST", "/api/v1/login", ada) // from the address ada came from before
	// Unknown and malformed names are refused alike.
	for _, name := range []string{"nobody", "ROOT", "root ", "", "r\x00oot", strings.Repeat("a", 1000)} {
		br := b.browser().from("127.0.0.3")
		if r := br.do("POST", "/api/v1/login", map[string]any{"username": name, "password": goodPassword}); r.StatusCode != 401 || r.code() != "wrong_login" {
			t.Errorf("%q: %d %s", name, r.StatusCode, r.body)
		}
	}
}

func TestAbuse15_SetupOnce(t *testing.T) {
	b := newBench(t)
	for _, password := range []string{"admin", "password", "staithe", ""} {
		if r := b.browser().do("POST", "/api/v1/login", map[string]any{"username": "admin", "password": password}); r.StatusCode != 401 {
			t.Errorf("default password %q: %d", password, r.StatusCode)
		}
	}
	first, err := b.auth.NewSetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token, err := b.auth.NewSetupToken(t.Context()) // as a restart makes it
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "x", first.Reveal(), token.Reveal()[1:], token.Reveal() + "\x00"} {
		r := b.browser().do("POST", "/api/v1/setup", map[string]any{"token": wrong, "username": "eve", "password": goodPassword})
		if r.StatusCode != 410 || len(r.Header["Set-Cookie"]) != 0 {
			t.Errorf("setup with %q: %d %s", wrong, r.StatusCode, r.body)
		}
	}
	b.browser().must(400, "POST", "/api/v1/setup", map[string]any{"token": token.Reveal(), "username": "Root", "password": goodPassword})
	b.browser().must(400, "POST", "/api/v1/setup", map[string]any{"token": token.Reveal(), "username": "root", "password": "1234567"})
	b.browser().must(400, "POST", "/api/v1/setup", map[string]any{"token": token.Reveal(), "username": "root", "password": strings.Repeat("x", 1025)})

	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	cookies := 0
	for i := range 50 {
		br := b.browser()
		wg.Go(func() {
			r := br.do("POST", "/api/v1/setup", map[string]any{"token": token.Reveal(), "username": fmt.Sprintf("racer-%d", i), "password": goodPassword})
			mu.Lock()
			defer mu.Unlock()
			answers[r.StatusCode]++
			if len(r.Header["Set-Cookie"]) > 0 {
				cookies++
			}
		})
	}
	wg.Wait()
	if answers[201] != 1 || answers[410]+answers[429] != 49 || cookies != 1 {
		t.Errorf("%v, %d cookies", answers, cookies)
	}
	if users, err := b.auth.Users(t.Context()); err != nil || len(users) != 1 {
		t.Errorf("%+v, %v", users, err)
	}
	late := b.browser().from("127.0.0.2")
	late.must(410, "POST", "/api/v1/setup", map[string]any{"token": token.Reveal(), "username": "late", "password": goodPassword})
}

func TestAbuse16_SessionCookie(t *testing.T) {
	b := newBench(t, withURL("https://box.example.org"))
	root := b.admin()
	check := func(br *browser, prefix string, secure bool) string {
		t.Helper()
		r := br.must(200, "POST", "/api/v1/login", map[string]any{"username": "root", "password": goodPassword})
		value := ""
		for _, c := range r.Cookies() {
			if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != secure || !strings.HasPrefix(c.Name, prefix+"staithe") {
				t.Errorf("%+v", c)
			}
			if c.Name == prefix+"staithe" {
				value = c.Value
			}
		}
		if len(value) < 43 {
			t.Errorf("the cookie is %q", value)
		}
		return value
	}
	plain := check(b.browser(), "", false)
	tls := func() *browser { return b.browser().with("Host", "box.example.org") }
	first := check(tls(), "__Host-", true)
	withCookie := func(name, value string) *browser { return tls().with("Cookie", name+"="+value) }
	withCookie("__Host-staithe", first).must(200, "GET", "/api/v1/me", nil)
	withCookie("staithe", first).must(401, "GET", "/api/v1/me", nil) // a sibling could have set that one
	if r := tls().do("GET", "/", nil); !strings.HasPrefix(r.Header.Get("Strict-Transport-Security"), "max-age=") {
		t.Error("no HSTS on https")
	}

	second := check(withCookie("__Host-staithe", first), "__Host-", true)
	if second == first {
		t.Error("not rotated at login")
	}
	withCookie("__Host-staithe", first).must(401, "GET", "/api/v1/me", nil)
	r := withCookie("__Host-staithe", "planted-by-an-attacker-0000000000000000000").must(200, "POST", "/api/v1/login", map[string]any{"username": "root", "password": goodPassword})
	if strings.Contains(fmt.Sprint(r.Header), "planted") {
		t.Error("a planted cookie was taken over")
	}
	out := withCookie("__Host-staithe", second).must(204, "POST", "/api/v1/logout", nil)
	if c := out.Cookies(); len(c) != 1 || c[0].MaxAge >= 0 || c[0].Name != "__Host-staithe" {
		t.Errorf("%+v", c)
	}
	withCookie("__Host-staithe", second).must(401, "GET", "/api/v1/me", nil)
	root.must(200, "GET", "/api/v1/me", nil)

	b.stop()
	notStored(t, b, plain)
}

// notStored wants a secret in none of the store's files.
func notStored(t *testing.T, b *bench, plain string) {
	t.Helper()
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(b.dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), plain) {
			t.Errorf("the cookie is in %s", f)
		}
	}
}

func TestAbuse17_NamesThatLookAlike(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	b.member(root, "a-b")
	bad := []string{"a.b", "A-B", "a_b", "a-b ", " a-b", "a‐b", "а-b", "a\u200b-b", "-a", "", "a/b", "..", "a%2db", "ａ-b", "a-b\n", strings.Repeat("a", 40), "a\x00"}
	for _, name := range bad {
		if r := root.do("POST", "/api/v1/users", map[string]any{"username": name}); r.StatusCode != 400 || r.code() != "bad_name" {
			t.Errorf("user %q: %d %s", name, r.StatusCode, r.body)
		}
		if r := root.do("POST", "/api/v1/sessions", map[string]any{"name": name}); r.StatusCode != 400 || r.code() != "bad_name" {
			t.Errorf("session %q: %d %s", name, r.StatusCode, r.body)
		}
		if r := root.do("PATCH", "/api/v1/sessions/main", map[string]any{"name": name}); r.StatusCode != 400 {
			t.Errorf("rename to %q: %d %s", name, r.StatusCode, r.body)
		}
	}
	root.must(409, "POST", "/api/v1/users", map[string]any{"username": "a-b"})
	// Names that differ are different things.
	seen := map[string]bool{}
	for _, name := range []string{"a-b", "ab", "a--b", "a-b-"} {
		var s station.Session
		root.must(201, "POST", "/api/v1/sessions", map[string]any{"name": name}).into(t, &s)
		if seen[string(s.ID)] || s.Name != name {
			t.Errorf("%+v", s)
		}
		seen[string(s.ID)] = true
	}
	// Two users' sessions of one name are two sessions.
	ada := b.member(root, "ada")
	if ada.session("main").ID == root.session("main").ID {
		t.Error("one main for two users")
	}
	root.must(404, "GET", "/api/v1/sessions/MAIN", nil)
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}
