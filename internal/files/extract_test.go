package files

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

var longAgo = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

// tarOf makes an archive of headers; a file's content is its Linkname.
func tarOf(t testing.TB, list ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range list {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		h.ModTime = longAgo
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content}
}

var roomy = ExtractOptions{Format: Tar, Bytes: 1 << 20, Files: 1000}

func (b *bench) extract(p Path, archive []byte, o ExtractOptions) (Extracted, error) {
	return b.Extract(b.t.Context(), p, bytes.NewReader(archive), o)
}

func TestExtract(t *testing.T) {
	b := newBench(t)
	b.put("d/old", "mine")
	b.put("was-file", "mine")
	archive := tarOf(t, file("./new", "1"), file("d/old", "theirs"), file("d/deep/er/f", "2"),
		tar.Header{Typeflag: tar.TypeDir, Name: "d/deep/", Mode: 0o750}, tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "/etc/passwd"},
		tar.Header{Typeflag: tar.TypeLink, Name: "hard", Linkname: "new"}, file("was-file/below", "x"),
		tar.Header{Typeflag: tar.TypeReg, Name: "run", Linkname: "x", Mode: 0o6755}, file("twice", "a"), file("twice", "b"),
		tar.Header{Typeflag: tar.TypeFifo, Name: "fifo"}, file(".local/share/staithe/uploads/x", "x"), file("n\n\xff", "3"))
	got, err := b.extract(".", archive, roomy)
	if err != nil || got.Kept != 2 || got.Skipped != 2 || got.Folders != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	for name, content := range map[string]string{"new": "1", "d/old": "mine", "d/deep/er/f": "2", "was-file": "mine", "hard": "1", "twice": "b", "n\n\xff": "3"} {
		if got := b.get(name); got != content {
			t.Errorf("%q: %q", name, got)
		}
	}
	if target, err := os.Readlink(filepath.Join(b.dir, "link")); err != nil || target != "/etc/passwd" {
		t.Error(target, err)
	}
	for name, mode := range map[string]fs.FileMode{"run": 0o755, "d/deep": fs.ModeDir | 0o750, "new": 0o644} {
		info, err := os.Lstat(filepath.Join(b.dir, name))
		if err != nil || info.Mode() != mode || !info.ModTime().Equal(longAgo) {
			t.Errorf("%s: %v %v %v", name, info.Mode(), info.ModTime(), err)
		}
	}
	if left := b.staged(); len(left) != 0 {
		t.Errorf("left in staging: %q", left)
	}
	// Once more: nothing is new.
	if got, err = b.extract(".", archive, roomy); err != nil || got.Files != 0 || got.Folders != 0 {
		t.Errorf("again: %+v %v", got, err)
	}
	// With leave to replace, what is there goes to the trash.
	o := roomy
	o.Replace = true
	if _, err = b.extract("d", tarOf(t, file("old", "theirs")), o); err != nil || b.get("d/old") != "theirs" {
		t.Errorf("replaced: %q %v", b.get("d/old"), err)
	}
	if list, err := b.ListTrash(t.Context()); err != nil || len(list) != 1 || list[0].Path != "d/old" {
		t.Errorf("%+v %v", list, err)
	}
}

// What Archive packs, Extract unpacks.
func TestExtractWhatWasArchived(t *testing.T) {
	b := newBench(t)
	b.put("a/b/c", "content")
	b.put("a/run", "#!")
	b.link("b/c", "a/l")
	if err := errors.Join(os.Chmod(filepath.Join(b.dir, "a/run"), 0o700), unix.Setxattr(filepath.Join(b.dir, "a/run"), "user.x", []byte("y"), 0)); err != nil {
		t.Fatal(err)
	}
	for _, format := range []Format{TarZst, Zip} {
		var packed bytes.Buffer
		if _, err := b.Archive(t.Context(), "a", format, &packed); err != nil {
			t.Fatal(err)
		}
		o := roomy
		o.Format, o.Strip = format, true
		to := "into-" + string(format)
		if got, err := b.extract(Path(to), packed.Bytes(), o); err != nil || got.Files != 3 || got.Folders != 1 {
			t.Fatalf("%s: %+v %v", format, got, err)
		}
		if b.get(to+"/b/c") != "content" || b.get(to+"/l") != "content" {
			t.Errorf("%s: not all came back", format)
		}
		if info, err := os.Stat(filepath.Join(b.dir, to, "run")); err != nil || info.Mode() != 0o700 {
			t.Errorf("%s: %v %v", format, info, err)
		}
		v := make([]byte, 8)
		if n, err := unix.Getxattr(filepath.Join(b.dir, to, "run"), "user.x", v); format == TarZst && (err != nil || string(v[:n]) != "y") {
			t.Errorf("attribute: %q %v", v[:max(n, 0)], err)
		}
	}
}

// Hostile archives are refused whole, leave nothing, and touch nothing outside.
func TestAbuse26_HostileArchives(t *testing.T) {
	long := strings.Repeat("a/", maxDepth+1) + "f"
	for name, list := range map[string][]tar.Header{
		"dot dot":              {file("../outside/pwned", "x")},
		"dot dot within":       {file("a/../../outside/pwned", "x")},
		"absolute":             {file("/tmp/pwned", "x")},
		"through a link":       {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../outside"}, file("l/pwned", "x")},
		"through a link in it": {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "."}, file("l/pwned", "x")},
		"folder over a link":   {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../outside"}, {Typeflag: tar.TypeDir, Name: "l"}},
		"hard link out":        {{Typeflag: tar.TypeLink, Name: "h", Linkname: "../outside/secret"}},
		"hard link absolute":   {{Typeflag: tar.TypeLink, Name: "h", Linkname: "/etc/passwd"}},
		"hard link to a link":  {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../outside/secret"}, {Typeflag: tar.TypeLink, Name: "h", Linkname: "l"}},
		"hard link to home":    {{Typeflag: tar.TypeLink, Name: "h", Linkname: "mine"}},
		"device":               {{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8}},
		"char device":          {{Typeflag: tar.TypeChar, Name: "mem", Devmajor: 1, Devminor: 1}},
		"file and folder":      {file("a/b", "x"), file("a", "x")},
		"below a file":         {file("a", "x"), file("a/b", "x")},
		"too deep":             {file(long, "x")},
		"good, then bad":       {file("good", "x"), file("../outside/pwned", "x")},
	} {
		b := newBench(t)
		b.put("mine", "mine")
		got, err := b.extract(".", tarOf(t, list...), roomy)
		if p, ok := errors.AsType[*station.Problem](err); !ok || !errors.Is(p, station.ErrInvalid) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		b.untouched()
		if names := b.list(".", ListOptions{}); len(names) != 1 || len(b.staged()) != 0 {
			t.Errorf("%s left %q %q", name, names, b.staged())
		}
	}
}

// A link that is in the home already leads no archive out of it either.
func TestAbuse26_LinksInTheHome(t *testing.T) {
	b := newBench(t)
	b.link("../outside", "l")
	got, err := b.extract(".", tarOf(t, file("l/pwned", "x"), file("f", "x")), roomy)
	if err != nil || got.Kept != 1 || b.get("f") != "x" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := b.extract("l/sub", tarOf(t, file("pwned", "x")), roomy); err == nil {
		t.Error("unpacked through a link out of the home")
	}
	b.untouched()
}

// Bombs stop at the bound, and give the disk back.
func TestAbuse26_Bombs(t *testing.T) {
	o := ExtractOptions{Bytes: 1 << 20, Files: 100}
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	w := tar.NewWriter(z)
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Size: 64 << 20, Mode: 0o644})
	_, _ = io.CopyN(w, zeros{}, 64<<20)
	z.Close()
	var many []tar.Header
	for i := range 200 {
		many = append(many, file(fmt.Sprint(i), ""))
	}
	var zipped bytes.Buffer
	zw := zip.NewWriter(&zipped)
	f, _ := zw.Create("zeros")
	_, _ = io.CopyN(f, zeros{}, 64<<20)
	zw.Close()
	for name, c := range map[string]struct {
		format  Format
		archive []byte
	}{
		"bytes": {TarGz, gz.Bytes()}, "names": {Tar, tarOf(t, many...)}, "folders on the way": {Tar, tarOf(t, file(strings.Repeat("a/", 120)+"f", ""))},
		"zip": {Zip, zipped.Bytes()},
	} {
		b := newBench(t)
		o.Format = c.format
		_, err := b.extract(".", c.archive, o)
		if want(t, err, "archive_too_large"); len(b.list(".", ListOptions{})) != 0 || len(b.staged()) != 0 {
			t.Errorf("%s: something is left", name)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(tarOf(f, file("a/b", "x"), tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../outside"}, file("l/x", "y")), byte(0))
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if e, err := w.Create("../x"); err == nil {
		_, _ = e.Write([]byte("x"))
	}
	w.Close()
	f.Add(b.Bytes(), byte(1))
	if _, err := os.Stat("/dev/shm"); err == nil {
		f.Setenv("TMPDIR", "/dev/shm") // where a sync costs nothing
	}
	f.Fuzz(func(t *testing.T, archive []byte, format byte) {
		b := newBench(t)
		o := ExtractOptions{Format: []Format{Tar, Zip, TarGz, TarZst}[format%4], Bytes: 1 << 16, Files: 50}
		_, err := b.extract(".", archive, o)
		if b.untouched(); err != nil && len(b.list(".", ListOptions{})) != 0 {
			t.Errorf("%v, and something is left", err)
		}
	})
}
