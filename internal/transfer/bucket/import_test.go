package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"staithe/internal/files"
	"staithe/internal/s3test"
	"staithe/internal/station"
)

// home is a home in this process.
type home struct {
	*files.Home
	dir      string
	extracts int
}

func (h *home) List(ctx context.Context, p files.Path, hidden bool, each func(files.Entry) error) error {
	l, err := h.Home.List(ctx, p, files.ListOptions{Hidden: hidden, Limit: 10000})
	for _, e := range l.Entries {
		err = errors.Join(err, each(e))
	}
	return err
}

func (h *home) Extract(ctx context.Context, p files.Path, tar io.Reader, replace bool, bytes, names int64) (files.Extracted, error) {
	h.extracts++
	return h.Home.Extract(ctx, p, tar, files.ExtractOptions{Format: files.Tar, Replace: replace, Bytes: bytes, Files: names})
}

func newHome(t *testing.T) *home {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h, err := files.Open(dir, files.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &home{Home: h, dir: dir}
}

// put makes an object; more is pairs of user metadata.
func put(s *s3test.Server, key, content string, more ...string) {
	h := http.Header{}
	for i := 0; i < len(more); i += 2 {
		h.Set("X-Amz-Meta-"+more[i], more[i+1])
	}
	s.Must("PUT", s3test.Path("old-homes", key), h, []byte(content), 200)
}

func from(s *s3test.Server, prefix string) Place {
	return Place{Endpoint: s.URL, Bucket: "old-homes", Prefix: prefix, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey, Region: s3test.Region, PathStyle: true}
}

// Whether there is anything below a prefix is asked of the store itself.
func TestAny(t *testing.T) {
	t.Parallel()
	s := s3test.Start(t, "old-homes")
	put(s, "ws/ada/snapshots/x", "content")
	for prefix, want := range map[string]bool{"ws/ada/snapshots/": true, "ws/ad/": false, "ws/bob/": false} {
		if got, err := Any(t.Context(), from(s, prefix)); err != nil || got != want {
			t.Errorf("%s: %v, %v", prefix, got, err)
		}
	}
	s.Kill()
	if _, err := Any(t.Context(), from(s, "ws/bob/")); err == nil {
		t.Error("a store that is gone has nothing")
	}
}

// A bucket as TigrisFS leaves it becomes a home; again, only what is missing comes.
func TestImport(t *testing.T) {
	s := s3test.Start(t, "old-homes")
	put(s, "ws/ada/run.sh", "#!/bin/sh\n", "mode", fmt.Sprint(0o100755), "mtime", "1500000000")
	put(s, "ws/ada/src/a b%.txt", "plain")
	put(s, "ws/ada/link", "", "--symlink-target", "src%2Fa%20b%25.txt", "mode", fmt.Sprint(0o120777))
	put(s, "ws/ada/empty/", "")
	put(s, "ws/ada/secret", "x", "mode", "0100600")
	put(s, "ws/bob/not-mine", "x")
	h := newHome(t)
	o := Options{From: from(s, "ws/ada/"), To: h, Into: "."}
	r, err := Import(t.Context(), o)
	if err != nil || r.Files != 4 || len(r.Refused) != 0 || r.Bytes != 16 {
		t.Fatalf("%+v %v", r, err)
	}
	info, err := os.Lstat(filepath.Join(h.dir, "run.sh"))
	if err != nil || info.Mode() != 0o755 || !info.ModTime().Equal(time.Unix(1500000000, 0)) {
		t.Errorf("%v %v", info, err)
	}
	if c, err := os.ReadFile(filepath.Join(h.dir, "link")); string(c) != "plain" {
		t.Errorf("through the link: %q %v", c, err)
	}
	if info, err := os.Stat(filepath.Join(h.dir, "empty")); err != nil || !info.IsDir() {
		t.Errorf("%v", err)
	}
	if info, err := os.Stat(filepath.Join(h.dir, "secret")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(h.dir, "not-mine")); err == nil {
		t.Error("what is beside the prefix came too")
	}
	was := h.extracts
	if r, err = Import(t.Context(), o); err != nil || r.Files != 0 || r.Same != 4 || h.extracts != was {
		t.Errorf("again: %+v %v", r, err)
	}
	// What was changed here stays; what was deleted comes again.
	if err := errors.Join(os.WriteFile(filepath.Join(h.dir, "secret"), []byte("mine"), 0o600), os.Remove(filepath.Join(h.dir, "run.sh"))); err != nil {
		t.Fatal(err)
	}
	r, err = Import(t.Context(), o)
	if c, _ := os.ReadFile(filepath.Join(h.dir, "secret")); err != nil || r.Files != 1 || string(c) != "mine" || !slices.Equal(r.Kept, []files.Path{"secret"}) {
		t.Errorf("%+v %v %q", r, err, c)
	}
	o.Replace = true
	r, err = Import(t.Context(), o)
	if c, _ := os.ReadFile(filepath.Join(h.dir, "secret")); err != nil || string(c) != "x" {
		t.Errorf("%+v %v %q", r, err, c)
	}
	// Into a folder, and through troubles.
	s.Set(s3test.Faults{})
	o.Into = "sub/dir"
	if r, err = Import(t.Context(), o); err != nil || r.Files != 4 {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := os.Lstat(filepath.Join(h.dir, "sub/dir/src/a b%.txt")); err != nil {
		t.Error(err)
	}
	o.From.SecretKey = "wrong"
	if _, err = Import(t.Context(), o); !errors.Is(err, station.ErrForbidden) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v", err)
	}
}

// What a hostile bucket has is refused and listed; the rest comes.
func TestAbuse26_HostileKeys(t *testing.T) {
	objects := []Object{}
	for _, k := range []string{"good", "../up", "a/../../up", "/abs", "a//b", "./x", "nul\x00", "..", "d/.", strings.Repeat("n", 300),
		"link", "link/below", "file", "file/below", "marker", "marker/below", "twice", "twice/", "\x1b[31mred\n"} {
		size := int64(1)
		if k == "link" || k == "marker" || strings.HasSuffix(k, "/") {
			size = 0
		}
		objects = append(objects, Object{Key: "p/" + k, Size: size})
	}
	list, refused, err := plan("p/", objects, func(key string) (bool, error) { return key == "p/link", nil })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, fmt.Sprint(e.path, " ", e.dir))
	}
	want := []string{"\x1b[31mred%0A false", "file false", "good false", "link false", "marker true", "marker/below false", "twice true"}
	want[0] = files.Path("\x1b[31mred\n").String() + " false"
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if len(refused) != 12 {
		t.Errorf("%d refused: %+v", len(refused), refused)
	}
	// And what a server that lies in its listing would have unpacked is refused there.
	h := newHome(t)
	m := &importer{o: Options{To: h, Into: "."}}
	var b bytes.Buffer
	if err := m.pack(t.Context(), &b, []planned{{path: "../pwned", dir: true}}, new(int64), new([]Refused)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Extract(t.Context(), ".", &b, false, 1000, 10); err == nil {
		t.Error("unpacked outside")
	}
}

func TestMetadata(t *testing.T) {
	for in, want := range map[string]uint32{"33261": 0o100755, "100644": 0o100644, "0100600": 0o100600, "644": 0o644, "0o755": 0o755, "16877": 0o40755, "41471": 0o120777, "x": 0, "-1": 0, "99999999999": 0} {
		if got := readMode(in); got != want {
			t.Errorf("mode %s is %o, want %o", in, got, want)
		}
	}
	for in, want := range map[string]int64{"1500000000": 1500000000, "1500000000.5": 1500000000, "2017-07-14T02:40:00Z": 1500000000, "": 0, "-5": 0, "x": 0} {
		if got := readTime(in); want == 0 && !got.IsZero() || want != 0 && got.Unix() != want {
			t.Errorf("time %s is %v", in, got)
		}
	}
	if _, err := url.PathUnescape("%zz"); err == nil || readMeta(map[string]string{"--Symlink-Target": "%zz"}).target != "%zz" {
		t.Error("a target that is not escaped is taken as it is")
	}
}

func FuzzPlan(f *testing.F) {
	f.Add("a", "a/b", "../x", int64(1))
	f.Fuzz(func(t *testing.T, a, b, c string, size int64) {
		list, _, err := plan("p/", []Object{{Key: "p/" + a, Size: size}, {Key: "p/" + b}, {Key: "p/" + c, Size: 1}}, func(string) (bool, error) { return size%2 == 0, nil })
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range list {
			if p, err := e.path.Clean(); err != nil || p != e.path || p.Home() {
				t.Errorf("%q", e.path)
			}
			for j, o := range list {
				if i != j && (o.path == e.path || !e.dir && o.path.Within(e.path)) {
					t.Errorf("%q and %q", e.path, o.path)
				}
			}
			readMode(a)
			readTime(b)
		}
	})
}
