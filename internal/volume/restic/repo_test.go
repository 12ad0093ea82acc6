package restic

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/volume/jail"
)

// A folder goes in and comes out again, and each operation says what it should.
func TestRoundTrip(t *testing.T) {
	r, o := open(t)
	ctx := t.Context()
	if _, err := r.Snapshots(ctx); CodeOf(err) != CodeNoRepository {
		t.Errorf("before it is made: %v", err)
	}
	try(t, r.Init(ctx))
	try(t, r.Init(ctx)) // again is nothing
	home := t.TempDir()
	odd := "a [b]*?\\ \n\xff"
	try(t, os.MkdirAll(filepath.Join(home, "d", "e"), 0o750))
	try(t, os.WriteFile(filepath.Join(home, "d", "e", odd), []byte("odd"), 0o640))
	try(t, os.WriteFile(filepath.Join(home, "plain"), []byte("one"), 0o600))
	try(t, os.Symlink("/etc/passwd", filepath.Join(home, "link")))
	try(t, unix.Setxattr(filepath.Join(home, "plain"), "user.x", []byte("attr"), 0))
	try(t, os.Mkdir(filepath.Join(home, ".cache"), 0o700))
	try(t, os.WriteFile(filepath.Join(home, ".cache", "x"), []byte("left out"), 0o600))
	one, err := r.Backup(ctx, BackupRequest{Source: home, Of: "ws", Tags: []string{"auto"}, Excludes: []string{Pattern(".cache") + "/*"}}, nil)
	try(t, err)
	if one.New != 2 || one.Files != 2 || len(one.ID) != 8 || len(one.Unread) != 0 || one.CPU == 0 {
		t.Errorf("%+v", one)
	}
	try(t, os.WriteFile(filepath.Join(home, "plain"), []byte("two!"), 0o600))
	two, err := r.Backup(ctx, BackupRequest{Source: home, Of: "ws", Parent: one.ID}, nil)
	try(t, err)
	if two.Changed != 1 {
		t.Errorf("%+v", two)
	}
	list, err := r.Snapshots(ctx)
	try(t, err)
	if len(list) != 2 || list[0].ID != one.ID || list[1].ID != two.ID || list[0].Of != "ws" || list[0].Tags[0] != "auto" {
		t.Errorf("%+v", list)
	}
	nodes := map[string]Node{}
	try(t, r.Ls(ctx, LsRequest{Snapshot: one.ID}, func(n Node) error { nodes[n.Path] = n; return nil }))
	if n := nodes["plain"]; n.Size != 3 || n.Mode != 0o600 || !n.Exact() || nodes["link"].Type != "symlink" || nodes["d/e"].Type != "dir" {
		t.Errorf("%+v", nodes)
	}
	if _, ok := nodes[".cache/x"]; ok {
		t.Error("what is left out is in it")
	}
	var diff []Change
	try(t, r.Diff(ctx, one.ID, two.ID, false, true, func(c Change) error { diff = append(diff, c); return nil }))
	if len(diff) != 2 || diff[0] != (Change{".cache/x", false, "+"}) || diff[1] != (Change{"plain", false, "M"}) {
		t.Errorf("%+v", diff)
	}
	var b bytes.Buffer
	try(t, r.Dump(ctx, one.ID, "plain", "", &b))
	if b.String() != "one" {
		t.Errorf("dump: %q", b.String())
	}
	if err := r.Dump(ctx, one.ID, "nowhere", "", &b); CodeOf(err) != CodeNoSnapshot {
		t.Errorf("what is not there: %v", err)
	}
	if _, err := r.Stats(ctx); err != nil {
		t.Error(err)
	}
	into := t.TempDir()
	_, err = r.Restore(ctx, RestoreRequest{Snapshot: one.ID, Into: into, Paths: []string{"d/e/" + odd, "plain"}, Fresh: true})
	try(t, err)
	if c, err := os.ReadFile(filepath.Join(into, "home", "d", "e", odd)); err != nil || string(c) != "odd" {
		t.Errorf("%q %v", c, err)
	}
	v := make([]byte, 8)
	if n, err := unix.Getxattr(filepath.Join(into, "home", "plain"), "user.x", v); err != nil || string(v[:n]) != "attr" {
		t.Errorf("attribute: %q %v", v[:max(n, 0)], err)
	}
	if _, err := os.Lstat(filepath.Join(into, "home", "link")); err == nil {
		t.Error("what was not asked for is restored")
	}
	top, err := r.Tree(ctx, list[0].Tree)
	try(t, err)
	if len(top) != 1 || top[0].Name != "home" {
		t.Fatalf("%+v", top)
	}
	try(t, r.Forget(ctx, "ws", Policy{Hourly: 1}))
	try(t, r.Prune(ctx))
	try(t, r.Check(ctx, "100%"))
	if list, err = r.Snapshots(ctx); err != nil || len(list) != 1 || list[0].ID != two.ID {
		t.Errorf("%+v %v", list, err)
	}
	// And it is plain restic's.
	plain := exec.CommandContext(ctx, o.Program, "-r", o.Path, "--no-cache", "check")
	plain.Env = []string{"RESTIC_PASSWORD=" + o.Key, "TMPDIR=" + t.TempDir()}
	if out, err := plain.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// A name with any bytes is found in a tree, exactly.
func TestTreeNames(t *testing.T) {
	r, _ := open(t)
	try(t, r.Init(t.Context()))
	home := t.TempDir()
	odd := "\"q\" \xff\n"
	try(t, os.WriteFile(filepath.Join(home, odd), nil, 0o600))
	_, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "ws"}, nil)
	try(t, err)
	list, err := r.Snapshots(t.Context())
	try(t, err)
	top, err := r.Tree(t.Context(), list[0].Tree)
	try(t, err)
	nodes, err := r.Tree(t.Context(), top[0].Subtree)
	try(t, err)
	if len(nodes) != 1 || nodes[0].Name != odd {
		t.Errorf("%+v", nodes)
	}
}

// The wrong key is told as that, and the key is nowhere to be seen.
func TestWrongKey(t *testing.T) {
	r, o := open(t)
	try(t, r.Init(t.Context()))
	o.Key = "another"
	w, err := Open(o)
	try(t, err)
	if _, err := w.Snapshots(t.Context()); CodeOf(err) != CodeKey || strings.Contains(err.Error(), o.Key) {
		t.Errorf("%v", err)
	}
}

// A file over another is what the snapshot has, at the other's path; one that
// is gone by then, or behind a link, is left alone.
func TestOverlay(t *testing.T) {
	r, _ := open(t)
	try(t, r.Init(t.Context()))
	home, other := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	try(t, os.WriteFile(other, []byte("consistent"), 0o600))
	try(t, os.WriteFile(filepath.Join(home, "db"), []byte("torn"), 0o600))
	try(t, os.WriteFile(filepath.Join(home, "db-wal"), []byte("log"), 0o600))
	try(t, os.Symlink("/", filepath.Join(home, "out")))
	s, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "ws", Overlays: []jail.Overlay{
		{From: other, In: Top, To: []byte("db")}, {In: Top, To: []byte("db-wal")}, {From: other, In: Top, To: []byte("gone")},
		{From: other, In: Top, To: []byte("out/bin/restic")}, {From: other, In: Top, To: []byte("../bin/restic")}}}, nil)
	try(t, err)
	for path, want := range map[string]string{"db": "consistent", "db-wal": ""} {
		var b bytes.Buffer
		try(t, r.Dump(t.Context(), s.ID, path, "", &b))
		if b.String() != want {
			t.Errorf("%s: %q", path, b.String())
		}
	}
	if b, err := os.ReadFile(filepath.Join(home, "db")); err != nil || string(b) != "torn" {
		t.Errorf("the home itself: %q %v", b, err)
	}
}

// The lock of a run that was killed is removed at once, and not while another
// works.
func TestUnlock(t *testing.T) {
	r, o := open(t)
	try(t, r.Init(t.Context()))
	home := t.TempDir()
	try(t, unix.Mkfifo(filepath.Join(home, "blocks"), 0o600))
	dead, err := Open(o)
	try(t, err)
	locks := func() int {
		l, err := filepath.Glob(filepath.Join(o.Path, "locks", strings.Repeat("?", 64))) // whole: not those being written
		try(t, err)
		return len(l)
	}
	// Ended in the middle of a dump that nobody reads.
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	try(t, os.WriteFile(filepath.Join(home, "big"), big, 0o600))
	s, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "ws"}, nil)
	try(t, err)
	lock, err := dead.hold(false)
	try(t, err)
	out, in, err := os.Pipe()
	try(t, err)
	defer out.Close()
	defer in.Close()
	p, err := jail.Start(t.Context(), o.Launcher, jail.Spec{Root: o.Cache, Host: o.Host, Binds: r.binds, HighPID: true,
		Args: []string{insideProgram, "dump", s.ID, "/home/big"}, Env: r.env(insideRepo), Held: []*os.File{lock}}, in, os.Stderr)
	try(t, err)
	lock.Close()
	soon(t, "it locks the repository", func() bool { return locks() == 1 })
	if err := r.Unlock(t.Context()); CodeOf(err) != CodeBusy {
		t.Errorf("while another works: %v", err)
	}
	try(t, unix.Kill(p.PID(), unix.SIGKILL))
	if p.Wait() == nil {
		t.Error("it was killed, and ends well")
	}
	if locks() != 1 {
		t.Fatal("it left no lock behind")
	}
	if err := r.Prune(t.Context()); CodeOf(err) != CodeLocked {
		t.Errorf("locked by the dead: %v", err)
	}
	begin := time.Now()
	try(t, r.Unlock(t.Context()))
	if n := locks(); n != 0 || time.Since(begin) > 20*time.Second {
		t.Errorf("%d locks are left after %v", n, time.Since(begin))
	}
	try(t, r.Prune(t.Context()))
}

// A tree that is too large for memory ends the run, and keeps nothing more.
func TestTreeIsBounded(t *testing.T) {
	full := 0
	b := bounded{full: func() { full++ }}
	part := make([]byte, treeMax/4)
	for range 8 {
		if n, err := b.Write(part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if full != 4 || b.Len() != treeMax {
		t.Errorf("%d times full, %d bytes", full, b.Len())
	}
}

// What locks nothing is in nobody's way, and the dead's lock can be removed while
// it works.
func TestUnlockWhileSomebodyOnlyLooks(t *testing.T) {
	r, o := open(t)
	try(t, r.Init(t.Context()))
	home := t.TempDir()
	try(t, os.WriteFile(filepath.Join(home, "big"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16), 0o600))
	s, err := r.Backup(t.Context(), BackupRequest{Source: home, Of: "ws"}, nil)
	try(t, err)
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := r.run(t.Context(), job{args: []string{"dump", s.ID, "/home/big"}, noLock: true, out: in})
		in.CloseWithError(err)
		ended <- err
	}()
	_, err = out.Read(make([]byte, 1)) // it works, and waits for who reads
	try(t, err)
	try(t, r.Unlock(t.Context()))
	if locks, err := filepath.Glob(filepath.Join(o.Path, "locks", "*")); err != nil || len(locks) != 0 {
		t.Errorf("%q %v", locks, err)
	}
	n, err := io.Copy(io.Discard, out)
	if err != nil || n != 1<<20-1 {
		t.Errorf("%d bytes, %v", n, err)
	}
	try(t, <-ended)
}
