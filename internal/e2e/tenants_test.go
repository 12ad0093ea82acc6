package e2e

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// Another user's snapshots, and restores of them, are not there: a snapshot is
// looked for among one's own.
func TestAbuse10_AnotherUsersBackups(t *testing.T) {
	s := serve(t)
	root := s.bearer(s.token)
	root.put("secret", "ada's secret")
	var backups struct{ Snapshots []struct{ ID string } }
	root.must(202, "POST", "/workstation/backups", nil, nil)
	deadline := time.After(60 * time.Second)
	for tick := time.NewTicker(100 * time.Millisecond); len(backups.Snapshots) == 0; {
		select {
		case <-tick.C:
			root.must(200, "GET", "/workstation/backups", nil, &backups)
		case <-deadline:
			t.Fatalf("no snapshot was made; the log:\n%s", s.log)
		}
	}
	id := backups.Snapshots[0].ID
	root.must(201, "POST", "/users", map[string]any{"username": "bob", "password": password}, nil)
	bob := s.client()
	bob.must(200, "POST", "/login", map[string]any{"username": "bob", "password": password}, nil)
	body := map[string]any{"path": "secret", "where": "beside"}
	for _, c := range []struct {
		method, path string
		in           any
	}{{"GET", "/files?path=.", nil}, {"GET", "/content?path=secret", nil}, {"GET", "/archive?path=.&format=tar", nil}, {"POST", "/preview", body}} {
		for _, ref := range []string{id, id[:8], "latest", "../" + id, "--help", "*"} {
			status, b := bob.do(c.method, "/workstation/backups/"+url.PathEscape(ref)+c.path, c.in)
			if status < 400 || status >= 500 || strings.Contains(string(b), "ada's secret") {
				t.Errorf("%s %s %q: %d %s", c.method, c.path, ref, status, b)
			}
			if ref == id && status != 404 {
				t.Errorf("%s %s: %d %s, not 404", c.method, c.path, status, b)
			}
		}
	}
	bob.must(404, "POST", "/workstation/backups/"+id+"/restores", body, nil)
	var list []struct{ ID string }
	if bob.must(200, "GET", "/workstation/restores", nil, &list); len(list) > 0 {
		t.Errorf("a restore of another's snapshot was begun: %+v", list)
	}
	if _, b := bob.do("GET", "/workstation/files", nil); strings.Contains(string(b), "secret") {
		t.Errorf("%s", b)
	}
	if status, b := root.do("GET", "/workstation/backups/"+id+"/content?path=secret", nil); status != 200 || string(b) != "ada's secret" {
		t.Errorf("%d %s", status, b)
	}
}
