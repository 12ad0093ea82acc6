package files

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A database that is restored alone brings its log into the trash, and back.
func TestRestoreOfADatabaseAlone(t *testing.T) {
	for _, p := range []Path{"app.db", "work/app.db"} {
		b := newBench(t)
		snapshot := t.TempDir()
		b.put(string(p), "SQLite format 3\x00 then")
		_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
		b.put(string(p), "SQLite format 3\x00 now, and longer")
		b.put(string(p)+"-wal", "what was committed since")
		before := content(t, b.dir)
		b.fetched(snapshot, "r", Plan{Path: p, Label: "x"}, false)
		placed, err := b.Place(t.Context(), "r")
		if err != nil || placed.Failed > 0 || b.get(string(p)) != "SQLite format 3\x00 then" {
			t.Fatalf("%+v %v", placed, err)
		}
		if _, err := os.Lstat(filepath.Join(b.dir, string(p)+"-wal")); err == nil {
			t.Error("the log of the newer database is still beside the older one")
		}
		for end, want := range map[string]string{"": "SQLite format 3\x00 now, and longer", "-wal": "what was committed since"} {
			if got := b.get(string(trashFiles.Join(string(placed.Trashed)).Join(string(p) + end))); got != want {
				t.Errorf("the trash has %q as %q", got, p+Path(end))
			}
		}
		undone, err := b.Undo(t.Context(), "r")
		if err != nil || undone.Failed > 0 {
			t.Fatalf("%+v %v", undone, err)
		}
		compare(t, content(t, b.dir), before)
		if _, err := os.Lstat(filepath.Join(b.dir, string(trashInfo), string(placed.Trashed)+infoSuffix)); err == nil && undone.Trashed != placed.Trashed {
			t.Error("the trash tells of what is no longer in it")
		}
	}
}

// stopped places a restore as far as its second file, which finds no room: the
// first is replaced, and is in the restore's folder alone.
func stopped(t *testing.T, b *bench) {
	t.Helper()
	snapshot := t.TempDir()
	b.put("work/a", "old a")
	b.put("work/b", "old b")
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	b.put("work/a", "the person's a")
	b.put("work/b", "the person's b")
	b.fetched(snapshot, "r", Plan{Path: "work", Label: "x"}, false)
	p := must(b.openPlacement("r"))
	defer p.close()
	if err := p.decide(t.Context()); err != nil {
		t.Fatal(err)
	}
	tree := must(openFolder(p.dir, treeName))
	defer tree.Close()
	n := 0
	err := lines(p, stepsName, func(s step) error {
		if n++; n > 1 {
			return unix.ENOSPC
		}
		return p.do(t.Context(), tree, s)
	})
	if err == nil || b.get("work/a") != "old a" || b.get("work/b") != "the person's b" {
		t.Fatalf("%v, %q %q", err, b.get("work/a"), b.get("work/b"))
	}
}

// inTrash is where the trash has a content, from the home's top.
func (b *bench) inTrash(want string) (at []string) {
	_ = filepath.WalkDir(filepath.Join(b.dir, string(trashFiles)), func(p string, d os.DirEntry, err error) error {
		if c, err := os.ReadFile(p); err == nil && string(c) == want {
			at = append(at, strings.TrimPrefix(p, b.dir))
		}
		return err
	})
	return at
}

// What a restore replaced before it failed is not removed with it.
func TestForgettingARestoreThatFailedHalfWay(t *testing.T) {
	for _, state := range []string{"", "no state", `{"phase":"undoing"}`} {
		b := newBench(t)
		stopped(t, b)
		if state != "" {
			b.put(string(stagingDir)+"/restore-r/state", state)
		}
		if err := b.ForgetRestore(t.Context(), "r"); err != nil || len(b.staged()) > 0 {
			t.Fatalf("%v, %q", err, b.staged())
		}
		if at := b.inTrash("the person's a"); len(at) != 1 {
			t.Errorf("%q: what was replaced is at %q", state, at)
		}
		if list, err := b.ListTrash(t.Context()); err != nil || len(list) != 1 || list[0].Path == "" {
			t.Errorf("%q: %+v, %v", state, list, err)
		}
	}
}

// So it is when it gets too old to be undone.
func TestSweepOfARestoreThatFailedHalfWay(t *testing.T) {
	b := newBench(t)
	stopped(t, b)
	was := undoLife
	undoLife = -time.Hour
	t.Cleanup(func() { undoLife = was })
	if err := b.Sweep(t.Context()); err != nil || len(b.staged()) > 0 {
		t.Fatalf("%v, %q", err, b.staged())
	}
	if at := b.inTrash("the person's a"); len(at) != 1 {
		t.Errorf("what was replaced is at %q", at)
	}
}

// One that only was fetched is nobody's, and gone.
func TestForgettingWhatWasOnlyFetched(t *testing.T) {
	b := newBench(t)
	snapshot := t.TempDir()
	b.put("a", "old")
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	b.put("a", "newer")
	b.fetched(snapshot, "r", Plan{Path: "a", Label: "x"}, false)
	if err := b.ForgetRestore(t.Context(), "r"); err != nil || len(b.staged()) > 0 {
		t.Fatalf("%v, %q", err, b.staged())
	}
	if list, err := b.ListTrash(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// Cut off when its tree was in the trash already, a restore does no step again:
// what has come since is not taken away, and the undo knows what was replaced.
func TestRestoreCutOffBehindTheTrash(t *testing.T) {
	b := newBench(t)
	snapshot := t.TempDir()
	b.put("work/a", "old")
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	b.put("work/a", "newer")
	b.put("work/extra", "extra")
	before := content(t, b.dir)
	b.fetched(snapshot, "r", Plan{Path: "work", Label: "x"}, true)
	placed, err := b.Place(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	p := must(b.openPlacement("r"))
	p.now.Phase = PhasePlacing
	if err := p.keep(); err != nil {
		t.Fatal(err)
	}
	p.close()
	b.put("work/extra", "made since")
	if again, err := b.Place(t.Context(), "r"); err != nil || again != placed || b.get("work/extra") != "made since" {
		t.Fatalf("%+v, %+v, %v", again, placed, err)
	}
	_ = os.Remove(filepath.Join(b.dir, "work/extra"))
	if undone, err := b.Undo(t.Context(), "r"); err != nil || undone.Failed > 0 {
		t.Fatalf("%+v %v", undone, err)
	}
	compare(t, content(t, b.dir), before)
}

// One that failed half way can be undone.
func TestUndoOfARestoreThatFailedHalfWay(t *testing.T) {
	b := newBench(t)
	stopped(t, b)
	undone, err := b.Undo(t.Context(), "r")
	if err != nil || undone.Failed > 0 || b.get("work/a") != "the person's a" || b.get("work/b") != "the person's b" {
		t.Fatalf("%+v, %v: %q %q", undone, err, b.get("work/a"), b.get("work/b"))
	}
}
