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
	// A restore is begun before its snapshot is looked for; it must come to nothing.
	var begun struct{ ID, State string }
	bob.must(202, "POST", "/workstation/backups/"+id+"/restores", body, &begun)
	for tick := time.NewTicker(100 * time.Millisecond); begun.State == "running"; {
		select {
		case <-tick.C:
			root.must(404, "GET", "/workstation/restores/"+begun.ID, nil, nil)
			bob.must(200, "GET", "/workstation/restores/"+begun.ID, nil, &begun)
		case <-deadline:
			t.Fatal("the restore does not end")
		}
	}
	if begun.State != "failed" {
		t.Errorf("the restore is %s", begun.State)
	}
	if _, b := bob.do("GET", "/workstation/files", nil); strings.Contains(string(b), "secret") {
		t.Errorf("%s", b)
	}
	if status, b := root.do("GET", "/workstation/backups/"+id+"/content?path=secret", nil); status != 200 || string(b) != "ada's secret" {
		t.Errorf("%d %s", status, b)
	}
}
