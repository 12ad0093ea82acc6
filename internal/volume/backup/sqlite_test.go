package backup

import (
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	_ "modernc.org/sqlite"

	"staithe/internal/idmap"
	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

const writerEnv = "STAITHE_TEST_WRITES"

// writeForever commits transactions that move amounts between rows: their sum
// stays zero.
func writeForever(path, mode string) error {
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(60000)&_pragma=synchronous(off)&_pragma=cache_size(-200)")
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("PRAGMA journal_mode=" + mode + `; CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, filler BLOB);
		WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<1500) INSERT INTO t SELECT x, 0, randomblob(1500) FROM c`); err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		for range 100 {
			by := rand.IntN(1000)
			for _, n := range []int{by, -by} {
				if _, err := tx.Exec("UPDATE t SET n=n+?, filler=randomblob(1500) WHERE id=?", n, 1+rand.IntN(1500)); err != nil {
					return err
				}
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
}

// writer starts a process that writes, as the home's user.
func (b *bench) writer(path, mode string) {
	b.t.Helper()
	self := filepath.Join(b.t.TempDir(), "writer")
	if err := os.Link(b.o.Launcher, self); err != nil { // where other accounts may execute it
		in, err := os.ReadFile(b.o.Launcher)
		if err == nil {
			err = os.WriteFile(self, in, 0o755)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	cmd := exec.Command(self, path, mode)
	cmd.Env = append(os.Environ(), writerEnv+"=1")
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	if os.Geteuid() == 0 {
		id := uint32(station.SandboxUID)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
		b.t.Fatal(err)
	}
}

// Databases that are written all the time are whole in every snapshot, at their
// own paths, with their own owner and mode.
func TestDatabasesAreWhole(t *testing.T) {
	t.Parallel() // it waits more than it works
	b := newBench(t, nil)
	b.settled()
	if os.Geteuid() == 0 {
		if err := idmap.Try(b.home); err != nil {
			t.Skip("SKIPPED, databases of a home: this file system cannot be mounted idmapped: ", err)
		}
	}
	modes := []string{"DELETE", "WAL"}
	for _, m := range modes {
		b.writer(filepath.Join(b.home, m+".db"), m)
	}
	u, err := b.e.unit(b.ws)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		p, err := u.from.prepare(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range p.left {
			if strings.Contains(l.Why, "database") {
				t.Errorf("%+v", l)
			}
		}
		s, err := u.repo.Backup(t.Context(), restic.BackupRequest{Source: p.folder, Of: string(b.ws.ID), Overlays: p.overlays, Excludes: p.excludes}, nil)
		if err != nil {
			t.Fatal(err)
		}
		into := t.TempDir()
		if _, err := u.repo.Restore(t.Context(), restic.RestoreRequest{Snapshot: s.ID, Into: into}); err != nil {
			t.Fatal(err)
		}
		for _, m := range modes {
			at := filepath.Join(into, "home", m+".db")
			info, err := os.Stat(at)
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (st.Uid != station.SandboxUID || info.Mode().Perm() != 0o644) {
				t.Errorf("%s is of %d, mode %v", m, st.Uid, info.Mode())
			}
			if err := wholeDatabase(at); err != nil {
				t.Errorf("snapshot %d, %s: %v", i, m, err)
			}
		}
	}
}

func wholeDatabase(path string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer db.Close()
	var check string
	var n, sum int
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		return fmt.Errorf("integrity: %s %w", check, err)
	}
	if err := db.QueryRow("SELECT count(*), sum(n) FROM t").Scan(&n, &sum); err != nil {
		return err
	}
	if n != 1500 || sum != 0 {
		return fmt.Errorf("%d rows, sum %d", n, sum)
	}
	return nil
}

// What a person calls as SQLite calls what is beside a database is stored, and a
// change of it is one; the index of a database in use is neither.
func TestNamesBesideDatabases(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.settled()
	if os.Geteuid() == 0 {
		if err := idmap.Try(b.home); err != nil {
			t.Skip("SKIPPED, databases of a home: this file system cannot be mounted idmapped: ", err)
		}
	}
	for _, name := range []string{"trip", "log"} {
		db, err := sql.Open("sqlite", filepath.Join(b.home, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("CREATE TABLE t(x)"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(b.home, "trip-journal"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.unheard("trip-journal/day1", "rain")
	b.unheard("log-wal", "our own")
	for _, name := range []string{"trip", "log", "log-wal"} { // as their person's own
		if err := os.Chown(filepath.Join(b.home, name), station.SandboxUID, station.SandboxUID); err != nil && os.Geteuid() == 0 {
			t.Fatal(err)
		}
	}
	b.tell("trip", "log", "log-wal", "trip-journal/day1")
	b.safe()
	b.settled()
	for name, want := range map[string]string{"trip-journal/day1": "rain", "log-wal": "our own"} {
		if c := b.content(name); c != want {
			t.Errorf("%s: %q", name, c)
		}
	}
	if left := b.state().Left; slices.ContainsFunc(left, func(l station.Left) bool { return l.Rule == "log" }) {
		t.Fatalf("the database is not copied: %+v", left)
	}
	b.tell("log-shm")
	b.tell()
	if s := b.state(); s.Pending != 0 {
		t.Errorf("an index is pending: %+v", s)
	}
	b.write("ordinary-shm", "text")
	b.safe()
	if c := b.content("ordinary-shm"); c != "text" {
		t.Errorf("%q", c)
	}
}
