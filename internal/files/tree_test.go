package files

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree makes a folder that has everything a home may have, and says whether the
// file system has user attributes.
func (b *bench) tree(name string) (attrs bool) {
	b.t.Helper()
	b.put(name+"/file", "content")
	b.put(name+"/sub/script", "#!/bin/sh\n")
	b.put(name+"/empty/.keep", "")
	b.link("../file", name+"/sub/rel")
	b.link("/nowhere/at all", name+"/sub/dangling")
	b.link("..", name+"/up")
	top := filepath.Join(b.dir, name)
	sparse, err := os.Create(filepath.Join(top, "sparse"))
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = sparse.WriteAt([]byte("end"), 8<<20)
	attrs = unix.Setxattr(filepath.Join(top, "file"), "user.note", []byte("a\x00b"), 0) == nil
	if err := errors.Join(err, sparse.Close(), os.Link(filepath.Join(top, "file"), filepath.Join(top, "sub/hard")),
		unix.Mkfifo(filepath.Join(top, "fifo"), 0o640), os.Chmod(filepath.Join(top, "sub/script"), 0o751),
		os.Chmod(filepath.Join(top, "empty"), 0o700)); err != nil {
		b.t.Fatal(err)
	}
	if !attrs {
		b.t.Log("no user attributes on this file system: that part is not tested")
	}
	at := time.Unix(1_600_000_000, 123456789)
	err = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		ts, _ := unix.TimeToTimespec(at)
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return attrs
}

// sketch is a tree, a line for each thing in it.
func sketch(t *testing.T, top string) []string {
	t.Helper()
	var out []string
	first := map[uint64]string{}
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, p)
		line := fmt.Sprintf("%s %o %d.%09d", rel, st.Mode, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			c, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %.20q", len(c), c)
			if st.Nlink > 1 {
				if first[st.Ino] == "" {
					first[st.Ino] = rel
				}
				line += " = " + first[st.Ino]
			}
			value := make([]byte, 64)
			if n, err := unix.Getxattr(p, "user.note", value); err == nil {
				line += fmt.Sprintf(" note %q", value[:n])
			}
		case unix.S_IFLNK:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += " -> " + target
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	t.Errorf("not the same:\n%s\nwanted:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
}

func TestCopyKeepsAll(t *testing.T) {
	b := newBench(t)
	attrs := b.tree("tree")
	wanted := sketch(t, filepath.Join(b.dir, "tree"))
	if attrs && !strings.Contains(strings.Join(wanted, "\n"), "note") {
		t.Fatal("the sketch shows no attributes")
	}
	done, err := b.Copy(t.Context(), "tree", "copy", 0)
	if err != nil || done.Folders != 3 || len(done.Skipped) != 0 {
		t.Fatalf("%+v %v", done, err)
	}
	compare(t, sketch(t, filepath.Join(b.dir, "copy")), wanted)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(b.dir, "copy/sparse"), &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("the copy of a hole takes %d bytes: %v", st.Blocks*512, err)
	}
	_, err = b.Copy(t.Context(), "tree", "copy", 0)
	want(t, err, "file_exists")
	if _, err := b.Copy(t.Context(), "tree/up", "link", 0); err != nil {
		t.Error(err)
	}
	if target, err := os.Readlink(filepath.Join(b.dir, "link")); err != nil || target != ".." {
		t.Errorf("%q %v", target, err)
	}
	if len(b.staged()) != 0 {
		t.Errorf("staging %q", b.staged())
	}
}

func TestTooDeep(t *testing.T) {
	b := newBench(t)
	dir, err := os.Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	for range maxDepth + 10 { // deeper than a path can say
		err := unix.Mkdirat(int(dir.Fd()), "a-folder-with-a-name-of-some-length", 0o755)
		sub, err2 := openFolder(dir, "a-folder-with-a-name-of-some-length")
		if dir.Close(); errors.Join(err, err2) != nil {
			t.Fatal(err, err2)
		}
		dir = sub
	}
	dir.Close()
	_, err = b.Copy(t.Context(), "a-folder-with-a-name-of-some-length", "copy", 0)
	want(t, err, "too_deep")
	if done, err := b.Archive(t.Context(), ".", TarZst, io.Discard); err != nil || len(done.Skipped) != 1 {
		t.Errorf("%d skipped: %v", len(done.Skipped), err)
	}
	if got := b.list(".", ListOptions{}); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// tar unpacks what it was, attributes and hard links too.
func TestTarKeepsAll(t *testing.T) {
	b := newBench(t)
	attrs := b.tree("tree")
	done := b.unpack("tree")
	if len(done.Skipped)+len(done.Changed) != 0 || done.Folders != 3 {
		t.Errorf("%+v", done)
	}
	got, wanted := sketch(t, filepath.Join(b.dir, "../unpacked/tree")), sketch(t, filepath.Join(b.dir, "tree"))
	if attrs && !strings.Contains(strings.Join(got, "\n"), "note") {
		t.Errorf("no attributes came out: %q", got)
	}
	compare(t, got, wanted)
}

func TestZip(t *testing.T) {
	b := newBench(t)
	b.tree("tree")
	var z bytes.Buffer
	done, err := b.Archive(t.Context(), "tree", Zip, &z)
	if err != nil || !slices.Equal(done.Skipped, []Path{"fifo"}) {
		t.Fatalf("%+v %v", done, err)
	}
	r, err := zip.NewReader(bytes.NewReader(z.Bytes()), int64(z.Len()))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range r.File {
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		c, err := io.ReadAll(rc)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		got[f.Name] = fmt.Sprintf("%v %.10s", f.Mode(), c)
	}
	for name, wanted := range map[string]string{"tree/": "drwxr-xr-x ", "tree/file": "-rw-r--r-- content", "tree/sub/hard": "-rw-r--r-- content",
		"tree/sub/script": "-rwxr-x--x #!/bin/sh\n", "tree/sub/rel": "Lrwxrwxrwx ../file", "tree/empty/": "drwx------ "} {
		if got[name] != wanted {
			t.Errorf("%s: %q", name, got[name])
		}
	}
	if _, err := b.Archive(t.Context(), "tree/file", Zip, io.Discard); err != nil {
		t.Error(err)
	}
	_, err = b.Archive(t.Context(), "none", Zip, io.Discard)
	want(t, err, "no_file")
	_, err = b.Archive(t.Context(), "tree", "rar", io.Discard)
	want(t, err, "bad_format")
}

// A file that becomes shorter while it is packed is named, and the archive stays
// one that can be read.
func TestArchiveOfAChangingFile(t *testing.T) {
	b := newBench(t)
	b.put("d/f", strings.Repeat("x", 1<<20))
	b.put("d/z", "after")
	shrink := writerFunc(func(p []byte) (int, error) {
		return len(p), os.Truncate(filepath.Join(b.dir, "d/f"), 10)
	})
	a := archiver{ctx: t.Context(), top: "d", seen: map[inode]string{}}
	finish, err := a.open(TarZst, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := b.folder("d")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	f, st, err := openRegular(dir, "f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v := visited{dir: dir, name: "f", rel: "f", st: st}
	if err := a.tar.WriteHeader(a.tarHeader(v, "d/f", "", f)); err != nil {
		t.Fatal(err)
	}
	if _, err := shrink.Write(nil); err != nil {
		t.Fatal(err)
	}
	if err := a.content(a.tar, f, v); err != nil {
		t.Error(err)
	}
	if err := finish(); err != nil || !slices.Equal(a.done.Changed, []Path{"f"}) {
		t.Errorf("%v %+v", err, a.done)
	}
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

// A reader that goes away ends the packing, and a context does.
func TestArchiveIsGivenUp(t *testing.T) {
	b := newBench(t)
	b.put("d/f", strings.Repeat("x", 1<<20))
	gone := errors.New("gone")
	if _, err := b.Archive(t.Context(), "d", Zip, writerFunc(func([]byte) (int, error) { return 0, gone })); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Archive(ctx, "d", TarZst, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestSearch(t *testing.T) {
	b := newBench(t)
	b.put("src/Main.go", "package main\n\nfunc main() {}\r\n")
	b.put("src/readme", "no end of line: main")
	b.put("src/binary", "main\x00")
	b.put("src/node_modules/m/main.js", "main")
	b.put("src/.git/main", "main")
	b.put("src/long", strings.Repeat("ä", 100_000)+"main"+strings.Repeat("ö", 1000)+"\nmain again\n")
	b.link("..", "src/loop")
	find := func(content bool, p Path, q Query) (string, Searched) {
		var got []string
		search := b.SearchNames
		if content {
			search = b.SearchContent
		}
		done, err := search(t.Context(), p, q, func(m Match) error {
			if len(m.Text) > textMax+3 || strings.Contains(m.Text, "\r") {
				t.Errorf("the line shown has %d bytes", len(m.Text))
			}
			if content && !strings.Contains(strings.ToLower(m.Text), "main") {
				t.Errorf("the line shown is %q", m.Text)
			}
			got = append(got, fmt.Sprintf("%s:%d:%d", m.Entry.Path, m.Line, m.Column))
			return nil
		})
		if err != nil {
			t.Errorf("%+v: %v", q, err)
		}
		return strings.Join(got, " "), done
	}
	for _, c := range []struct {
		content bool
		p       Path
		q       Query
		want    string
	}{
		{false, ".", Query{Text: "MAIN"}, "src/Main.go:0:0"},
		{false, "src", Query{Text: "main", Case: true}, ""},
		{false, ".", Query{Text: "main", Hidden: true, Without: []string{}}, "src/.git/main:0:0 src/Main.go:0:0 src/node_modules/m/main.js:0:0"},
		{false, ".", Query{Text: `^[a-z]+e$`, Regexp: true}, "src/readme:0:0"},
		{true, ".", Query{Text: "MAIN"}, "src/Main.go:1:9 src/Main.go:3:6 src/long:1:200001 src/long:2:1 src/readme:1:17"},
		{true, ".", Query{Text: "main", Case: true, Limit: 2}, "src/Main.go:1:9 src/Main.go:3:6"},
		{true, ".", Query{Text: `\bmain\(\)`, Regexp: true}, "src/Main.go:3:6"},
		{true, ".", Query{Text: `main()`}, "src/Main.go:3:6"},
	} {
		got, done := find(c.content, c.p, c.q)
		if got != c.want {
			t.Errorf("%+v: %s", c.q, got)
		}
		if (done.Cut == "matches") != (c.q.Limit == 2) {
			t.Errorf("%+v: cut by %q", c.q, done.Cut)
		}
	}
	if _, done := find(true, ".", Query{Text: "main"}); done.Skipped != 1 {
		t.Errorf("%+v", done)
	}
	if _, done := find(true, ".", Query{Text: "main", Time: 1}); done.Cut != "time" {
		t.Errorf("%+v", done)
	}
	for _, q := range []Query{{}, {Text: strings.Repeat("x", 2000)}, {Text: "(", Regexp: true}} {
		_, err := b.SearchNames(t.Context(), ".", q, nil)
		want(t, err, "bad_query")
	}
	stop := errors.New("stop")
	if _, err := b.SearchNames(t.Context(), ".", Query{Text: "a"}, func(Match) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// One line of 40 MB costs no 40 MB: what is longer than lineMax is passed over.
func TestSearchOfAnEndlessLine(t *testing.T) {
	b := newBench(t)
	b.put("f", strings.Repeat("x", 3*lineMax)+"needle\nneedle\n")
	var lines []int
	if _, err := b.SearchContent(t.Context(), ".", Query{Text: "needle"}, func(m Match) error { lines = append(lines, m.Line); return nil }); err != nil || !slices.Equal(lines, []int{2}) {
		t.Errorf("%v %v", lines, err)
	}
}
