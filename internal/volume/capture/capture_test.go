package capture

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const writerEnv = "STAITHE_TEST_WRITES"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		if err := writeForever(path, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// rows is how many rows the writer's table has: some megabytes, so that a copy
// takes longer than a transaction.
const rows = 2000

// writeForever commits transactions that move amounts between rows: their sum
// stays zero, and each row has its amount twice.
func writeForever(path, mode string) error {
	db, err := sql.Open("sqlite", uri(path, "_pragma=busy_timeout(60000)", "_pragma=synchronous(off)", "_pragma=cache_size(-200)"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	for _, q := range []string{"PRAGMA journal_mode=" + mode, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, m INTEGER, filler BLOB)"} {
		if _, err := db.Exec(q); err != nil {
			return err
		}
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	for i := range rows {
		if _, err := tx.Exec("INSERT INTO t VALUES(?,0,0,randomblob(1500))", i); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
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
				if _, err := tx.Exec("UPDATE t SET n=n+?, m=m+?, filler=randomblob(1500) WHERE id=?", n, n, rand.IntN(rows)); err != nil {
					return err
				}
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
}

// writer starts a process that writes.
func writer(t *testing.T, path, mode string) (stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], mode)
	cmd.Env = append(os.Environ(), writerEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(stop)
	ready := make([]byte, 6)
	if _, err := io.ReadFull(out, ready); err != nil {
		t.Fatal(err)
	}
	return stop
}

// copySlowly reads as a program does that has other things to do in between.
func copySlowly(from, to string, pause time.Duration) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = io.CopyN(out, in, 256<<10)
		time.Sleep(pause) // encrypting and sending it
	}
	if cerr := out.Close(); cerr != nil || err != io.EOF {
		return fmt.Errorf("%v %v", err, cerr)
	}
	return nil
}

// whole says whether a database is one of the writer's moments.
func whole(path string) error {
	db, err := sql.Open("sqlite", uri(path, "mode=rw"))
	if err != nil {
		return err
	}
	defer db.Close()
	var check string
	var n, sum, differ int
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		return fmt.Errorf("integrity: %s %w", check, err)
	}
	if err := db.QueryRow("SELECT count(*), sum(n), sum(n<>m) FROM t").Scan(&n, &sum, &differ); err != nil {
		return err
	}
	if n != rows || sum != 0 || differ != 0 {
		return fmt.Errorf("%d rows, sum %d, %d of two minds", n, sum, differ)
	}
	return nil
}

func run(t *testing.T, r Request, home, copies string) []Line {
	t.Helper()
	var out bytes.Buffer
	if err := Run(r, home, copies, &out); err != nil {
		t.Fatal(err)
	}
	var lines []Line
	for d := json.NewDecoder(&out); ; {
		var l Line
		if err := d.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if n := len(lines); n == 0 || !lines[n-1].Done {
		t.Fatalf("%+v", lines)
	}
	return lines[:len(lines)-1]
}

var usual = Request{Millis: 60_000, One: 1 << 30, All: 1 << 30}

// Copies of a database that is written all the time are each one moment of it.
// Plain copies are torn sometimes: so this test would see it.
func TestCopiesAreWhole(t *testing.T) {
	torn := 0
	for _, mode := range []string{"DELETE", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			home, copies := t.TempDir(), t.TempDir()
			path := filepath.Join(home, "a.db")
			writer(t, path, mode)
			for i := range 20 {
				lines := run(t, usual, home, copies)
				if len(lines) != 1 || lines[0].Copy == "" {
					t.Fatalf("%+v", lines)
				}
				at := filepath.Join(t.TempDir(), "restored")
				if err := copyFile(filepath.Join(copies, lines[0].Copy), at); err != nil {
					t.Fatal(err)
				}
				if err := whole(at); err != nil {
					t.Errorf("copy %d: %v", i, err)
				}
			}
			for i := range 8 {
				if tornCopy(t, path, time.Duration(i)*time.Millisecond) {
					torn++
				}
			}
			if mode == "DELETE" { // a slow writer, as with the race detector, needs slower copies
				for pause := 40 * time.Millisecond; torn == 0 && pause < time.Second; pause *= 2 {
					if tornCopy(t, path, pause) {
						torn++
					}
				}
			}
		})
	}
	t.Logf("%d plain copies are torn", torn)
	if torn == 0 {
		t.Error("no plain copy is torn: the writer is too slow for this to say anything")
	}
}

// tornCopy copies as a program that walks does, and says whether that is no
// moment of the database.
func tornCopy(t *testing.T, path string, pause time.Duration) bool {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	for _, end := range []string{"", "-journal", "-wal"} {
		if err := copySlowly(path+end, raw+end, pause); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return whole(raw) != nil
}

// Where locks cannot be seen, a copy is made of what stands still, with its log,
// and none of what does not.
func TestForeignLocks(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		home, copies := t.TempDir(), t.TempDir()
		path := filepath.Join(home, "a.db")
		stop := writer(t, path, mode)
		r := usual
		r.Foreign = true
		for range 3 {
			l := run(t, r, home, copies)[0]
			if l.Copy == "" && l.Why == "" {
				t.Errorf("%s: %+v", mode, l)
			}
			if l.Copy != "" {
				if err := whole(filepath.Join(copies, l.Copy)); err != nil {
					t.Errorf("%s: %v", mode, err)
				}
			}
		}
		stop() // in the middle of a transaction
		before := fingerprint(path)
		l := run(t, r, home, copies)[0]
		if l.Copy == "" {
			t.Fatalf("%s: %+v", mode, l)
		}
		if err := whole(filepath.Join(copies, l.Copy)); err != nil {
			t.Errorf("%s, after its writer was killed: %v", mode, err)
		}
		if fingerprint(path) != before {
			t.Errorf("%s: the original was changed", mode)
		}
		// The same with its own locks: nobody holds them.
		l = run(t, usual, home, t.TempDir())[0]
		if l.Copy == "" {
			t.Errorf("%s: %+v", mode, l)
		}
	}
}

// What did not change is not copied again; what is gone leaves no copy; what is
// no database, too large, or somebody's link is left alone.
func TestKeptAndRefused(t *testing.T) {
	home, copies := t.TempDir(), t.TempDir()
	path := filepath.Join(home, "d", "odd ?#%\xff.db")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	stop := writer(t, path, "WAL")
	stop()
	first := run(t, usual, home, copies)[0]
	if string(first.Path) != "d/odd ?#%\xff.db" || first.Copy == "" || len(first.Beside) == 0 {
		t.Fatalf("%+v", first)
	}
	info, err := os.Stat(filepath.Join(copies, first.Copy))
	if err != nil {
		t.Fatal(err)
	}
	again := run(t, usual, home, copies)[0]
	if info2, err := os.Stat(filepath.Join(copies, again.Copy)); err != nil || !os.SameFile(info, info2) {
		t.Errorf("it was copied again: %v", err)
	}
	small := usual
	small.One = 4096
	if l := run(t, small, home, t.TempDir())[0]; l.Copy != "" || l.Why == "" {
		t.Errorf("%+v", l)
	}
	fake := append([]byte(magic), make([]byte, 1024-len(magic))...)
	for name, b := range map[string][]byte{"fake": fake, "text": bytes.Repeat([]byte("x"), 1024), "cache/x": make([]byte, 8192)} {
		at := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path, filepath.Join(home, "link.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r := usual
	r.Rules = []string{"cache/*"}
	begin := time.Now()
	lines := run(t, r, home, copies)
	if len(lines) != 2 || string(lines[0].Path) != "fake" || lines[0].Why == "" || lines[1].Rule != "cache/*" || lines[1].Files != 1 || lines[1].Bytes != 8192 {
		t.Errorf("%+v", lines)
	}
	if time.Since(begin) > 30*time.Second {
		t.Error("it waited for what is no database")
	}
	if _, err := os.Stat(filepath.Join(copies, first.Copy)); !os.IsNotExist(err) {
		t.Errorf("the copy of what is gone: %v", err)
	}
}

// The person's own rules are read, and what is none is not taken for one.
func TestOwnRules(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".config", "staithe"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "# mine\n\nbig\n videos/*.mkv \n/etc\n../x\na/../b\n**/c\n[\n[a/b]\na\\/b\ntrail/\n"
	if err := os.WriteFile(filepath.Join(home, Excludes), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "big"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := run(t, usual, home, t.TempDir())
	if len(lines) != 3 || lines[0].Rule != "big" || !lines[0].Own || lines[0].Files != 1 || lines[1].Rule != "videos/*.mkv" || lines[2].Rule != "trail" {
		t.Errorf("%+v", lines)
	}
}

func FuzzRules(f *testing.F) {
	f.Add("a/*\n#x\n", "a/b")
	f.Add("[a/b]\na\\/b\n[^/]", "a/b")
	f.Fuzz(func(t *testing.T, text, p string) {
		for _, r := range ParseRules(text) {
			if !GoodRule(r) {
				t.Errorf("%q", r)
			}
			Match(r, p)
			for part := range strings.SplitSeq("/home/"+r, "/") { // as restic takes it apart
				if _, err := filepath.Match(part, "x"); err != nil {
					t.Errorf("%q of %q: %v", part, r, err)
				}
			}
		}
	})
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		rule, path string
		want       bool
	}{{"a", "a", true}, {"a", "a/b", true}, {"a", "ab", false}, {"a/*", "a", false}, {"a/*", "a/b/c", true}, {"*/x", "a/x", true}, {"*/x", "x", false}, {"[", "[", false}} {
		if Match(c.rule, c.path) != c.want {
			t.Errorf("%s on %s", c.rule, c.path)
		}
	}
}
