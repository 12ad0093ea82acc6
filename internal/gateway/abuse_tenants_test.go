package gateway

import (
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"testing"

	"staithe/internal/auth"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// operation is one operation of the served OpenAPI document.
type operation struct {
	method, path string
	public       bool
	schema       map[string]any // of the body; nil without one
	components   map[string]any
}

// operations reads the document that the running server serves.
func operations(t *testing.T, b *bench) []operation {
	t.Helper()
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Security    []any
			RequestBody struct {
				Content map[string]struct{ Schema map[string]any }
			}
		}
		Components struct{ Schemas map[string]any }
	}
	r := b.browser().must(200, "GET", "/api/v1/openapi.json", nil)
	if err := json.Unmarshal(r.body, &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatal(doc.OpenAPI, err)
	}
	var ops []operation
	for path, methods := range doc.Paths {
		if !strings.HasPrefix(path, prefix) {
			continue // sockets are attacked by tests of their own
		}
		for method, op := range methods {
			o := operation{method: strings.ToUpper(method), path: path, public: len(op.Security) == 0, components: doc.Components.Schemas}
			if c, ok := op.RequestBody.Content["application/json"]; ok {
				o.schema = c.Schema
			}
			ops = append(ops, o)
		}
	}
	// DELETE last: it takes away what the others are tried on.
	sort.Slice(ops, func(i, j int) bool {
		if di, dj := ops[i].method == "DELETE", ops[j].method == "DELETE"; di != dj {
			return dj
		}
		return ops[i].path+ops[i].method < ops[j].path+ops[j].method
	})
	if len(ops) < 25 {
		t.Fatalf("only %d operations", len(ops))
	}
	return ops
}

// sample makes a body that the schema allows; known gives string fields a value.
func (o operation) sample(known map[string]string) any {
	if o.schema == nil {
		return nil
	}
	schema := o.schema
	if ref, ok := schema["$ref"].(string); ok {
		schema, _ = o.components[ref[strings.LastIndex(ref, "/")+1:]].(map[string]any)
	}
	out := map[string]any{}
	props, _ := schema["properties"].(map[string]any)
	for name, p := range props {
		prop, _ := p.(map[string]any)
		switch prop["type"] {
		case "string":
			if v, ok := known[name]; ok {
				out[name] = v
			} else if required, _ := schema["required"].([]any); slices.Contains(required, any(name)) {
				out[name] = "sample-text"
			}
		case "integer":
			out[name] = 60
		case "array":
			if name == "scopes" {
				out[name] = []string{"*"}
			}
		}
	}
	return out
}

// TestAbuse10_AnotherUsersThings tries every operation of the document that
// names a thing, with a thing of another user: 404, and nothing changes.
func TestAbuse10_AnotherUsersThings(t *testing.T) {
	b := newBench(t)
	root := b.admin()
	ada, bob := b.member(root, "ada"), b.member(root, "bob")
	ada.must(201, "POST", "/api/v1/sessions", map[string]any{"name": "ada-only"})
	s := ada.session("ada-only")
	tab := b.fleet.guest(s.ID).tabs[0]
	_, tokenID := ada.token("*")
	bobsToken, _ := bob.token("*")
	term, _ := bob.token(auth.ScopeSessions, auth.ScopeTerminal)
	snapshot := func() string {
		list := ada.must(200, "GET", "/api/v1/sessions", nil).body
		tokens := ada.must(200, "GET", "/api/v1/tokens", nil).body
		users := root.must(200, "GET", "/api/v1/users", nil).body
		return string(list) + string(tokens) + string(users)
	}
	before, tried := snapshot(), 0
	who := map[string]*browser{"cookie": bob, "token": bobsToken, "narrow token": term}
	for _, op := range operations(t, b) {
		for _, ref := range []map[string]string{
			{"session": string(s.ID), "tab": string(tab.ID), "id": tokenID, "user": string(ada.user.ID)},
			{"session": "ada-only", "tab": "main", "id": tokenID, "user": "ada"},
			{"session": "ada-only", "tab": "main", "id": tokenID, "user": "no-such-user"},
		} {
			tried += tryOthers(t, op, ref, who)
		}
	}
	for _, ref := range []string{string(s.ID), "ada-only"} {
		for _, br := range []*browser{bob, bobsToken, term} {
			br.refused(404, "/ws/sessions/"+ref, wire.Subprotocol)
		}
		if hops := probe(t, bob, ref); hops[len(hops)-1].Hop != "session" || hops[len(hops)-1].OK {
			t.Errorf("%+v", hops)
		}
	}
	if after := snapshot(); after != before || tried < 100 {
		t.Errorf("%d requests; before %s\nafter  %s", tried, before, after)
	}
	if ids := b.fleet.guest(s.ID).identities(); len(ids) != 0 {
		t.Errorf("ada's guest was reached: %+v", ids)
	}
	// The same operations work for the owner: the 404s were not for want of a thing.
	ada.must(200, "GET", "/api/v1/sessions/"+string(s.ID), nil)
	ada.must(200, "PATCH", "/api/v1/sessions/ada-only/tabs/main", map[string]any{"name": "x"})
	ada.must(204, "DELETE", "/api/v1/tokens/"+tokenID, nil)
	// An admin is another user too: accounts are theirs to run, sessions are not.
	root.must(404, "GET", "/api/v1/sessions/"+string(s.ID), nil)
	root.refused(404, "/ws/sessions/"+string(s.ID), wire.Subprotocol)
	var list []station.Session
	root.must(200, "GET", "/api/v1/sessions", nil).into(t, &list)
	if len(list) != 1 {
		t.Errorf("%+v", list)
	}
}

// tryOthers tries an operation that names a thing on another user's.
func tryOthers(t *testing.T, op operation, ref map[string]string, who map[string]*browser) (tried int) {
	t.Helper()
	if !strings.Contains(op.path, "{") || strings.HasPrefix(op.path, prefix+"/workstation/") {
		return 0 // what is in a home has tests of its own, with homes
	}
	path := op.path
	for k, v := range ref {
		path = strings.ReplaceAll(path, "{"+k+"}", v)
	}
	if strings.Contains(path, "{") {
		t.Fatalf("the test knows no value for %s", path)
	}
	for name, br := range who {
		want := 404
		if name == "narrow token" && strings.Contains(op.path, "/tokens/") {
			want = 403 // about its own scopes, whatever the id
		}
		r := br.do(op.method, path, op.sample(map[string]string{"scope": "terminal", "name": "stolen"}))
		if r.StatusCode != want {
			t.Errorf("%s %s by another user's %s: %d %s", op.method, path, name, r.StatusCode, r.body)
		}
		tried++
	}
	return tried
}

// probe walks the hops to a session and returns what each said.
func probe(t *testing.T, br *browser, ref string) []hop {
	t.Helper()
	conn, _, err := br.upgrade("/ws/terminal-probe?session=" + ref)
	if err != nil {
		t.Fatal(err)
	}
	var hops []hop
	for {
		_, msg, err := conn.Read(t.Context())
		if err != nil {
			return hops
		}
		var h hop
		if err := json.Unmarshal(msg, &h); err != nil {
			t.Fatal(err)
		}
		hops = append(hops, h)
	}
}
