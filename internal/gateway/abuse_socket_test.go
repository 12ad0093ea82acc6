package gateway

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/auth"
	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/wire"
)

func TestAbuse01_ForeignOrigin(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	id := root.session("main").ID
	for _, origin := range []string{"https://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "null", "file://", "https://" + b.base[7:], b.base + ".evil.example",
		b.base + "/", "http://user@" + b.base[7:], "http://localhost:" + b.base[len("http://127.0.0.1:"):]} {
		br := &browser{b: b, http: root.http, header: http.Header{}}
		br.with("Origin", origin)
		for _, path := range []string{"/ws/sessions/main", "/ws/terminal-probe?session=main", "/ws/hello"} {
			if code := br.refused(403, path, wire.Subprotocol); code != "foreign_origin" {
				t.Errorf("%s from %q: %s", path, origin, code)
			}
		}
	}
	// Two Origin headers are as good as a foreign one.
	two := &browser{b: b, http: root.http, header: http.Header{"Origin": {b.base, "https://evil.example"}}}
	two.refused(403, "/ws/sessions/main", wire.Subprotocol)
	if seen := b.fleet.guest(id).identities(); len(seen) != 0 {
		t.Errorf("the guest was reached: %+v", seen)
	}
	works(t, root.open("main"))
}

func TestAbuse02_PreviewOrSiblingOrigin(t *testing.T) {
	b := newBench(t, withURL("https://box.example.org"))
	api, _ := b.admin().token("*")
	for _, origin := range []string{"https://3000--main.preview.box.example.org", "https://other.example.org", "https://example.org", "http://box.example.org",
		"https://box.example.org:8443", b.base} {
		br := &browser{b: b, http: api.http, header: api.header.Clone()}
		br.with("Host", "box.example.org").with("Origin", origin)
		br.refused(403, "/ws/sessions/main", wire.Subprotocol)
		if r := br.do("POST", "/api/v1/sessions", map[string]any{"name": "x"}); r.StatusCode != 403 {
			t.Errorf("POST from %s: %d", origin, r.StatusCode)
		}
	}
	br := &browser{b: b, http: api.http, header: api.header.Clone()}
	br.with("Host", "box.example.org").with("Origin", "https://box.example.org")
	works(t, br.open("main"))
	// A name that was re-pointed to this address (DNS rebinding) is no own name.
	for _, host := range []string{"evil.example", "127.0.0.1", "127.0.0.1:1", "box.example.org.evil.example"} {
		br := &browser{b: b, http: api.http, header: http.Header{}}
		br.with("Host", host).with("Origin", "http://"+host)
		if code := br.refused(421, "/ws/sessions/main", wire.Subprotocol); code != "wrong_host" {
			t.Error(code)
		}
		if r := br.do("GET", "/", nil); r.StatusCode != 421 {
			t.Errorf("%s: %d", host, r.StatusCode)
		}
	}
}

func TestAbuse03_CookieWithoutOrigin(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	api, _ := root.token("*")
	bare := &browser{b: b, http: root.http, header: http.Header{"Origin": {"-"}}}
	for _, path := range []string{"/ws/sessions/main", "/ws/terminal-probe?session=main"} {
		if code := bare.refused(403, path, wire.Subprotocol); code != "no_origin" {
			t.Error(code)
		}
		both := &browser{b: b, http: root.http, header: http.Header{"Origin": {"-"}, "Authorization": api.header["Authorization"]}}
		both.refused(403, path, wire.Subprotocol)
	}
	works(t, api.with("Origin", "-").open("main"))
	if code := b.browser().refused(401, "/ws/sessions/main", wire.Subprotocol); code != "sign_in" {
		t.Error(code)
	}
	root.refused(400, "/ws/sessions/main")
	root.refused(400, "/ws/sessions/main", "other.protocol")
	root.refused(404, "/ws/sessions/none", wire.Subprotocol)
	if r := root.do("GET", "/ws/sessions/main", nil); r.StatusCode != 426 || r.code() != "upgrade_required" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

func TestAbuse05_TicketBeyondItsRight(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	ada := b.member(root, "ada")
	root.must(201, "POST", "/api/v1/sessions", map[string]any{"name": "other"})
	anon := func() *browser { return b.browser() }
	offer := func(ticket string) []string { return []string{wire.Subprotocol, wire.TicketPrefix + ticket} }
	mainID, otherID := string(root.session("main").ID), string(root.session("other").ID)

	ticket := root.ticket("main", nil)
	conn, res, err := anon().upgrade("/ws/sessions/"+mainID, offer(ticket)...)
	if err != nil {
		t.Fatal(err)
	}
	works(t, conn)
	if p := res.Header.Get("Sec-WebSocket-Protocol"); p != wire.Subprotocol {
		t.Errorf("the server chose %q", p)
	}
	if code := anon().refused(401, "/ws/sessions/"+mainID, offer(ticket)...); code != "bad_ticket" {
		t.Errorf("twice: %s", code)
	}

	late := root.ticket("main", nil)
	b.clock.advance(station.TicketLife + time.Second)
	anon().refused(401, "/ws/sessions/main", offer(late)...)

	anon().refused(401, "/ws/sessions/"+otherID, offer(root.ticket("main", nil))...)                                    // session
	anon().refused(401, "/ws/sessions/"+string(ada.session("main").ID), offer(root.ticket("main", nil))...)             // another's
	ada.refused(401, "/ws/sessions/main", offer(root.ticket("main", nil))...)                                           // user
	anon().refused(401, "/ws/sessions/main", offer(root.ticket("main", map[string]any{"scope": "mcp-bridge"}))...)      // scope
	anon().refused(401, "/ws/terminal-probe?session=other", offer(root.ticket("main", nil))...)                         // door
	anon().refused(401, "/ws/sessions/main", offer("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")...)                   // made up
	anon().with("Origin", "https://evil.example").refused(403, "/ws/sessions/main", offer(root.ticket("main", nil))...) // page
	anon().with("Authorization", "Bearer x").refused(400, "/ws/sessions/main", offer(root.ticket("main", nil))...)      // two rights

	// A tab's ticket is that tab's in the identity: the client has no say.
	guest := b.fleet.guest(station.ID(mainID))
	tab := guest.tabs[0]
	works(t, anon().open("main", wire.TicketPrefix+root.ticket("main", map[string]any{"tab": tab.Name, "role": "viewer"})))
	ids := guest.identities()
	if id := ids[len(ids)-1]; id.Tab != tab.ID || id.Role != station.RoleViewer || id.User != root.user.ID {
		t.Errorf("%+v", id)
	}
	root.must(404, "POST", "/api/v1/sessions/main/tickets", map[string]any{"scope": "terminal", "tab": "none"})
	root.must(400, "POST", "/api/v1/sessions/main/tickets", map[string]any{"scope": "all"})
	root.must(400, "POST", "/api/v1/sessions/main/tickets", map[string]any{"scope": "terminal", "role": "god"})
	ada.must(404, "POST", "/api/v1/sessions/"+mainID+"/tickets", map[string]any{"scope": "terminal"})
}

func TestAbuse06_ExactScope(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	ticket := root.ticket("main", nil)
	b.browser().with("Authorization", "Bearer "+ticket).must(401, "GET", "/api/v1/me", nil)
	b.browser().with("Authorization", "Bearer "+ticket).refused(401, "/ws/sessions/main", wire.Subprotocol)
	b.browser().with("Cookie", "staithe="+ticket).must(401, "GET", "/api/v1/me", nil)

	sess, _ := root.token(auth.ScopeSessions)
	term, _ := root.token(auth.ScopeTerminal)
	sess.must(201, "POST", "/api/v1/sessions", map[string]any{"name": "made"})
	if code := sess.refused(403, "/ws/sessions/main", wire.Subprotocol); code != "insufficient_scope" {
		t.Error(code)
	}
	sess.must(403, "POST", "/api/v1/sessions/main/tickets", map[string]any{"scope": "terminal"})
	sess.must(403, "GET", "/api/v1/sessions/main/tabs", nil)
	works(t, term.open("main"))
	term.must(201, "POST", "/api/v1/sessions/main/tickets", map[string]any{"scope": "terminal"})
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{"POST", "/api/v1/sessions/main/tickets", map[string]any{"scope": "mcp-bridge"}},
		{"POST", "/api/v1/sessions", map[string]any{"name": "no"}},
		{"DELETE", "/api/v1/sessions/main", nil},
		{"GET", "/api/v1/users", nil},
		{"GET", "/api/v1/tokens", nil},
		{"POST", "/api/v1/tokens", map[string]any{"name": "more", "scopes": []string{"*"}}},
		{"POST", "/api/v1/me/password", map[string]any{"current": goodPassword, "new": "12345678"}},
		{"GET", "/metrics", nil},
	} {
		if r := term.do(c.method, c.path, c.body); r.StatusCode != 403 || r.code() != "insufficient_scope" {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.StatusCode, r.body)
		}
	}
	root.must(400, "POST", "/api/v1/tokens", map[string]any{"name": "odd", "scopes": []string{"everything"}})
}

// revokedWithin is row 11's limit. No test takes that time of a connection, as
// what else the machine does would count: the times that make it up are looked at,
// and that connections end at all is tried with short ones.
const revokedWithin = 5 * time.Second

// sweepsOften is for what only a sweep finds.
func sweepsOften(_ *Options, tm *timing) { tm.sweep = 100 * time.Millisecond }

func TestAbuse11_RevocationEndsLiveConnections(t *testing.T) {
	if worst := defaultTiming.sweep + defaultTiming.force; worst >= revokedWithin {
		t.Errorf("a sweep and a client that answers no close take %v, which is no less than %v", worst, revokedWithin)
	}
	for _, c := range []struct {
		name string
		open func(root, ada *browser) *websocket.Conn
		end  func(b *bench, root, ada *browser)
	}{
		{"user disabled", byCookie, func(_ *bench, root, _ *browser) {
			root.must(200, "PATCH", "/api/v1/users/ada", map[string]any{"disabled": true})
		}},
		{"user deleted", byCookie, func(_ *bench, root, _ *browser) { root.must(204, "DELETE", "/api/v1/users/ada", nil) }},
		{"logout", byCookie, func(_ *bench, _, ada *browser) { ada.must(204, "POST", "/api/v1/logout", nil) }},
		{"password changed elsewhere", byCookie, func(b *bench, _, _ *browser) { changeElsewhere(b) }},
		{"password changed elsewhere, opened by ticket", byTicket, func(b *bench, _, _ *browser) { changeElsewhere(b) }},
		{"logout, opened by ticket", byTicket, func(_ *bench, _, ada *browser) { ada.must(204, "POST", "/api/v1/logout", nil) }},
		{"user disabled, opened by ticket", byTicket, func(_ *bench, root, _ *browser) {
			root.must(200, "PATCH", "/api/v1/users/ada", map[string]any{"disabled": true})
		}},
		{"reset link used", byCookie, func(b *bench, root, _ *browser) {
			var link struct{ Link string }
			root.must(201, "POST", "/api/v1/users/ada/reset-link", nil).into(b.t, &link)
			b.browser().must(200, "POST", "/api/v1/invite", map[string]any{"token": link.Link[len(b.base+"/invite#"):], "password": "brand new one"})
		}},
		{"login again in the same browser", byCookie, func(_ *bench, _, ada *browser) {
			ada.must(200, "POST", "/api/v1/login", map[string]any{"username": "ada", "password": goodPassword})
		}},
		{"disabled by another process", byCookie, func(b *bench, _, ada *browser) {
			yes := true // straight in the store: nobody tells this gateway
			if _, err := b.store.SetUserFlags(context.Background(), ada.user.ID, &yes, nil); err != nil {
				b.t.Error(err)
			}
		}},
		{"login out of time, opened by ticket", byTicket, func(b *bench, _, _ *browser) { b.clock.advance(auth.LoginLife + time.Second) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sweepsOften)
			root := b.admin()
			ada := b.member(root, "ada")
			conn, bystander := c.open(root, ada), root.open("main")
			works(t, conn)
			c.end(b, root, ada)
			wantClose(t, conn, patience, wire.CloseUnauthorized)
			if c.name != "login out of time, opened by ticket" { // there the bystander's time is over too
				works(t, bystander)
			}
		})
	}
}

func byCookie(_, ada *browser) *websocket.Conn { return ada.open("main") }

func byTicket(_, ada *browser) *websocket.Conn {
	return ada.b.browser().open("main", wire.TicketPrefix+ada.ticket("main", nil))
}

func changeElsewhere(b *bench) {
	other := b.browser()
	other.must(200, "POST", "/api/v1/login", map[string]any{"username": "ada", "password": goodPassword})
	other.must(204, "POST", "/api/v1/me/password", map[string]any{"current": goodPassword, "new": "brand new one"})
	other.must(200, "GET", "/api/v1/me", nil)
}

func TestAbuse11_RevokedToken(t *testing.T) {
	b := newBench(t, sweepsOften)
	root := b.admin()
	for _, own := range []bool{true, false} {
		api, id := root.token("*")
		direct, byTicket := api.open("main"), b.browser().open("main", wire.TicketPrefix+api.ticket("main", nil))
		works(t, direct)
		works(t, byTicket)
		if own {
			root.must(204, "DELETE", "/api/v1/tokens/"+id, nil)
		} else if err := b.store.DeleteToken(t.Context(), root.user.ID, station.ID(id)); err != nil {
			t.Fatal(err)
		}
		wantClose(t, direct, patience, wire.CloseUnauthorized)
		wantClose(t, byTicket, patience, wire.CloseUnauthorized)
		api.must(401, "GET", "/api/v1/me", nil)
		api.refused(401, "/ws/sessions/main", wire.Subprotocol)
	}
	// A ticket minted before and used after the revocation opens nothing.
	api, id := root.token("*")
	ticket := api.ticket("main", nil)
	root.must(204, "DELETE", "/api/v1/tokens/"+id, nil)
	b.browser().refused(401, "/ws/sessions/main", wire.Subprotocol, wire.TicketPrefix+ticket)
}

func TestAbuse11_OwnPasswordChange(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	api, _ := root.token("*")
	mine, tokens := root.open("main"), api.open("main")
	root.must(403, "POST", "/api/v1/me/password", map[string]any{"current": "wrong wrong", "new": "brand new one"})
	works(t, mine)
	root.must(204, "POST", "/api/v1/me/password", map[string]any{"current": goodPassword, "new": "brand new one"})
	wantClose(t, mine, patience, wire.CloseGoingAway) // who changed it comes back at once
	wantClose(t, tokens, patience, wire.CloseUnauthorized)
	works(t, root.open("main"))
}

func TestAbuse11_StalledClientIsCutToo(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	ada := b.member(root, "ada")
	id := ada.session("main").ID
	flooding := make(chan error, 1)
	b.fleet.guest(id).speaks(func(c *websocket.Conn, _ guestapi.Identity) {
		for {
			if err := c.Write(context.Background(), websocket.MessageBinary, make([]byte, 32<<10)); err != nil {
				flooding <- err
				return
			}
		}
	})
	ada.open("main") // and never reads
	root.must(200, "PATCH", "/api/v1/users/ada", map[string]any{"disabled": true})
	select {
	case <-flooding:
	case <-time.After(patience):
		t.Error("the guest's leg of a revoked connection is still open")
	}
}
