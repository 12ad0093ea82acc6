package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"staithe/internal/station"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), t.TempDir())
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

func hashOf(s string) [32]byte { return sha256.Sum256([]byte(s)) }

func addUser(t *testing.T, s *Store, name string, admin bool) station.User {
	t.Helper()
	u := station.User{ID: station.NewID(), Name: name, Admin: admin, CreatedAt: time.Now()}
	if err := s.CreateUser(t.Context(), u, "hash"); err != nil {
		t.Fatal(err)
	}
	return u
}

func session(user station.ID, name string) station.Session {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return station.Session{ID: station.NewID(), User: user, Name: name, Class: "standard", State: station.StateAsleep, CreatedAt: now, ActiveAt: now}
}

func TestUserHasWorkstationAndRangesAreNeverReused(t *testing.T) {
	s, ctx := open(t), t.Context()
	addUser(t, s, "root", true)
	seen := map[int]bool{}
	for range 3 {
		u := addUser(t, s, "ada", false)
		w, err := s.Workstation(ctx, u.ID)
		if err != nil || w.User != u.ID || w.UIDRange < 1 || seen[w.UIDRange] {
			t.Fatalf("workstation %+v, %v; seen %v", w, err, seen)
		}
		seen[w.UIDRange] = true
		if err := s.DeleteUser(ctx, u.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Workstation(ctx, u.ID); !errors.Is(err, station.ErrNotFound) {
			t.Errorf("workstation of a deleted user: %v", err)
		}
	}
}

func TestTakenUserNameLeavesNothingBehind(t *testing.T) {
	s := open(t)
	addUser(t, s, "ada", true)
	u := station.User{ID: station.NewID(), Name: "ada", CreatedAt: time.Now()}
	if err := s.CreateUser(t.Context(), u, ""); !errors.Is(err, station.ErrConflict) {
		t.Fatal(err)
	}
	if _, err := s.Workstation(t.Context(), u.ID); !errors.Is(err, station.ErrNotFound) {
		t.Error(err)
	}
}

func TestLastAdminStays(t *testing.T) {
	s, ctx := open(t), t.Context()
	a := addUser(t, s, "ada", true)
	yes, no := true, false
	if err := s.DeleteUser(ctx, a.ID); !errors.Is(err, station.ErrConflict) {
		t.Error(err)
	}
	if _, err := s.SetUserFlags(ctx, a.ID, &yes, nil); !errors.Is(err, station.ErrConflict) {
		t.Error(err)
	}
	if _, err := s.SetUserFlags(ctx, a.ID, nil, &no); !errors.Is(err, station.ErrConflict) {
		t.Error(err)
	}
	if u, err := s.User(ctx, a.ID); err != nil || !u.Admin || u.Disabled {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestSessions(t *testing.T) {
	s, ctx := open(t), t.Context()
	ada, bob := addUser(t, s, "ada", true), addUser(t, s, "bob", false)
	first, second := session(ada.ID, "main"), session(ada.ID, "build")
	for _, v := range []station.Session{first, second, session(bob.ID, "main")} {
		if err := s.CreateSession(ctx, v, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CreateSession(ctx, session(ada.ID, "main"), time.Time{}); !errors.Is(err, station.ErrConflict) {
		t.Errorf("a name twice: %v", err)
	}
	// A session named like another's id: the id wins, and only for its owner.
	mimic := session(ada.ID, string(first.ID))
	if err := s.CreateSession(ctx, mimic, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user station.ID
		ref  string
		want station.ID
	}{
		{ada.ID, "main", first.ID}, {ada.ID, string(first.ID), first.ID}, {bob.ID, string(first.ID), ""}, {bob.ID, "build", ""}, {ada.ID, "MAIN", ""},
	} {
		got, err := s.SessionByRef(ctx, c.user, c.ref)
		if got.ID != c.want || (c.want == "") != errors.Is(err, station.ErrNotFound) {
			t.Errorf("SessionByRef(%s, %s) = %s, %v; want %s", c.user, c.ref, got.ID, err, c.want)
		}
	}
	if err := s.RenameSession(ctx, second.ID, "main"); !errors.Is(err, station.ErrConflict) {
		t.Errorf("rename to a taken name: %v", err)
	}
	first.State, first.Reason = station.StateFailed, "why"
	first.Frozen, first.SleptAt = true, first.CreatedAt.Add(time.Second)
	if err := s.UpdateSession(ctx, first); err != nil {
		t.Fatal(err)
	}
	first.Name, first.KeepAwakeUntil = "other", first.CreatedAt.Add(time.Hour)
	first.Notice = station.Notice{Code: "oom", Text: "too much", At: first.CreatedAt}
	err := errors.Join(s.RenameSession(ctx, first.ID, first.Name), s.SetKeepAwake(ctx, first.ID, first.KeepAwakeUntil), s.SetNotice(ctx, first.ID, first.Notice))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Session(ctx, first.ID); err != nil || got != first {
		t.Errorf("got %+v, %v; want %+v", got, err, first)
	}
	list, err := s.Sessions(ctx, ada.ID)
	if err != nil || len(list) != 3 || list[0].ID != first.ID {
		t.Errorf("%+v, %v", list, err)
	}
	if all, err := s.AllSessions(ctx); err != nil || len(all) != 4 {
		t.Errorf("%+v, %v", all, err)
	}
	if err := s.DeleteSession(ctx, first.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteSession(ctx, first.ID); !errors.Is(err, station.ErrNotFound) {
		t.Error(err)
	}
	for i, err := range []error{s.UpdateSession(ctx, first), s.RenameSession(ctx, first.ID, "x"), s.SetKeepAwake(ctx, first.ID, time.Time{}),
		s.SetNotice(ctx, first.ID, station.Notice{}), s.TakeLease(ctx, first.ID, "a", time.Now(), time.Now())} {
		if !errors.Is(err, station.ErrNotFound) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// Of two servers one runs a session, until its lease has run out.
func TestLeases(t *testing.T) {
	s, ctx := open(t), t.Context()
	v := session(addUser(t, s, "ada", true).ID, "main")
	v.Holder = "a"
	now := v.CreatedAt
	if err := s.CreateSession(ctx, v, now.Add(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	var p *station.Problem
	if err := s.TakeLease(ctx, v.ID, "b", now.Add(29*time.Second), now.Add(time.Minute)); !errors.As(err, &p) || p.Code != "other_server" {
		t.Errorf("b took a's: %v", err)
	}
	if ids, err := s.RenewLeases(ctx, "a", now.Add(40*time.Second)); err != nil || len(ids) != 1 || ids[0] != v.ID {
		t.Errorf("renewed %v, %v", ids, err)
	}
	if err := s.TakeLease(ctx, v.ID, "b", now.Add(39*time.Second), now.Add(time.Minute)); !errors.Is(err, station.ErrConflict) {
		t.Errorf("b took what a renewed: %v", err)
	}
	if err := s.TakeLease(ctx, v.ID, "b", now.Add(40*time.Second), now.Add(time.Minute)); err != nil {
		t.Errorf("b did not get what had run out: %v", err)
	}
	// What a still believes changes nothing any more.
	if err := s.UpdateSession(ctx, v); !errors.As(err, &p) || p.Code != "other_server" {
		t.Errorf("a changed b's: %v", err)
	}
	if ids, err := s.RenewLeases(ctx, "a", now.Add(time.Hour)); err != nil || len(ids) != 0 {
		t.Errorf("a renewed b's: %v, %v", ids, err)
	}
	if err := errors.Join(s.DropLease(ctx, v.ID, "a"), s.DropLease(ctx, v.ID, "b")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Session(ctx, v.ID); err != nil || got.Holder != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.TakeLease(ctx, v.ID, "a", now, now.Add(time.Minute)); err != nil {
		t.Errorf("a did not get what nobody holds: %v", err)
	}
}

func TestTicketIsTakenOnce(t *testing.T) {
	s, ctx, now := open(t), t.Context(), time.Now()
	u := addUser(t, s, "ada", true)
	tk := station.Ticket{ID: station.NewID(), User: u.ID, Session: station.NewID(), Scope: station.ScopeTerminal, Role: station.RoleViewer,
		Issuer: station.Credential{Kind: station.CredentialToken, ID: station.NewID(), User: u.ID}, ExpiresAt: now.Add(station.TicketLife).UTC().Truncate(time.Microsecond)}
	if err := s.CreateTicket(ctx, tk, hashOf("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SpendTicket(ctx, hashOf("x"), now.Add(station.TicketLife)); !errors.Is(err, station.ErrGone) {
		t.Errorf("late: %v", err)
	}
	var wg sync.WaitGroup
	won := make(chan station.Ticket, 50)
	for range 50 {
		wg.Go(func() {
			if got, err := s.SpendTicket(context.Background(), hashOf("x"), now); err == nil {
				won <- got
			} else if !errors.Is(err, station.ErrGone) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d callers got the ticket", len(won))
	}
	if got := <-won; got != tk {
		t.Errorf("got %+v, want %+v", got, tk)
	}
}

func TestFirstAdminRace(t *testing.T) {
	s := open(t)
	if err := s.CreateLink(t.Context(), LinkSetup, hashOf("setup"), "", nil); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	won := make(chan string, 50)
	for range 50 {
		wg.Go(func() {
			u := station.User{ID: station.NewID(), Name: "a" + string(station.NewID()), Admin: true, CreatedAt: time.Now()}
			err := s.CreateFirstAdmin(context.Background(), hashOf("setup"), time.Now(), u, "hash")
			if err == nil {
				won <- u.Name
			} else if !errors.Is(err, station.ErrGone) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	users, err := s.Users(t.Context())
	if len(won) != 1 || err != nil || len(users) != 1 {
		t.Errorf("%d winners, users %+v, %v", len(won), users, err)
	}
}

func TestNoSecretInTheFile(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	u := addUser(t, s, "ada", true)
	secret := rand.Text()
	if err := s.CreateLogin(t.Context(), station.Login{ID: station.NewID(), User: u.ID, CreatedAt: time.Now(), ExpiresAt: time.Now()}, hashOf(secret)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil || strings.Contains(string(b), secret) {
		t.Errorf("secret in the file, or %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, fileName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.write.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), dir)
	wantProblem(t, err, "database_newer")
}

func TestEveryConnectionKeepsItsPromises(t *testing.T) {
	s := open(t)
	for query, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		if err := s.write.QueryRow(`PRAGMA ` + query).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", query, got, err, want)
		}
	}
	if _, err := s.read.Exec(`DELETE FROM users`); err == nil {
		t.Error("a reading connection writes")
	}
}

func TestUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), file)
	wantProblem(t, err, "data_unusable")
	_, err = Open(t.Context(), "/proc/staithe")
	if !errors.Is(err, station.ErrUnavailable) {
		t.Error(err)
	}
}

func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), dir)
	wantProblem(t, err, "database_damaged")
}

func TestFullDiskIsASentence(t *testing.T) {
	s := open(t)
	// SQLite answers SQLITE_FULL at this limit exactly as on a full disk.
	var pages int
	if err := s.write.QueryRow(`PRAGMA page_count`).Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if err := s.write.QueryRow(`PRAGMA max_page_count = 1`).Scan(&pages); err != nil {
		t.Fatal(err)
	}
	u := station.User{ID: station.NewID(), Name: "ada", CreatedAt: time.Now()}
	err := s.CreateUser(t.Context(), u, strings.Repeat("x", 1<<20))
	wantProblem(t, err, "disk_full")
	if !errors.Is(err, station.ErrNoSpace) {
		t.Error(err)
	}
}

func wantProblem(t *testing.T, err error, code string) {
	t.Helper()
	var p *station.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Errorf("error %v, want the problem %s", err, code)
	}
}

// Other users of the host may walk through the data directory (sandboxes need
// it so), and must find nothing to read: what was written last is in the WAL.
func TestNoFileIsReadableByOthers(t *testing.T) {
	old := syscall.Umask(0o022)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	addUser(t, s, "ada", true)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", f, info.Mode(), err)
		}
	}
}

// A user without a way in is of no use: both or neither.
func TestInvitedUserHasALink(t *testing.T) {
	s, ctx := open(t), t.Context()
	expires := time.Now().Add(time.Hour)
	ada := station.User{ID: station.NewID(), Name: "ada", CreatedAt: time.Now()}
	if err := s.CreateInvited(ctx, ada, hashOf("link"), expires); err != nil {
		t.Fatal(err)
	}
	if err := s.LinkGood(ctx, hashOf("link"), time.Now(), LinkInvite); err != nil {
		t.Error(err)
	}
	bob := station.User{ID: station.NewID(), Name: "bob", CreatedAt: time.Now()}
	if err := s.CreateInvited(ctx, bob, hashOf("link"), expires); err == nil {
		t.Error("a link for two")
	}
	if _, err := s.User(ctx, bob.ID); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("left: %v", err)
	}
}
