package capture

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// made makes a database with a row, in a journal mode, and closes it.
func made(t *testing.T, path, mode string) {
	t.Helper()
	db, err := sql.Open("sqlite", uri(path))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("PRAGMA journal_mode=" + mode + "; CREATE TABLE t(x); INSERT INTO t VALUES(42)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func answer(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", uri(path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT x FROM t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A FIFO where SQLite would open a log keeps nothing from being captured.
func TestAbuse24_FIFOBesideADatabase(t *testing.T) {
	for _, end := range sides {
		home := t.TempDir()
		for _, name := range []string{"a.db", "b.db"} {
			made(t, filepath.Join(home, name), "DELETE")
		}
		if err := unix.Mkfifo(filepath.Join(home, "a.db"+end), 0o600); err != nil {
			t.Fatal(err)
		}
		r := usual
		r.Millis = 10_000
		begin := time.Now()
		lines := run(t, r, home, t.TempDir())
		slices.SortFunc(lines, func(a, b Line) int { return bytes.Compare(a.Path, b.Path) })
		if len(lines) != 2 || lines[0].Copy != "" || lines[0].Why == "" || lines[1].Copy == "" {
			t.Errorf("%s: %+v", end, lines)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s: it took %v", end, took)
		}
	}
}

// When the time is over it ends, and says so, however many names there are.
func TestAbuse37_CaptureEnds(t *testing.T) {
	home := t.TempDir()
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(home, fmt.Sprint(i)), make([]byte, pageMin), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := usual
	r.Millis = 0
	if lines := run(t, r, home, t.TempDir()); len(lines) != 1 || lines[0].Cut == "" {
		t.Errorf("%+v", lines)
	}
}

type full struct{ n int }

func (f *full) Write(p []byte) (int, error) { f.n++; return 0, errors.New("full") }

// A home of databases of one page each is bounded in what is remembered, copied
// and said; and nothing goes on when nobody hears it.
func TestAbuse37_ManyDatabases(t *testing.T) {
	home := t.TempDir()
	page := append([]byte(magic), make([]byte, pageMin-len(magic))...)
	for i := range databasesMax + 50 {
		if err := os.WriteFile(filepath.Join(home, fmt.Sprint(i)), page, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := usual
	r.One = 1 // none is copied: that is not what this is about
	lines := run(t, r, home, t.TempDir())
	if n := len(lines); n != databasesMax+1 || lines[n-1].Cut == "" {
		t.Errorf("%d lines", n)
	}
	begin := time.Now()
	out := &full{}
	r.One = 1 << 20 // each that is looked at takes a copy
	if err := Run(r, home, t.TempDir(), out); err == nil || out.n != 1 {
		t.Errorf("%v, %d writes", err, out.n)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it went on for %v", took)
	}
}

// A database of nothing but holes takes no room outside of its home's limits.
func TestAbuse37_HolesStayHoles(t *testing.T) {
	home, copies := t.TempDir(), t.TempDir()
	path := filepath.Join(home, "a.db")
	made(t, path, "DELETE")
	grow(t, path, 256<<20)
	if l := run(t, usual, home, copies)[0]; l.Copy == "" && l.Why == "" {
		t.Errorf("%+v", l)
	}
	used := func() (n int64) {
		names, err := os.ReadDir(copies)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			st, err := stat(filepath.Join(copies, name.Name()))
			if err != nil {
				t.Fatal(err)
			}
			n += st.Blocks * 512
		}
		return n
	}
	if n := used(); n > 1<<20 {
		t.Errorf("%d bytes on the disk", n)
	}
	to := filepath.Join(copies, "plain")
	if err := copyFile(path, to); err != nil {
		t.Fatal(err)
	}
	if n := used(); n > 1<<20 {
		t.Errorf("%d bytes on the disk with a copy", n)
	}
	a, aerr := os.ReadFile(path)
	b, berr := os.ReadFile(to)
	if aerr != nil || berr != nil || !bytes.Equal(a, b) {
		t.Errorf("%v %v, or they differ", aerr, berr)
	}
}

// grow has a database be of so many bytes, as its header says.
func grow(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pages := uint32(size / 4096)
	_, err = f.WriteAt([]byte{byte(pages >> 24), byte(pages >> 16), byte(pages >> 8), byte(pages)}, 28)
	if err = errors.Join(err, f.Truncate(size)); err != nil {
		t.Fatal(err)
	}
}

// A database with a log that nobody has open is copied without that anything comes
// into being beside it; one that is open and stands still, without that SQLite
// opens its log.
func TestReadingLeavesNothing(t *testing.T) {
	home, copies := t.TempDir(), t.TempDir()
	path := filepath.Join(home, "a.db")
	made(t, path, "WAL")
	ino, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ino)
	if _, err := unix.InotifyAddWatch(ino, home, unix.IN_CREATE|unix.IN_MODIFY|unix.IN_CLOSE_WRITE|unix.IN_DELETE|unix.IN_MOVED_TO); err != nil {
		t.Fatal(err)
	}
	silent := func(what string) {
		t.Helper()
		l := run(t, usual, home, copies)[0]
		if l.Copy == "" || answer(t, filepath.Join(copies, l.Copy)) != 42 {
			t.Errorf("%s: %+v", what, l)
		}
		if n, err := unix.Read(ino, make([]byte, 4096)); err != unix.EAGAIN {
			t.Errorf("%s: %d bytes of events, %v", what, n, err)
		}
	}
	silent("closed")
	db, err := sql.Open("sqlite", uri(path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE u(x)"); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	for _, end := range []string{"", "-wal"} {
		if err := os.Chtimes(path+end, old, old); err != nil {
			t.Fatal(err)
		}
	}
	for { // what the program did
		if _, err := unix.Read(ino, make([]byte, 4096)); err != nil {
			break
		}
	}
	silent("open and still")
}

// What has a name of SQLite's and is something else is told.
func TestSides(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "trip")
	made(t, path, "DELETE")
	for _, end := range sides {
		if err := os.WriteFile(path+end, []byte("Our journal of the trip.\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if l := run(t, usual, home, t.TempDir())[0]; len(l.Beside) != 0 || !slices.Equal(l.Other, sides) {
		t.Errorf("%+v", l)
	}
	stop := writer(t, filepath.Join(home, "w"), "WAL")
	defer stop()
	lines := run(t, usual, home, t.TempDir())
	at := slices.IndexFunc(lines, func(l Line) bool { return string(l.Path) == "w" })
	if at < 0 || len(lines[at].Other) != 0 || !slices.Equal(lines[at].Beside, []string{"-wal", "-shm"}) {
		t.Errorf("%+v", lines)
	}
}
