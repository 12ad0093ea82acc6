package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"staithe/internal/station"
)

var undoLine = regexp.MustCompile(`--undo ([a-z0-9]{12})`)

var snapshotLine = regexp.MustCompile(`^[0-9a-f]{8} +2.*\d+ files .*added\n$`)

// What a person does who broke something: look at the moments, have a copy beside,
// have all of it back, and take that back.
func TestRestoreCommand(t *testing.T) {
	needsRestic(t)
	s := serve(t)
	l := s.laptop(t)
	l.nasty("src")
	l.run("cp", "-r", "src", ":")
	l.put("f", "good", 0o644)
	l.run("cp", "f", ":work/f")
	if out := l.run("backup"); !snapshotLine.MatchString(out) {
		t.Errorf("%q", out)
	}
	if out := l.run("backup", "--state"); !strings.Contains(out, "safe: ") || !strings.Contains(out, "place: ") {
		t.Errorf("%q", out)
	}
	good := time.Now().Format("2006-01-02 15:04:05")
	l.put("f", "broken", 0o644)
	l.run("cp", "f", ":work/f")
	l.run("cp", "f", ":work/new")

	if out := l.run("restore"); !strings.Contains(out, "files") || strings.ContainsAny(out, "\x1b") {
		t.Errorf("%q", out)
	}
	l.run("restore", "--snapshot", good, "work/f")
	names := strings.Split(strings.TrimSpace(l.run("ls", "work")), "\n")
	if len(names) != 3 || !strings.HasPrefix(names[1], "f (from ") || l.run("cat", "work/"+names[1]) != "good" || l.run("cat", "work/f") != "broken" {
		t.Errorf("%q", names)
	}
	l.refused("add --yes", "restore", "--in-place", "--snapshot", good, "work")
	out := l.run("restore", "--in-place", "--exact", "--yes", "--snapshot", good, "~/work/")
	if !strings.Contains(out, "~ work/f") || !strings.Contains(out, "- work/new") || l.run("cat", "work/f") != "good" || l.run("ls", "work") != "f\n" {
		t.Errorf("%q", out)
	}
	id := undoLine.FindStringSubmatch(out)
	if id == nil {
		t.Fatalf("no way back: %q", out)
	}
	l.run("restore", "--undo", id[1])
	if l.run("cat", "work/f") != "broken" || l.run("cat", "work/new") != "broken" || l.run("cat", "work/"+names[1]) != "good" {
		t.Error("the undo did not bring all back")
	}
	l.run("restore", "--snapshot", good, ":src") // names of any bytes
	for _, n := range strings.Split(l.run("ls"), "\n") {
		if strings.HasPrefix(n, "src (from ") {
			l.run("cp", "-r", ":"+n, "back")
		}
	}
	same(t, filepath.Join(l.dir, "src"), filepath.Join(l.dir, "back"))
	l.refused("no snapshot from before", "restore", "--snapshot", "3 years ago", "work")
	l.refused("no moment", "restore", "--snapshot", "\x1b[31mred", "work")
	l.refused("leads out of the home", "restore", "../x")
	l.refused("has no", "restore", "--snapshot", good, "nothing")
	l.refused("not empty", "restore", "--from", filepath.Join(s.data, "backups"), "--key-file", filepath.Join(s.data, "backup.key"), "--data", s.data)

	// Another's restores are nobody else's.
	bob := s.addUser("bob")
	bob.must(404, "GET", "/workstation/restores/"+id[1], nil, nil)
	bob.must(404, "POST", "/workstation/restores/"+id[1]+"/undo", nil, nil)
	var snaps struct{ Snapshots []station.Snapshot }
	s.bearer(s.token).must(200, "GET", "/workstation/backups", nil, &snaps)
	status, body := bob.do("POST", "/workstation/backups/"+snaps.Snapshots[0].ID+"/restores", map[string]any{"path": "work", "where": "beside"})
	if status == 202 { // it is looked for in bob's own repository, and is not there
		var r station.Restore
		if err := json.Unmarshal(body, &r); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the restore's end", func() bool {
			bob.must(200, "GET", "/workstation/restores/"+r.ID, nil, &r)
			return r.State != "running"
		})
		if r.State != "failed" {
			t.Errorf("%+v", r)
		}
	}
	if found, err := filepath.Glob(filepath.Join(s.data, "homes", ".restore-*")); err != nil || len(found) > 0 {
		t.Errorf("left: %v %v", found, err)
	}
	if _, err := os.Stat(filepath.Join(s.data, "server-copy", "manifest.json")); err != nil {
		t.Error(err)
	}
}
