package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

func TestMain(m *testing.M) {
	MaybeMapped()
	if what := os.Getenv(hangEnv); what != "" {
		hangingImport(what)
		return
	}
	os.Exit(m.Run())
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("unpacking gives files to many owners: run the tests as root")
	}
}

// entry is one of a test's tar. The type is TypeReg when it has a body or no
// other is given.
type entry struct {
	name, body, link string
	kind             byte
	mode             int64
	uid, gid         int
	pax              map[string]string
}

func dir(name string) entry        { return entry{name: name, kind: tar.TypeDir, mode: 0o755} }
func file(name, body string) entry { return entry{name: name, body: body, mode: 0o644} }
func symlink(name, to string) entry {
	return entry{name: name, link: to, kind: tar.TypeSymlink, mode: 0o777}
}
func hardlink(name, to string) entry { return entry{name: name, link: to, kind: tar.TypeLink} }

func tarOfEntries(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Mode: e.mode, Uid: e.uid, Gid: e.gid, Size: int64(len(e.body)), PAXRecords: e.pax}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// room is a folder to unpack into, beside a sentinel that must stay as it is.
type room struct {
	dir  string
	root *os.Root
	was  map[string]string
}

func newRoom(t testing.TB) *room {
	t.Helper()
	needRoot(t)
	r := &room{dir: t.TempDir()}
	for _, d := range []string{"root", "outside"} {
		if err := os.Mkdir(filepath.Join(r.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.dir, "outside/secret"), []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.root, err = os.OpenRoot(filepath.Join(r.dir, "root")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.root.Close() })
	r.was = r.outside(t)
	return r
}

// outside is all that is in the room but the root's content.
func (r *room) outside(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(r.dir, path)
		out[name] = info.Mode().String()
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			out[name] += " " + string(b) + info.ModTime().String()
		}
		if name == "root" {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *room) untouched(t testing.TB) {
	t.Helper()
	if now := r.outside(t); !maps.Equal(now, r.was) {
		t.Fatalf("outside the root, before: %v; now: %v", r.was, now)
	}
}

// unpack unpacks layers and holds the sentinel against what it was.
func (r *room) unpack(t testing.TB, limits Limits, layers ...[]byte) (*unpacker, error) {
	t.Helper()
	u := newUnpacker(r.root, &budget{limits: limits.orDefault()})
	for _, l := range layers {
		if err := u.tar(context.Background(), bytes.NewReader(l), true); err != nil {
			r.untouched(t)
			return u, err
		}
	}
	err := u.finish()
	r.untouched(t)
	return u, err
}

// tree lists what is in the root, with what files hold and links say.
func (r *room) tree(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	base := filepath.Join(r.dir, "root")
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == base {
			return err
		}
		name, _ := filepath.Rel(base, path)
		switch {
		case d.IsDir():
			out[name] = "/"
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			out[name] = "> " + to
			return err
		default:
			b, err := os.ReadFile(path)
			out[name] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *room) has(t testing.TB, want map[string]string) {
	t.Helper()
	if got := r.tree(t); !maps.Equal(got, want) {
		t.Errorf("there is %v, wanted %v", got, want)
	}
}

// refused checks that an error is a person's sentence of that code.
func refused(t testing.TB, err error, code string) {
	t.Helper()
	var p *station.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Fatalf("got %v, wanted a problem %s", err, code)
	}
	if !strings.HasSuffix(p.Sentence, ".") || slices.Contains([]byte(p.Sentence), 0x1b) {
		t.Errorf("no sentence: %q", p.Sentence)
	}
}

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }
