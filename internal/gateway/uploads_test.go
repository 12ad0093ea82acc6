package gateway

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"staithe/internal/auth"
	"staithe/internal/files/filesapi"
)

const uploadsAt = "/api/v1/workstation/uploads"

// tus sends a request of the protocol.
func (br *browser) tus(method, at string, body io.Reader, length int64, header ...string) reply {
	br.b.t.Helper()
	req, err := http.NewRequest(method, br.b.base+at, body)
	if err != nil {
		br.b.t.Fatal(err)
	}
	req.Header = br.header.Clone()
	if body != nil || method == http.MethodPatch {
		req.ContentLength = length
		req.Header.Set("Content-Type", "application/offset+octet-stream")
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := br.http.Do(req)
	if err != nil {
		br.b.t.Error(err)
		return reply{Response: &http.Response{Header: http.Header{}}}
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		br.b.t.Error(err)
	}
	if method != http.MethodHead {
		br.b.documented(method, at, res.StatusCode)
	}
	return reply{res, out}
}

func uploadTo(path string, more ...string) string {
	s := "path " + base64.StdEncoding.EncodeToString([]byte(path))
	for i := 0; i+1 < len(more); i += 2 {
		s += "," + more[i] + " " + base64.StdEncoding.EncodeToString([]byte(more[i+1]))
	}
	return s
}

func TestUploads(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	ada, _ := b.member(root, "ada").token(auth.ScopeFiles)
	bob := b.member(root, "bob")
	home := f.home(ada.user.ID)
	if r := ada.tus("OPTIONS", uploadsAt, nil, 0); r.StatusCode != 200 || !strings.Contains(r.Header.Get("Tus-Extension"), "expiration") {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	r := ada.tus("POST", uploadsAt, nil, 0, "Upload-Length", "10", "Upload-Metadata", uploadTo("d/é%0A", "mode", "0700"))
	one := r.Header.Get("Location")
	if r.StatusCode != 201 || !strings.HasPrefix(one, uploadsAt+"/") {
		t.Fatalf("%d %s %v", r.StatusCode, r.body, r.Header)
	}
	if r := ada.tus("PATCH", one, strings.NewReader("01234"), 5, "Upload-Offset", "0"); r.StatusCode != 204 || r.Header.Get("Upload-Offset") != "5" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := ada.tus("PATCH", one, strings.NewReader("01234"), 5, "Upload-Offset", "0"); r.StatusCode != 409 || r.code() != "wrong_offset" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	// An upload is its home's.
	for _, method := range []string{"HEAD", "PATCH", "DELETE"} {
		if r := bob.tus(method, one, nil, 0, "Upload-Offset", "5"); r.StatusCode != 404 || r.Header.Get(filesapi.HeaderFailure) != "no_upload" {
			t.Errorf("%s of another's: %d %s", method, r.StatusCode, r.body)
		}
	}
	if r := ada.tus("HEAD", one, nil, 0); r.StatusCode != 200 || r.Header.Get("Upload-Offset") != "5" || r.Header.Get("Upload-Length") != "10" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	// A body without a length is one, too.
	r = ada.tus("PATCH", one, io.MultiReader(strings.NewReader("56789")), -1, "Upload-Offset", "5")
	if r.StatusCode != 204 || !strings.Contains(r.Header.Get(filesapi.HeaderEntry), `"size":10`) {
		t.Errorf("%d %s %v", r.StatusCode, r.body, r.Header)
	}
	if c, err := os.ReadFile(filepath.Join(home, "d/é\n")); err != nil || string(c) != "0123456789" {
		t.Errorf("%q %v", c, err)
	}
	parts := ""
	for _, c := range []string{"ab", "cd"} {
		r := ada.tus("POST", uploadsAt, strings.NewReader(c), 2, "Upload-Length", "2", "Upload-Concat", "partial")
		if r.StatusCode != 201 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		parts += " " + b.base + r.Header.Get("Location")
	}
	r = ada.tus("POST", uploadsAt, nil, 0, "Upload-Concat", "final;"+parts[1:], "Upload-Metadata", uploadTo("joined"))
	if c, err := os.ReadFile(filepath.Join(home, "joined")); r.StatusCode != 201 || err != nil || string(c) != "abcd" {
		t.Errorf("%d %s %q %v", r.StatusCode, r.body, c, err)
	}
	var two string
	if r := ada.tus("POST", uploadsAt, nil, 0, "Upload-Length", "10", "Upload-Metadata", uploadTo("x")); r.StatusCode == 201 {
		two = r.Header.Get("Location")
	}
	if r := ada.tus("DELETE", two, nil, 0); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := ada.tus("HEAD", two, nil, 0); r.StatusCode != 404 {
		t.Errorf("%d", r.StatusCode)
	}
	// One that is whole, and whose name was taken meanwhile, can be given up.
	r = ada.tus("POST", uploadsAt, nil, 0, "Upload-Length", "3", "Upload-Metadata", uploadTo("taken"))
	three := r.Header.Get("Location")
	if err := os.WriteFile(filepath.Join(home, "taken"), []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := ada.tus("PATCH", three, strings.NewReader("abc"), 3, "Upload-Offset", "0"); r.StatusCode != 409 || r.code() != "file_exists" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := ada.tus("DELETE", three, nil, 0); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := ada.tus("HEAD", three, nil, 0); r.StatusCode != 404 {
		t.Errorf("%d", r.StatusCode)
	}
	if c, err := os.ReadFile(filepath.Join(home, "taken")); err != nil || string(c) != "theirs" {
		t.Errorf("%q %v", c, err)
	}
	// Names that are answers to other questions, and other ways to say a method.
	if r := ada.tus("POST", one, nil, 0, "X-HTTP-Method-Override", "DELETE"); r.StatusCode != 405 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	for _, id := range []string{"..%2f..%2fhealth", "..%2Fstat", "%2e%2e", "A"} {
		if r := ada.tus("HEAD", uploadsAt+"/"+id, nil, 0); r.StatusCode != 404 && r.StatusCode != 400 && r.StatusCode != 307 {
			t.Errorf("%s: %d", id, r.StatusCode)
		}
	}
	if r := b.browser().tus("POST", uploadsAt, nil, 0, "Upload-Length", "10", "Upload-Metadata", uploadTo("x")); r.StatusCode != 401 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := ada.must(200, "POST", filesAt+"/hash", map[string]any{"paths": []string{"joined", "none"}}); strings.Count(string(r.body), "\n") != 2 ||
		!strings.Contains(string(r.body), "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589") || !strings.Contains(string(r.body), "no_file") {
		t.Errorf("%s", r.body)
	}
}

// Uploads that are begun together, each of which has room alone, do not exceed
// the limit: what does not fit any more is refused, and what arrived stays.
func TestAbuse28_QuotaUnderParallelUploads(t *testing.T) {
	const limit, each, writers = 8 << 20, 1 << 20, 24
	b, f := newFilesBench(t)
	root := b.admin()
	root.must(200, "GET", filesAt, nil)
	f.limit.Store(limit)
	if r := root.tus("POST", uploadsAt, nil, 0, "Upload-Length", fmt.Sprint(limit+1), "Upload-Metadata", uploadTo("large")); r.StatusCode != 507 || r.code() != "quota_full" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	var ats []string
	for i := range writers {
		r := root.tus("POST", uploadsAt, nil, 0, "Upload-Length", fmt.Sprint(each), "Upload-Metadata", uploadTo(fmt.Sprint("f", i)))
		if r.StatusCode != 201 {
			t.Fatalf("%d %s", r.StatusCode, r.body)
		}
		ats = append(ats, r.Header.Get("Location"))
	}
	content := bytes.Repeat([]byte("x"), each/2)
	var all sync.WaitGroup
	var stored atomic.Int64
	for _, at := range ats {
		all.Go(func() {
			for off := 0; off < each; off += each / 2 {
				r := root.tus("PATCH", at, bytes.NewReader(content), each/2, "Upload-Offset", fmt.Sprint(off))
				if r.StatusCode == 507 && r.code() == "quota_full" {
					return
				}
				if r.StatusCode != 204 {
					t.Errorf("%d %s", r.StatusCode, r.body)
					return
				}
			}
			stored.Add(1)
		})
	}
	all.Wait()
	if n := f.used(root); n > limit {
		t.Errorf("the home holds %d bytes, %d more than it may", n, n-limit)
	}
	names, err := filepath.Glob(filepath.Join(f.home(root.user.ID), "f*"))
	if err != nil || int64(len(names)) != stored.Load() || stored.Load() > limit/each {
		t.Errorf("%d files are there, %d were taken: %v", len(names), stored.Load(), err)
	}
	t.Logf("%d of %d were taken", stored.Load(), writers)
}

// A connection that breaks leaves nothing under the name, and what came is there
// when the client comes back.
func TestAbuse28_UploadThatBreaksOff(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	home := f.home(root.user.ID)
	const size = 4 << 20
	r := root.tus("POST", uploadsAt, nil, 0, "Upload-Length", fmt.Sprint(size), "Upload-Metadata", uploadTo("f"))
	at, off := r.Header.Get("Location"), 0
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for off < size {
		r, w := io.Pipe()
		go func() {
			end := min(off+700_000, size)
			_, _ = w.Write(content[off:end]) // it may be refused
			if end < size {
				w.CloseWithError(io.ErrUnexpectedEOF)
			}
			w.Close()
		}()
		req, err := http.NewRequest("PATCH", b.base+at, r)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = int64(size - off)
		req.Header.Set("Tus-Resumable", "1.0.0")
		req.Header.Set("Content-Type", "application/offset+octet-stream")
		req.Header.Set("Upload-Offset", fmt.Sprint(off))
		if res, err := root.http.Do(req); err == nil {
			res.Body.Close()
		}
		// What was on its way when the connection broke may still arrive.
		was := off
		until(t, "the upload goes on", func() bool {
			res := root.tus("HEAD", at, nil, 0)
			if _, err := fmt.Sscan(res.Header.Get("Upload-Offset"), &off); err != nil {
				t.Fatalf("%d %v: %v", res.StatusCode, res.Header, err)
			}
			return off > was
		})
		if _, err := os.Lstat(filepath.Join(home, "f")); (err == nil) != (off == size) {
			t.Fatalf("at %d: %v", off, err)
		}
	}
	if c, err := os.ReadFile(filepath.Join(home, "f")); err != nil || !bytes.Equal(c, content) {
		t.Errorf("%d bytes, %v", len(c), err)
	}
}
