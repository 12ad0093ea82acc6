package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestListSortsAndPages(t *testing.T) {
	b := newBench(t)
	for i, name := range []string{"b", "A", "c", ".hidden", "a2"} {
		b.put(name, strings.Repeat("x", 10-i))
		at := time.Unix(1_700_000_000+int64(i), 0)
		if err := os.Chtimes(filepath.Join(b.dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	b.put("z/f", "")
	for _, c := range []struct {
		o    ListOptions
		want string
	}{
		{ListOptions{}, "A a2 b c z"},
		{ListOptions{Descending: true}, "z c b a2 A"},
		{ListOptions{Hidden: true}, ".hidden A a2 b c z"},
		{ListOptions{FoldersFirst: true}, "z A a2 b c"},
		{ListOptions{Sort: BySize}, "z a2 c A b"},
		{ListOptions{Sort: BySize, Descending: true, FoldersFirst: true}, "z b A c a2"},
		{ListOptions{Sort: ByTime}, "b A c a2 z"},
	} {
		if got := strings.Join(b.list(".", c.o), " "); got != c.want {
			t.Errorf("%+v: %s", c.o, got)
		}
		var paged []string
		for c.o.Limit = 2; ; {
			l, err := b.List(t.Context(), ".", c.o)
			if err != nil || len(l.Entries) > 2 || l.Total != len(strings.Fields(c.want)) {
				t.Fatalf("%+v %v", l, err)
			}
			for _, e := range l.Entries {
				paged = append(paged, string(e.Name))
			}
			if c.o.Cursor = l.Next; l.Next == "" {
				break
			}
		}
		if got := strings.Join(paged, " "); got != c.want {
			t.Errorf("%+v in pages: %s", c.o, got)
		}
	}
	for code, o := range map[string]ListOptions{"bad_sort": {Sort: "colour"}, "bad_limit": {Limit: -1}, "bad_cursor": {Cursor: "e30"}} {
		_, err := b.List(t.Context(), ".", o)
		want(t, err, code)
	}
	_, err := b.List(t.Context(), "none", ListOptions{})
	want(t, err, "no_file")
	_, err = b.List(t.Context(), "b", ListOptions{})
	want(t, err, "not_a_folder")
}

// What comes and goes between two pages neither hides nor doubles the others.
func TestListPagesOfAChangingFolder(t *testing.T) {
	b := newBench(t)
	for i := range 10 {
		b.put(fmt.Sprintf("f%02d", i*2), "")
	}
	first, err := b.List(t.Context(), ".", ListOptions{Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(b.dir, "f08")); err != nil { // where the page ended
		t.Fatal(err)
	}
	b.put("f01", "")
	b.put("f11", "")
	rest := b.list(".", ListOptions{Limit: 10, Cursor: first.Next})
	if got := strings.Join(rest, " "); got != "f10 f11 f12 f14 f16 f18" {
		t.Error(got)
	}
}

func TestListOfAHugeFolder(t *testing.T) {
	b := newBench(t)
	const n = 20_000
	dir := filepath.Join(b.dir, "huge")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b.put("one", "")
	for i := range n { // names of one file: quicker than files
		if err := os.Link(filepath.Join(b.dir, "one"), fmt.Sprintf("%s/%05d", dir, (i*7919)%n)); err != nil {
			t.Fatal(err)
		}
	}
	seen, o := 0, ListOptions{Limit: 10_000}
	for {
		begin := time.Now()
		l, err := b.List(t.Context(), "huge", o)
		if err != nil || l.Total != n {
			t.Fatalf("%d %v", l.Total, err)
		}
		t.Logf("%d entries in %v", len(l.Entries), time.Since(begin))
		for _, e := range l.Entries {
			if string(e.Name) != fmt.Sprintf("%05d", seen) {
				t.Fatalf("%s is at %d", e.Name, seen)
			}
			seen++
		}
		if o.Cursor = l.Next; l.Next == "" {
			break
		}
	}
	if seen != n {
		t.Errorf("%d seen", seen)
	}
	if err := b.Delete(t.Context(), "huge"); err != nil || len(b.staged()) != 0 {
		t.Errorf("%v, staging %q", err, b.staged())
	}
}

func BenchmarkList10000(b *testing.B) {
	dir := b.TempDir()
	for i := range 10_000 {
		if err := os.WriteFile(fmt.Sprintf("%s/file-%d.txt", dir, i), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	h, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	for b.Loop() {
		if l, err := h.List(context.Background(), ".", ListOptions{Limit: 10_000}); err != nil || len(l.Entries) != 10_000 {
			b.Fatal(len(l.Entries), err)
		}
	}
}

// Absolute links into the home, as programs in a session make them, are followed.
func TestAbsoluteLinksIntoTheHome(t *testing.T) {
	b := newBench(t)
	b.put("project/f", "content")
	b.link(inside+"/project", "abs")
	b.link(inside+"/project/f", "file")
	b.link(inside, "deep/home")
	b.link("/home/developer/project", "neighbour")
	for _, p := range []Path{"abs/f", "file", "deep/home/abs/f", "deep/home/file"} {
		if c, err := b.read(p); err != nil || c != "content" {
			t.Errorf("%s: %q %v", p, c, err)
		}
	}
	_, err := b.read("neighbour/f")
	want(t, err, "outside_home")
	if err := b.write("file", "new"); err != nil || b.get("project/f") != "new" {
		t.Errorf("%v", err)
	}
	if info, err := os.Lstat(filepath.Join(b.dir, "file")); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link was replaced: %v %v", info, err)
	}
	e, err := b.Stat(t.Context(), "abs")
	if err != nil || e.Kind != KindSymlink || e.LeadsTo != KindFolder || string(e.Target) != inside+"/project" {
		t.Errorf("%+v %v", e, err)
	}
	if got := b.list("abs", ListOptions{}); !slices.Equal(got, []string{"f"}) {
		t.Errorf("%q", got)
	}
}

func TestReadServesRanges(t *testing.T) {
	b := newBench(t)
	b.put("f", "0123456789")
	r, err := b.Read(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("Range", "bytes=2-4")
	req.Header.Set("If-Range", r.Entry.ETag)
	w := httptest.NewRecorder()
	w.Header().Set("ETag", r.Entry.ETag)
	http.ServeContent(w, req, "", r.Entry.MTime, r)
	if w.Code != http.StatusPartialContent || w.Body.String() != "234" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// Each content has another ETag, also when size and time are made the same.
func TestETagIsStrong(t *testing.T) {
	b := newBench(t)
	seen := map[string]int{}
	at := time.Unix(1_700_000_000, 0)
	for i := range 20 {
		b.put("f", fmt.Sprintf("%02d", i))
		if err := os.Chtimes(filepath.Join(b.dir, "f"), at, at); err != nil {
			t.Fatal(err)
		}
		e, err := b.Stat(t.Context(), "f")
		if err != nil {
			t.Fatal(err)
		}
		if was, ok := seen[e.ETag]; ok {
			t.Fatalf("contents %d and %d have one ETag", was, i)
		}
		seen[e.ETag] = i
	}
}

// A file that was changed just now is looked at again when the coarsest clock has
// gone on: what is written in between would have the same time.
func TestETagWaitsForTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		looks := 0
		st, err := settled(t.Context(), func() (st unix.Stat_t, err error) {
			looks++
			st.Mode = unix.S_IFREG
			st.Size = int64(looks)
			st.Ctim, err = unix.TimeToTimespec(begin)
			return st, err
		})
		if waited := time.Since(begin); err != nil || st.Size != 2 || waited < settling || waited > 2*settling {
			t.Errorf("%d looks in %v: %v", st.Size, waited, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = settled(ctx, func() (st unix.Stat_t, err error) {
			st.Mode = unix.S_IFREG
			st.Ctim, err = unix.TimeToTimespec(time.Now())
			return st, err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

func TestMkdirMoveDelete(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	_, err := b.Mkdir(ctx, "a/b/c", 0o700, false)
	want(t, err, "no_file")
	e, err := b.Mkdir(ctx, "a/b/c", 0o700, true)
	if err != nil || e.Kind != KindFolder || e.Mode != 0o700 {
		t.Errorf("%+v %v", e, err)
	}
	_, err = b.Mkdir(ctx, "a/b/c", 0, true)
	want(t, err, "")
	_, err = b.Mkdir(ctx, "a/b", 0, false)
	want(t, err, "file_exists")
	b.put("f", "f")
	b.put("g", "g")
	_, err = b.Move(ctx, "f", "g", false)
	want(t, err, "file_exists")
	m, err := b.Move(ctx, "f", "g", true)
	if err != nil || m.Trashed == "" || b.get("g") != "f" {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := b.Restore(ctx, m.Trashed, "old"); err != nil || b.get("old") != "g" {
		t.Errorf("%v", err)
	}
	for _, to := range []Path{"a/b/x", "a/b/c/d"} {
		_, err = b.Move(ctx, "a", to, false)
		want(t, err, "into_itself")
		_, err = b.Copy(ctx, "a", to, 0)
		want(t, err, "into_itself")
	}
	_, err = b.Move(ctx, "a/b", "a", true)
	want(t, err, "into_itself")
	_, err = b.Move(ctx, ".", "x", false)
	want(t, err, "is_home")
	want(t, b.Delete(ctx, "."), "is_home")
	_, err = b.Move(ctx, "none", "x", false)
	want(t, err, "no_file")
	want(t, b.Delete(ctx, "none"), "no_file")
	b.link("a", "l")
	if err := b.Delete(ctx, "l"); err != nil {
		t.Error(err)
	}
	if err := b.Delete(ctx, "a"); err != nil {
		t.Error(err)
	}
	if got := strings.Join(b.list(".", ListOptions{}), " "); got != "g old" {
		t.Error(got)
	}
}

// Folders that are closed to their owner, as Go's module cache has them, can be
// moved, thrown away and deleted.
func TestClosedFolders(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	closed := func(name string) {
		b.put(name+"/sub/f", "x")
		for _, d := range []string{name + "/sub", name} {
			if err := os.Chmod(filepath.Join(b.dir, d), 0o555); err != nil {
				t.Fatal(err)
			}
		}
	}
	closed("mod")
	if _, err := b.Mkdir(ctx, "to", 0, false); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Move(ctx, "mod", "to/mod", false); err != nil {
		t.Error(err)
	}
	if e, err := b.Stat(ctx, "to/mod"); err != nil || e.Mode != 0o555 {
		t.Errorf("%+v %v", e, err)
	}
	if err := b.Delete(ctx, "to/mod"); err != nil || len(b.staged()) != 0 {
		t.Errorf("%v, staging %q", err, b.staged())
	}
	closed("mod")
	item, err := b.Trash(ctx, "mod")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Purge(ctx, item.ID); err != nil {
		t.Error(err)
	}
	if left, err := b.ListTrash(ctx); err != nil || len(left) != 0 {
		t.Errorf("%+v %v", left, err)
	}
}

func TestChmodAndSymlink(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.put("f", "x")
	e, err := b.Chmod(ctx, "f", 0o640)
	if err != nil || e.Mode != 0o640 {
		t.Errorf("%+v %v", e, err)
	}
	if _, err := b.Chmod(ctx, "f", 0); err != nil {
		t.Error(err)
	}
	if e, err = b.Chmod(ctx, "f", 0o600); err != nil || e.Mode != 0o600 { // it cannot be opened
		t.Errorf("%+v %v", e, err)
	}
	_, err = b.Chmod(ctx, "f", 0o10000)
	want(t, err, "bad_mode")
	if e, err = b.Symlink(ctx, "f", "l"); err != nil || e.LeadsTo != KindFile {
		t.Errorf("%+v %v", e, err)
	}
	_, err = b.Symlink(ctx, "f", "l")
	want(t, err, "file_exists")
	_, err = b.Symlink(ctx, "", "m")
	want(t, err, "bad_target")
	_, err = b.Chmod(ctx, "l", 0o777)
	want(t, err, "no_mode")
	if e, err := b.Symlink(ctx, "../../etc/passwd", "out"); err != nil || e.LeadsTo != "" {
		t.Errorf("%+v %v", e, err)
	}
}

func TestTrashAndUndo(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	for _, name := range []string{"a/f", "b/f", "100%/x=y/f"} {
		b.put(name, name)
	}
	var ids []Path
	for _, p := range []Path{"a/f", "b/f", "100%/x=y/f"} {
		item, err := b.Trash(ctx, p)
		if err != nil || item.Path != p {
			t.Fatalf("%+v %v", item, err)
		}
		ids = append(ids, item.ID)
	}
	if info := b.get(string(trashInfo) + "/f.trashinfo"); !strings.HasPrefix(info, "[Trash Info]\nPath=/home/dev/a/f\nDeletionDate=20") {
		t.Errorf("%q", info)
	}
	list, err := b.ListTrash(ctx)
	if err != nil || len(list) != 3 || list[0].Entry.Kind != KindFile {
		t.Errorf("%+v %v", list, err)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "100%")); err != nil { // the way back is made anew
		t.Fatal(err)
	}
	for i, p := range []Path{"a/f", "b/f", "100%/x=y/f"} {
		if e, err := b.Restore(ctx, ids[i], ""); err != nil || e.Path != p || b.get(string(p)) != string(p) {
			t.Errorf("%+v %v", e, err)
		}
	}
	item, err := b.Trash(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	b.put("a/f", "newer")
	_, err = b.Restore(ctx, item.ID, "")
	want(t, err, "file_exists")
	if b.get("a/f") != "newer" {
		t.Error("an undo replaced what is newer")
	}
	_, err = b.Restore(ctx, "none", "")
	want(t, err, "no_file")
	for _, p := range []Path{".local", trashFiles, trashFiles.Join("a")} {
		_, err = b.Trash(ctx, p)
		want(t, err, "is_trash")
	}
	if left, err := os.ReadDir(filepath.Join(b.dir, string(trashInfo))); err != nil || len(left) != 1 {
		t.Errorf("%v %v", left, err)
	}
}

func TestSweep(t *testing.T) {
	b := newBench(t)
	if err := b.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	b.put(string(stagingDir)+"/half/f", "x")
	b.put(string(stagingDir)+"/file", "x")
	b.link("../../../..", string(stagingDir)+"/l")
	if err := b.Sweep(t.Context()); err != nil || len(b.staged()) != 0 {
		t.Errorf("%v, staging %q", err, b.staged())
	}
	// What is begun after it looked is not its own.
	b.put(string(stagingDir)+"/left/f", "x")
	sweep, err := b.Left()
	b.put(string(stagingDir)+"/new/f", "x")
	if err := errors.Join(err, sweep(t.Context())); err != nil || strings.Join(b.staged(), " ") != "new" {
		t.Errorf("%v, staging %q", err, b.staged())
	}
	b.untouched()
}

func TestPermissionsAreSaid(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("permissions do not bind root; TestRootless runs this in an account")
	}
	b := newBench(t)
	b.put("d/f", "x")
	b.put("f", "x")
	for name, mode := range map[string]os.FileMode{"d": 0o500, "f": 0o400} {
		if err := os.Chmod(filepath.Join(b.dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(b.dir, "d"), 0o700) })
	want(t, b.write("d/g", "x"), "not_permitted")
	want(t, b.write("f", "new"), "not_permitted")
	want(t, b.Delete(t.Context(), "d/f"), "not_permitted")
	if err := os.Chmod(filepath.Join(b.dir, "f"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := b.read("f")
	want(t, err, "not_permitted")
	done, err := b.Archive(t.Context(), ".", TarZst, io.Discard)
	if err != nil || !slices.Contains(done.Skipped, "f") {
		t.Errorf("%+v %v", done, err)
	}
}
