package files

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Names that only differ in bytes that are no UTF-8 are the same in a listing.
// They come back, each with what it had.
func TestRestoreOfNamesThatLookTheSame(t *testing.T) {
	at := time.Unix(1_600_000_000, 0)
	for _, now := range []map[string]string{
		{},
		{"d/\xfe": "then 1", "d/\xff": "changed"},
		{"d/\xfe": "changed", "d/\xff": "changed as well"},
		{"d/\xff": "then 2"},
		{"d/\xfd": "another", "d/\xff": "changed"},
		{"d/\xfe": "then 2", "d/\xff": "then 1"},
		{"d/f\xff/x": "changed", "d/f\xfe/x": "in it 1"},
		{"d/single\xfd": "another", "d/single\xff": "changed"},
	} {
		b := newBench(t)
		snapshot := t.TempDir()
		was := map[string]string{"d/\xfe": "then 1", "d/\xff": "then 2", "d/f\xfe/x": "in it 1", "d/f\xff/x": "in it 2", "d/single\xff": "alone", "d/plain": "p"}
		for name, c := range was {
			b.put(name, c)
			_ = os.Chtimes(filepath.Join(b.dir, name), at, at)
		}
		_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
		_ = os.RemoveAll(filepath.Join(b.dir, "d"))
		b.put("d/plain", "changed")
		for name, c := range now {
			b.put(name, c)
		}
		before := content(t, b.dir)
		b.fetched(snapshot, "r", Plan{Path: ".", Label: "x"}, false)
		placed, err := b.Place(t.Context(), "r")
		if err != nil || placed.Failed > 0 {
			t.Fatalf("%q: %+v %v", now, placed, err)
		}
		for name, c := range was {
			if got := b.get(name); got != c {
				t.Errorf("%q: %q is %q", now, name, got)
			}
		}
		for name, c := range now {
			if _, ok := was[name]; !ok && b.get(name) != c {
				t.Errorf("%q: %q, which the snapshot has not, is %q", now, name, b.get(name))
			}
		}
		if undone, err := b.Undo(t.Context(), "r"); err != nil || undone.Failed > 0 {
			t.Fatalf("%q: %+v %v", now, undone, err)
		}
		compare(t, content(t, b.dir), before)
	}
}

// A folder that goes while its changed files are fetched does not come back with
// only those; nor does one that was not fetched whole take a file's place.
func TestRestoreIntoAFolderThatWasRemovedMeanwhile(t *testing.T) {
	for name, meanwhile := range map[string]func(b *bench){
		"removed": func(b *bench) {},
		"a file":  func(b *bench) { b.put("work/sub", "a file now") },
	} {
		b := newBench(t)
		snapshot := t.TempDir()
		b.put("work/sub/changed", "old")
		b.put("work/sub/same", "same")
		b.put("work/sub/mode", "mode")
		b.put("work/gone/in/it", "gone")
		_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
		b.put("work/sub/changed", "newer")
		_ = os.Chmod(filepath.Join(b.dir, "work/sub"), 0o700)
		_ = os.Chmod(filepath.Join(b.dir, "work/sub/mode"), 0o600)
		_ = os.RemoveAll(filepath.Join(b.dir, "work/gone"))
		b.fetched(snapshot, "r", Plan{Path: "work", Label: "x"}, false)
		_ = os.RemoveAll(filepath.Join(b.dir, "work/sub"))
		meanwhile(b)
		before := content(t, b.dir)
		placed, err := b.Place(t.Context(), "r")
		if err != nil || placed.Failed != 1 || !strings.Contains(placed.Why, "restore it again") || !strings.Contains(placed.Why, "work/sub") {
			t.Fatalf("%s: %+v %v", name, placed, err)
		}
		if _, err := os.Lstat(filepath.Join(b.dir, "work/sub/changed")); err == nil {
			t.Errorf("%s: the folder came back in part", name)
		}
		if b.get("work/gone/in/it") != "gone" {
			t.Errorf("%s: what was fetched whole is not there", name)
		}
		if undone, err := b.Undo(t.Context(), "r"); err != nil || undone.Failed > 0 {
			t.Errorf("%s: %+v %v", name, undone, err)
		}
		compare(t, content(t, b.dir), before)
	}
}

// What is in the way of a path is said before anything is fetched.
func TestCompareBelowAFile(t *testing.T) {
	b := newBench(t)
	snapshot := t.TempDir()
	b.put("a/b", "old")
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	_ = os.RemoveAll(filepath.Join(b.dir, "a"))
	b.put("a", "a file now")
	_, err := b.Compare(t.Context(), "a/b", was(t, snapshot, "a/b"), func(Diff) error { return nil })
	want(t, err, "not_a_folder")
}

// An undo that something was in the way of can be tried again, and then does only
// what it could not.
func TestUndoAgain(t *testing.T) {
	b := newBench(t)
	snapshot := t.TempDir()
	b.put("x/a", "old a")
	b.put("y/b", "old b")
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	b.put("x/a", "newer a")
	b.put("y/b", "newer b")
	b.put("y/extra", "extra")
	b.fetched(snapshot, "r", Plan{Path: ".", Label: "x"}, true)
	if placed, err := b.Place(t.Context(), "r"); err != nil || placed.Failed > 0 {
		t.Fatalf("%+v %v", placed, err)
	}
	_ = os.RemoveAll(filepath.Join(b.dir, "x"))
	b.put("x", "in the way")
	undone, err := b.Undo(t.Context(), "r")
	if err != nil || undone.Failed != 1 || undone.Placed != 2 || undone.Why == "" || b.get("y/b") != "newer b" || b.get("y/extra") != "extra" {
		t.Fatalf("%+v %v", undone, err)
	}
	if at := b.inTrash("newer a"); len(at) != 1 {
		t.Errorf("what could not be taken back is at %q", at)
	}
	if again, err := b.Undo(t.Context(), "r"); err != nil || again.Failed != 1 || again.Why != undone.Why {
		t.Errorf("%+v %v", again, err)
	}
	_ = os.Remove(filepath.Join(b.dir, "x"))
	_ = os.Remove(filepath.Join(b.dir, "y/extra"))
	b.put("y/b", "edited since")
	again, err := b.Undo(t.Context(), "r")
	if err != nil || again.Failed > 0 || again.Phase != PhaseUndone || b.get("x/a") != "newer a" || b.get("y/b") != "edited since" {
		t.Fatalf("%+v %v", again, err)
	}
	if _, err := os.Lstat(filepath.Join(b.dir, "y/extra")); err == nil {
		t.Error("what was taken back and deleted since is there again")
	}
	if last, err := b.Undo(t.Context(), "r"); err != nil || last != again {
		t.Errorf("%+v %v", last, err)
	}
}

// An undo of what was only fetched changes nothing, and keeps nothing.
func TestUndoOfWhatWasOnlyFetched(t *testing.T) {
	b := newBench(t)
	snapshot := t.TempDir()
	b.put("a", "old")
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	b.put("a", "newer")
	b.fetched(snapshot, "r", Plan{Path: "a", Label: "x"}, false)
	if undone, err := b.Undo(t.Context(), "r"); err != nil || undone.Phase != PhaseUndone || b.get("a") != "newer" {
		t.Errorf("%+v %v", undone, err)
	}
	if _, err := os.Lstat(filepath.Join(b.dir, string(stagingDir), "restore-r", treeName)); err == nil {
		t.Error("what was fetched stays")
	}
}

// What is fetched can lie in folders that are closed, as Go's module cache does.
func TestRestoreFromClosedFolders(t *testing.T) {
	for _, path := range []Path{"mod/pkg/a", "mod", "."} {
		b := newBench(t)
		snapshot := t.TempDir()
		b.put("mod/pkg/a", "old")
		b.put("mod/pkg/same", "same")
		_ = os.Chmod(b.dir+"/mod/pkg", 0o555)
		_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
		_ = os.Chmod(b.dir+"/mod/pkg", 0o755)
		b.put("mod/pkg/a", "newer")
		_ = os.Chmod(b.dir+"/mod/pkg", 0o555)
		t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+rwx", b.dir, snapshot).Run() })
		before := content(t, b.dir)
		b.fetched(snapshot, "r", Plan{Path: path, Label: "x"}, false)
		tree := filepath.Join(b.dir, string(stagingDir), "restore-r", treeName)
		if out, err := exec.Command("cp", "-a", snapshot+"/mod/pkg/same", tree+"/mod/pkg/same").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		_ = os.Chmod(tree+"/mod/pkg", 0o555)
		placed, err := b.Place(t.Context(), "r")
		if err != nil || placed.Failed > 0 || b.get("mod/pkg/a") != "old" {
			t.Fatalf("%q: %+v %v", path, placed, err)
		}
		if at := b.inTrash("newer"); len(at) != 1 || len(b.inTrash("same")) > 0 {
			t.Errorf("%q: in the trash: %q, %q", path, at, b.inTrash("same"))
		}
		if undone, err := b.Undo(t.Context(), "r"); err != nil || undone.Failed > 0 {
			t.Fatalf("%q: %+v %v", path, undone, err)
		}
		compare(t, content(t, b.dir), before)
	}
}
