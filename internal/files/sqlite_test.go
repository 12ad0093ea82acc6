package files

import (
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the database that most programs keep their things in
)

// A database whose newest is only in its log looks the same as before: it is
// restored all the same, without the log, and the undo has both back.
func TestRestoreOfADatabaseThatOnlyItsLogChanged(t *testing.T) {
	b := newBench(t)
	snapshot, away := t.TempDir(), t.TempDir()
	count := func(dir string) (n int) {
		t.Helper()
		// A copy: looking must not change what is looked at.
		here := filepath.Join(t.TempDir(), "db")
		if out, err := exec.Command("cp", "-a", dir, here).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		db := must(sql.Open("sqlite", filepath.Join(here, "app.db")))
		defer db.Close()
		if err := db.QueryRow("select count(*) from t").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	do := func(db *sql.DB, queries ...string) {
		t.Helper()
		for _, q := range queries {
			if _, err := db.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := filepath.Join(b.dir, "data")
	b.put("data/other", "other")
	file := filepath.Join(dir, "app.db")
	db := must(sql.Open("sqlite", file))
	do(db, "pragma journal_mode=wal", "create table t(x)", "insert into t values (1),(2),(3)")
	if err := db.Close(); err != nil { // at rest, all is in one file
		t.Fatal(err)
	}
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	db = must(sql.Open("sqlite", file))
	db.SetMaxOpenConns(1)
	do(db, "pragma wal_autocheckpoint=0", "delete from t")
	// The program is killed: its log stays.
	_ = exec.Command("cp", "-a", dir+"/.", away).Run()
	_ = db.Close()
	_ = os.RemoveAll(dir)
	_ = exec.Command("cp", "-a", away, dir).Run()
	before := content(t, b.dir)
	if a, c := must(os.Stat(file)), must(os.Stat(filepath.Join(snapshot, "data/app.db"))); a.Size() != c.Size() || !a.ModTime().Equal(c.ModTime()) || count(dir) != 0 {
		t.Fatalf("the test does not make what it is about: %v %v", a, c)
	}
	for n, p := range []Path{".", "data", "data/app.db"} {
		id := string(rune('a' + n))
		if done := b.fetched(snapshot, id, Plan{Path: p, Label: "x"}, false); done.Replaces != 1 || done.Bytes == 0 {
			t.Errorf("%+v", done)
		}
		placed, err := b.Place(t.Context(), id)
		if err != nil || placed.Failed > 0 {
			t.Fatalf("%+v %v", placed, err)
		}
		if got := count(dir); got != 3 {
			t.Errorf("%s: there are %d rows of the snapshot's 3", p, got)
		}
		if undone, err := b.Undo(t.Context(), id); err != nil || undone.Failed > 0 {
			t.Fatalf("%+v %v", undone, err)
		}
		compare(t, content(t, b.dir), before)
		if got := count(dir); got != 0 {
			t.Errorf("%s: after the undo there are %d rows", p, got)
		}
	}
}

// A log that is the same in snapshot and home belongs to the database all the same,
// and one that a database left when it was deleted belongs to no other.
func TestRestoreOfADatabaseWithItsLog(t *testing.T) {
	b := newBench(t)
	snapshot := t.TempDir()
	b.put("app.db", "SQLite format 3\x00 then")
	b.put("app.db-wal", "the log")
	b.put("lost.db", "SQLite format 3\x00 lost")
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	b.put("app.db", "SQLite format 3\x00 now, and longer")
	_ = os.Remove(filepath.Join(b.dir, "lost.db"))
	b.put("lost.db-wal", "a newer log")
	before := content(t, b.dir)
	b.fetched(snapshot, "r", Plan{Path: ".", Label: "x"}, false)
	placed, err := b.Place(t.Context(), "r")
	if err != nil || placed.Failed > 0 || b.get("app.db") != "SQLite format 3\x00 then" || b.get("app.db-wal") != "the log" {
		t.Fatalf("%+v %v", placed, err)
	}
	if _, err := os.Lstat(filepath.Join(b.dir, "lost.db-wal")); err == nil || b.get("lost.db") != "SQLite format 3\x00 lost" {
		t.Error("the log of the deleted database is beside the older one")
	}
	if _, err := b.Undo(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	compare(t, content(t, b.dir), before)
}
