package gateway

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/files"
)

// unpack sends an archive.
func (br *browser) unpack(query string, archive []byte) reply {
	br.b.t.Helper()
	req, err := http.NewRequest(http.MethodPost, br.b.base+filesAt+"/extract"+query, bytes.NewReader(archive))
	if err != nil {
		br.b.t.Fatal(err)
	}
	for k, v := range br.header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := br.http.Do(req)
	if err != nil {
		br.b.t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		br.b.t.Fatal(err)
	}
	br.b.documented(http.MethodPost, filesAt+"/extract", res.StatusCode)
	return reply{res, out}
}

func tarOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 1, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "x"); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return b.Bytes()
}

func TestAbuse26_ExtractOverHTTP(t *testing.T) {
	b, f := newFilesBench(t)
	ada, _ := b.member(b.admin(), "ada").token("files")
	ada.must(201, "POST", filesAt+"/folders", map[string]any{"path": "d"})
	ada.put("d/there", "mine")
	home := f.home(ada.user.ID)
	var got files.Extracted
	r := ada.unpack(at("d", "format", "tar"), tarOf(t, "there", "new"))
	if r.into(t, &got); r.StatusCode != 200 || got.Files != 1 || got.Kept != 1 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if c, err := os.ReadFile(filepath.Join(home, "d/there")); string(c) != "mine" {
		t.Errorf("%q %v", c, err)
	}
	before := tree(t, f.dir)
	for _, c := range []struct {
		query   string
		archive []byte
		status  int
		code    string
	}{
		{at("", "format", "tar"), tarOf(t, "good", "../../pwned"), 400, "bad_archive"},
		{at("", "format", "tar.gz"), []byte("no archive"), 400, "bad_archive"},
		{at("", "format", "zip"), tarOf(t, "a"), 400, "bad_archive"},
		{at("../x", "format", "tar"), tarOf(t, "a"), 400, "bad_path"},
		{at("", "format", "tar", "bytes", "1"), tarOf(t, "a", "b"), 507, "archive_too_large"},
		{at("", "format", "tar", "files", "1"), tarOf(t, "a", "b"), 507, "archive_too_large"},
		{at("", "format", "rar"), nil, 422, ""},
	} {
		if r := ada.unpack(c.query, c.archive); r.StatusCode != c.status || c.code != "" && r.code() != c.code {
			t.Errorf("%s: %d %s", c.query, r.StatusCode, r.body)
		}
	}
	// Room that the home's limit does not have is refused before anything comes.
	f.limit.Store(1 << 20)
	if r := ada.unpack(at("", "format", "tar"), tarOf(t, "a")); r.StatusCode != 507 {
		t.Errorf("over the limit: %d %s", r.StatusCode, r.body)
	}
	if r := ada.unpack(at("", "format", "tar", "bytes", "1000", "files", "10"), tarOf(t, "fits")); r.StatusCode != 200 {
		t.Errorf("within the limit: %d %s", r.StatusCode, r.body)
	}
	if err := os.Remove(filepath.Join(home, "fits")); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, f.dir); after != before && !strings.Contains(after, "staging") {
		t.Errorf("before %s\nafter %s", before, after)
	}
}

// Many small files take more of the disk than their bytes, and a zip lies beside
// what is unpacked of it: the limit counts both before.
func TestAbuse28_ArchivesTakeMoreThanTheyHold(t *testing.T) {
	const limit = 4 << 20
	b, f := newFilesBench(t)
	root := b.admin()
	root.must(200, "GET", filesAt, nil) // makes the home
	f.limit.Store(limit)
	var names []string
	for i := range 6000 {
		names = append(names, fmt.Sprint("f", i))
	}
	// It is heard by a client that sends all before it listens.
	if r := root.unpack(at("", "format", "tar", "bytes", "10000", "files", "2000"), tarOf(t, names...)); r.StatusCode != 507 || r.code() != "quota_full" {
		t.Errorf("small files: %d %.200s", r.StatusCode, r.body)
	}
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	w, err := z.CreateHeader(&zip.FileHeader{Name: "stored", Method: zip.Store})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 3<<20)); err != nil {
		t.Fatal(err)
	}
	z.Close()
	if r := root.unpack(at("", "format", "zip", "bytes", fmt.Sprint(packed.Len()), "files", "2"), packed.Bytes()); r.StatusCode != 507 || r.code() != "quota_full" {
		t.Errorf("a zip beside its content: %d %.200s", r.StatusCode, r.body)
	}
	if n := f.used(root); n > limit {
		t.Errorf("%d bytes are used of %d", n, limit)
	}
	if r := root.unpack(at("", "format", "tar", "bytes", "1000", "files", "10"), tarOf(t, names[:3]...)); r.StatusCode != 200 {
		t.Errorf("what fits: %d %.200s", r.StatusCode, r.body)
	}
}
