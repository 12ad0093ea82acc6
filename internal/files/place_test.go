package files

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// was is a folder as a snapshot would list it, by paths from the home's top.
func was(t *testing.T, dir string, top Path) iter.Seq2[Was, error] {
	t.Helper()
	kinds := map[fs.FileMode]Kind{0: KindFile, fs.ModeDir: KindFolder, fs.ModeSymlink: KindSymlink, fs.ModeNamedPipe: KindFIFO}
	return func(yield func(Was, error) bool) {
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(dir, p)
			if rel == "." || !Path(rel).within(top) {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			w := Was{Path: lossy(Path(rel)), Kind: kinds[info.Mode().Type()], Mode: uint32(info.Mode().Perm()), MTime: info.ModTime()}
			if w.Kind == KindFile {
				w.Size = info.Size()
			}
			if w.Kind == KindSymlink {
				w.Target, _ = os.Readlink(p)
			}
			if !yield(w, nil) {
				return fs.SkipAll
			}
			return nil
		})
	}
}

// fetched does what the server does: it asks in what the home differs from a
// snapshot, puts the tree where it will be placed, and writes the plan. Only what
// differs is in the tree.
func (b *bench) fetched(snapshot, id string, plan Plan, exact bool) Compared {
	b.t.Helper()
	var diffs []Diff
	done, err := b.Compare(b.t.Context(), plan.Path, was(b.t, snapshot, plan.Path), func(d Diff) error { diffs = append(diffs, d); return nil })
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := b.RestoreFolder(id)
	if err != nil {
		b.t.Fatal(err)
	}
	into := filepath.Join(b.dir, string(p))
	tree := filepath.Join(into, treeName)
	if err := os.MkdirAll(tree, 0o700); err != nil {
		b.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(into, planName))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	out := json.NewEncoder(f)
	_ = out.Encode(plan)
	copied := func(p Path) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, string(p))), 0o700); err != nil {
			b.t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(tree, string(p))); err == nil {
			return
		}
		if said, err := exec.Command("cp", "-a", filepath.Join(snapshot, string(p)), filepath.Join(tree, string(p))).CombinedOutput(); err != nil {
			b.t.Fatalf("%v: %s", err, said)
		}
	}
	if plan.Beside {
		if plan.Path.Home() {
			for _, e := range must(os.ReadDir(snapshot)) {
				copied(Path(e.Name()))
			}
		} else {
			copied(plan.Path)
		}
		return done
	}
	for _, d := range diffs {
		switch d.Change {
		case "trash":
			if exact {
				_ = out.Encode(PlanLine{Extra: &d.Path})
			}
		case "mode":
			_ = out.Encode(PlanLine{Path: &d.Path, Mode: &d.Mode})
		default:
			if d.Folder {
				_ = out.Encode(PlanLine{Folder: d.Was})
			}
			for _, p := range named(b.t, snapshot, d.Was) {
				copied(p)
			}
		}
	}
	return done
}

// named are the paths below dir that a snapshot's listing has as was: of names
// that are not UTF-8 there may be more than one.
func named(t *testing.T, dir, was string) (out []Path) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, p); lossy(Path(rel)) == was {
			out = append(out, Path(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// content is a sketch without times of folders, which a restore leaves, and
// without the server's own.
func content(t *testing.T, top string) (out []string) {
	t.Helper()
	for _, line := range sketch(t, top) {
		name, rest, _ := strings.Cut(line, " ")
		if name == ".local" || strings.HasPrefix(name, ".local/") || name == "." {
			continue
		}
		if mode, _, _ := strings.Cut(rest, " "); strings.HasPrefix(mode, "4") {
			line = name + " " + mode
		} else if _, target, ok := strings.Cut(rest, " -> "); ok && strings.HasPrefix(mode, "12") {
			line = name + " -> " + target
		}
		out = append(out, line)
	}
	return out
}

// grow puts random files, folders and links below dir. Seeds that share a number
// share much of what they make.
func grow(t *testing.T, dir string, r *rand.Rand, n int) {
	t.Helper()
	for range n {
		p := filepath.Join(dir, fmt.Sprint("d", r.IntN(3)), fmt.Sprint("e", r.IntN(3)))
		if r.IntN(4) == 0 {
			p = filepath.Dir(p)
		}
		p = filepath.Join(p, fmt.Sprint("n", r.IntN(8)))
		if os.MkdirAll(filepath.Dir(p), 0o755) != nil {
			continue // a file is in the way
		}
		_ = os.RemoveAll(p)
		at := time.Unix(1_600_000_000+r.Int64N(2), 5)
		switch r.IntN(6) {
		case 0:
			_ = os.Mkdir(p, 0o755)
		case 1:
			_ = os.Symlink(fmt.Sprint("to", r.IntN(2)), p)
		case 2:
			_ = os.MkdirAll(filepath.Join(p, "in", "it"), 0o755)
			_ = os.WriteFile(filepath.Join(p, "in", "f"), []byte("deep"), 0o600)
			_ = os.Chtimes(filepath.Join(p, "in", "f"), at, at)
		default:
			_ = os.WriteFile(p, []byte(strings.Repeat("x", r.IntN(3))), 0o644)
			_ = os.Chtimes(p, at, at)
		}
		if r.IntN(5) == 0 {
			_ = os.Chmod(p, 0o700)
		}
	}
}

// Whatever a home and a snapshot are, after an exact restore the home is the
// snapshot, and after its undo what it was.
func TestRestoreInPlaceAndUndoOfAnyTree(t *testing.T) {
	for seed := range uint64(60) {
		b := newBench(t)
		snapshot := t.TempDir()
		same := rand.New(rand.NewPCG(seed, 1))
		grow(t, b.dir, same, 12)
		if said, err := exec.Command("cp", "-a", b.dir+"/.", snapshot).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		grow(t, b.dir, rand.New(rand.NewPCG(seed, 2)), 8)
		grow(t, snapshot, rand.New(rand.NewPCG(seed, 3)), 8)
		plan := Plan{Path: ".", Label: "from then"}
		if seed%3 == 1 {
			plan.Path = "d1"
		}
		before := content(t, b.dir)
		after := content(t, snapshot)
		if plan.Path != "." {
			after = slices.DeleteFunc(slices.Clone(before), func(l string) bool { return strings.HasPrefix(l, "d1") })
			for _, l := range content(t, snapshot) {
				if strings.HasPrefix(l, "d1") {
					after = append(after, l)
				}
			}
			slices.Sort(after)
			slices.Sort(before)
		}
		if _, err := os.Lstat(filepath.Join(snapshot, string(plan.Path))); err != nil {
			continue
		}
		b.fetched(snapshot, "one", plan, true)
		placed, err := b.Place(t.Context(), "one")
		if err != nil || placed.Failed > 0 || placed.Phase != PhasePlaced {
			t.Fatalf("seed %d: %+v, %v", seed, placed, err)
		}
		got := content(t, b.dir)
		if plan.Path != "." {
			slices.Sort(got)
		}
		compare(t, got, after)
		undone, err := b.Undo(t.Context(), "one")
		if err != nil || undone.Failed > 0 || undone.Phase != PhaseUndone {
			t.Fatalf("seed %d: undo: %+v, %v", seed, undone, err)
		}
		got = content(t, b.dir)
		if plan.Path != "." {
			slices.Sort(got)
		}
		compare(t, got, before)
		if t.Failed() {
			t.Fatalf("seed %d, %+v, %+v", seed, placed, undone)
		}
	}
}

func TestRestoreWithoutExactKeepsWhatIsNew(t *testing.T) {
	b := newBench(t)
	snapshot := t.TempDir()
	b.put("work/a", "old")
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	b.put("work/a", "newer")
	b.put("work/new", "kept")
	done := b.fetched(snapshot, "r", Plan{Path: "work", Label: "from then"}, false)
	if done.Replaces != 1 || done.Trashes != 1 || done.Adds != 0 || done.Bytes != 3 {
		t.Errorf("%+v", done)
	}
	placed, err := b.Place(t.Context(), "r")
	if err != nil || b.get("work/a") != "old" || b.get("work/new") != "kept" {
		t.Fatalf("%+v %v", placed, err)
	}
	trash, err := b.ListTrash(t.Context())
	if err != nil || len(trash) != 1 || trash[0].ID != placed.Trashed || trash[0].Path != "work" {
		t.Fatalf("%+v %v", trash, err)
	}
	// It is done once: again says the same.
	again, err := b.Place(t.Context(), "r")
	if err != nil || again != placed {
		t.Errorf("%+v, %v", again, err)
	}
	// What was edited since is not lost by the undo.
	b.put("work/a", "edited")
	undone, err := b.Undo(t.Context(), "r")
	if err != nil || b.get("work/a") != "newer" || b.get(string(trashFiles)+"/"+string(undone.Trashed)+"/a") != "edited" {
		t.Errorf("%+v %v", undone, err)
	}
}

func TestRestoreBeside(t *testing.T) {
	for _, p := range []Path{"work/a", "work", "."} {
		b := newBench(t)
		snapshot := t.TempDir()
		b.put("work/a", "old")
		_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
		b.put("work/a", "newer")
		before := content(t, b.dir)
		for _, id := range []string{"r", "again"} {
			b.fetched(snapshot, id, Plan{Path: p, Beside: true, Label: "from 2026-11-29 14.03"}, false)
			placed, err := b.Place(t.Context(), id)
			if err != nil || placed.Failed > 0 {
				t.Fatalf("%+v %v", placed, err)
			}
			rel := strings.TrimPrefix(strings.TrimPrefix("work/a", string(p)), "/")
			if p.Home() {
				rel = "work/a"
			}
			if got := b.get(filepath.Join(string(placed.Into), rel)); got != "old" {
				t.Errorf("%q beside is %q", placed.Into, got)
			}
			if want := map[Path]string{"work/a": "work/a", "work": "work", ".": "home"}[p] + " (from 2026-11-29 14.03"; !strings.HasPrefix(string(placed.Into), want) {
				t.Errorf("it is at %q", placed.Into)
			}
			defer func() {
				if _, err := b.Undo(t.Context(), id); err != nil {
					t.Error(err)
				}
				if id == "r" {
					compare(t, content(t, b.dir), before)
				}
			}()
		}
	}
}

func TestUndoSaysThatTheTrashWasEmptied(t *testing.T) {
	b := newBench(t)
	snapshot := t.TempDir()
	b.put("a", "old")
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	b.put("a", "newer")
	b.fetched(snapshot, "r", Plan{Path: "a", Label: "x"}, false)
	placed, err := b.Place(t.Context(), "r")
	if err == nil {
		err = b.Purge(t.Context(), placed.Trashed)
	}
	if err != nil {
		t.Fatal(err)
	}
	// Another thing of that name is not what was replaced.
	if item, err := b.Trash(t.Context(), "a"); err != nil || item.ID != placed.Trashed {
		t.Fatalf("%+v %v", item, err)
	}
	_, err = b.Undo(t.Context(), "r")
	want(t, err, "trash_emptied")
}

func TestRestoreIntoClosedFolders(t *testing.T) {
	b := newBench(t)
	snapshot := t.TempDir()
	b.put("mod/pkg/a", "old")
	b.put("mod/pkg/b", "same")
	_ = os.Chmod(b.dir+"/mod/pkg", 0o555)
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	_ = os.Chmod(b.dir+"/mod/pkg", 0o755)
	b.put("mod/pkg/a", "newer")
	_ = os.Chmod(b.dir+"/mod/pkg", 0o555)
	t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+rwx", b.dir, snapshot).Run() })
	b.fetched(snapshot, "r", Plan{Path: ".", Label: "x"}, false)
	placed, err := b.Place(t.Context(), "r")
	if err != nil || placed.Failed > 0 || b.get("mod/pkg/a") != "old" {
		t.Fatalf("%+v %v", placed, err)
	}
	if info, err := os.Stat(b.dir + "/mod/pkg"); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("the folder is %v now, %v", info.Mode(), err)
	}
}

func TestAbuse26_SnapshotThatIsNoTreeOfAHome(t *testing.T) {
	b := newBench(t)
	b.link(b.outside, "out")
	for name, list := range map[string][]Was{
		"dots":      {{Path: "../outside/x", Kind: KindFile}},
		"inner":     {{Path: "a/../../outside/x", Kind: KindFile}},
		"absolute":  {{Path: "/etc/passwd", Kind: KindFile}},
		"twice":     {{Path: "a", Kind: KindSymlink, Target: b.outside}, {Path: "a", Kind: KindFolder}},
		"elsewhere": {{Path: "b/x", Kind: KindFile}},
	} {
		top := Path(".")
		if name == "elsewhere" {
			top = "a"
		}
		_, err := b.Compare(t.Context(), top, func(yield func(Was, error) bool) {
			for _, w := range list {
				if !yield(w, nil) {
					return
				}
			}
		}, func(Diff) error { return nil })
		if err == nil {
			t.Errorf("%s is taken", name)
			continue
		}
		want(t, err, "bad_snapshot")
	}
	// A plan and steps that a hostile session wrote hit nothing outside.
	p := must(b.RestoreFolder("evil"))
	into := filepath.Join(b.dir, string(p))
	_ = os.MkdirAll(filepath.Join(into, treeName), 0o700)
	_ = os.WriteFile(filepath.Join(into, treeName, "secret"), []byte("pwned"), 0o600)
	_ = os.WriteFile(filepath.Join(into, planName), []byte(`{"path":".","label":"../../../outside"}`), 0o600)
	_ = os.WriteFile(filepath.Join(into, stateName), []byte(`{"phase":"placing"}`), 0o600)
	var st unix.Stat_t
	_ = unix.Lstat(filepath.Join(into, treeName, "secret"), &st)
	for _, path := range []string{"out/secret", "../outside/secret"} {
		_ = os.WriteFile(filepath.Join(into, stepsName), fmt.Appendf(nil, `{"do":"in","path":%q,"from":"secret","ino":%d}`+"\n"+`{"do":"out","path":%q,"from":"taken"}`, path, st.Ino, path), 0o600)
		placed, err := b.Place(t.Context(), "evil")
		if err == nil && placed.Failed == 0 {
			t.Errorf("%q: %+v", path, placed)
		}
		b.untouched()
		_ = os.WriteFile(filepath.Join(into, stateName), []byte(`{"phase":"placing"}`), 0o600)
	}
}

func TestAbuse25_StagingOfARestoreIsALink(t *testing.T) {
	b := newBench(t)
	b.put(".local/share/staithe/x", "")
	b.link(b.outside, string(stagingDir))
	if _, err := b.RestoreFolder("r"); err == nil {
		t.Error("a folder outside is taken for staging")
	}
	b.untouched()
}

func TestRestoreIDs(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"", "..", "a/b", "A", strings.Repeat("a", 65)} {
		_, err := b.Place(t.Context(), id)
		want(t, err, "bad_id")
	}
	b.put(string(stagingDir)+"/restore-x/plan", "no plan")
	_, err := b.Place(t.Context(), "x")
	want(t, err, "restore_damaged")
	if err := b.ForgetRestore(t.Context(), "x"); err != nil || len(b.staged()) != 0 {
		t.Errorf("%v, %q", err, b.staged())
	}
	_, err = b.Place(t.Context(), "x")
	want(t, err, "no_restore")
}

// What SQLite keeps beside a newer database is not left beside an older one.
func TestRestoreOfADatabase(t *testing.T) {
	b := newBench(t)
	snapshot := t.TempDir()
	b.put("app.db", "SQLite format 3\x00 then")
	b.put("notes", "no database")
	b.put("notes-wal", "a file of that name")
	_ = exec.Command("cp", "-a", b.dir+"/.", snapshot).Run()
	_ = os.Remove(filepath.Join(snapshot, "notes-wal"))
	b.put("app.db", "SQLite format 3\x00 now, and longer")
	b.put("app.db-wal", "newer")
	b.put("notes", "changed")
	before := content(t, b.dir)
	b.fetched(snapshot, "r", Plan{Path: ".", Label: "x"}, false)
	placed, err := b.Place(t.Context(), "r")
	if err != nil || placed.Failed > 0 || b.get("app.db") != "SQLite format 3\x00 then" || b.get("notes-wal") != "a file of that name" {
		t.Fatalf("%+v %v", placed, err)
	}
	if _, err := os.Lstat(filepath.Join(b.dir, "app.db-wal")); err == nil {
		t.Error("the log of the newer database is still beside the older one")
	}
	if _, err := b.Undo(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	compare(t, content(t, b.dir), before)
}
