package store

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"staithe/internal/station"
)

// openCopy opens a copy as a server would.
func openCopy(t *testing.T, path string) *Store {
	t.Helper()
	dir := t.TempDir()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, fileName), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fingerprint(t *testing.T, s *Store) string {
	t.Helper()
	f, err := s.Fingerprint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCopyIsWholeWhileTheDatabaseIsWritten(t *testing.T) {
	s, ctx := open(t), t.Context()
	ada := addUser(t, s, "ada", true)
	writing, stop := context.WithCancel(ctx)
	written := make(chan int)
	go func() {
		n := 0
		for ; writing.Err() == nil; n++ {
			if err := s.CreateSession(ctx, session(ada.ID, string(station.NewID())), time.Time{}); err != nil {
				t.Error(err)
				break
			}
		}
		written <- n
	}()
	path := filepath.Join(t.TempDir(), "copy.db")
	for range 5 {
		if err := s.Copy(ctx, path); err != nil {
			t.Error(err)
		}
		had, err := openCopy(t, path).Sessions(ctx, ada.ID)
		if err != nil {
			t.Error(err)
		}
		now, err := s.Sessions(ctx, ada.ID)
		if err != nil || len(had) > len(now) {
			t.Errorf("%d sessions in the copy, %d in the database, %v", len(had), len(now), err)
		}
	}
	stop()
	if n := <-written; n < 5 {
		t.Errorf("only %d writes beside 5 copies", n)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy is %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Dir(path) + "/*"); err != nil || len(left) != 1 {
		t.Errorf("beside the copy there is %v, %v", left, err)
	}
}

func TestCopyHasAllButWhatPasses(t *testing.T) {
	s, ctx := open(t), t.Context()
	ada := addUser(t, s, "ada", true)
	v := session(ada.ID, "main")
	if err := s.CreateSession(ctx, v, time.Time{}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := s.TakeLease(ctx, v.ID, station.NewID(), now, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := s.Copy(ctx, path); err != nil {
		t.Fatal(err)
	}
	c := openCopy(t, path)
	if a, b := fingerprint(t, s), fingerprint(t, c); a != b {
		t.Errorf("the copy is another: %s, %s", a, b)
	}
	if err := c.TakeLease(ctx, v.ID, station.NewID(), now, now.Add(time.Hour)); err != nil {
		t.Errorf("the session is leased in the copy: %v", err)
	}
	all, err := c.AllWorkstations(ctx)
	if err != nil || len(all) != 1 || all[0].Name != "ada" || all[0].User != ada.ID {
		t.Errorf("workstations %+v, %v", all, err)
	}
}

func TestFingerprintTellsChangesButNotWhatPasses(t *testing.T) {
	s, ctx := open(t), t.Context()
	ada := addUser(t, s, "ada", true)
	v := session(ada.ID, "main")
	if err := s.CreateSession(ctx, v, time.Time{}); err != nil {
		t.Fatal(err)
	}
	one := fingerprint(t, s)
	now := time.Now()
	if err := s.TakeLease(ctx, v.ID, station.NewID(), now, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if two := fingerprint(t, s); two != one {
		t.Error("a lease counts as a change")
	}
	addUser(t, s, "bob", false)
	if three := fingerprint(t, s); three == one {
		t.Error("a new user does not count as a change")
	}
}

func TestDatabaseIsKeptBeforeItsSchemaChanges(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	s, err := Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	if path, err := BeforeMigration(dir); err != nil || path != "" {
		t.Errorf("a new database was kept at %q, %v", path, err)
	}
	addUser(t, s, "ada", true)
	// As the first schema left it.
	for _, column := range []string{"frozen", "slept_at", "keep_awake_until", "notice_code", "notice_text", "notice_at", "lease_holder", "lease_until"} {
		if _, err := s.write.ExecContext(ctx, "ALTER TABLE sessions DROP COLUMN "+column); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.write.ExecContext(ctx, `DELETE FROM goose_db_version WHERE version_id > 1`); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(ctx, dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path, err := BeforeMigration(dir)
	if err != nil || filepath.Base(path) != "schema-1.db" {
		t.Fatalf("kept at %q, %v", path, err)
	}
	if _, err := openCopy(t, path).UserByRef(ctx, "ada"); err != nil {
		t.Error(err)
	}
}
