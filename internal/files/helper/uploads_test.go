package helper

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	tus "github.com/tus/tusd/v2/pkg/handler"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
)

// meta is an Upload-Metadata header of pairs.
func meta(pairs ...string) string {
	var parts []string
	for i := 0; i+1 < len(pairs); i += 2 {
		parts = append(parts, pairs[i]+" "+base64.StdEncoding.EncodeToString([]byte(pairs[i+1])))
	}
	return strings.Join(parts, ",")
}

// tus sends a request of the protocol. at is an upload's Location; empty: where
// they are made.
func (b *bench) tus(method, at string, body any, header ...string) (int, string, http.Header) {
	b.t.Helper()
	if at == "" {
		at = filesapi.PathUploads
	}
	header = append([]string{"Tus-Resumable", "1.0.0"}, header...)
	if method == "PATCH" {
		header = append(header, "Content-Type", "application/offset+octet-stream")
	}
	return b.ask(method, at, nil, body, header...)
}

// begin makes an upload and returns its Location.
func (b *bench) begin(size int, metadata string, header ...string) string {
	b.t.Helper()
	status, c, h := b.tus("POST", "", nil, append([]string{"Upload-Length", fmt.Sprint(size), "Upload-Metadata", metadata}, header...)...)
	if status != 201 || !strings.HasPrefix(h.Get("Location"), filesapi.PathUploads+"/") || h.Get("Upload-Expires") == "" {
		b.t.Fatalf("%d %s %v", status, c, h)
	}
	return h.Get("Location")
}

func (b *bench) offset(at, want string) {
	b.t.Helper()
	if status, _, h := b.tus("HEAD", at, nil); status != 200 || h.Get("Upload-Offset") != want || h.Get("Cache-Control") != "no-store" {
		b.t.Errorf("%d %v", status, h)
	}
}

func (b *bench) get(name string) string {
	b.t.Helper()
	c, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(c)
}

func TestUploadOverTheSocket(t *testing.T) {
	b := newBench(t)
	status, _, h := b.tus("OPTIONS", "", nil)
	if status != 200 || h.Get("Tus-Version") != "1.0.0" || h.Get("Tus-Extension") != "creation,creation-with-upload,termination,concatenation,expiration" {
		t.Errorf("%d %v", status, h)
	}
	m := meta("path", "a/caf%E9 é", "mode", "0750", "mtime", "2020-01-02T03:04:05.000000006Z", "unknown", "x")
	at := b.begin(10, m)
	b.offset(at, "0")
	status, c, h := b.tus("PATCH", at, "01234", "Upload-Offset", "0")
	if status != 204 || h.Get("Upload-Offset") != "5" || h.Get("Upload-Expires") == "" || h.Get(filesapi.HeaderEntry) != "" {
		t.Errorf("%d %s %v", status, c, h)
	}
	for _, off := range []string{"0", "4", "6", "10"} {
		if status, c, _ := b.tus("PATCH", at, "56789", "Upload-Offset", off); status != 409 || !strings.Contains(c, `"wrong_offset"`) {
			t.Errorf("at %s: %d %s", off, status, c)
		}
	}
	if status, c, _ := b.tus("PATCH", at, "567890", "Upload-Offset", "5"); status != 413 || !strings.Contains(c, `"bad_upload"`) {
		t.Errorf("%d %s", status, c)
	}
	b.offset(at, "5")
	status, c, h = b.tus("PATCH", at, "56789", "Upload-Offset", "5")
	var e files.Entry
	if err := json.Unmarshal([]byte(h.Get(filesapi.HeaderEntry)), &e); err != nil || status != 204 || e.Path != "a/caf\xe9 é" || e.Mode != 0o750 || e.Size != 10 {
		t.Errorf("%d %s %v %+v", status, c, h, e)
	}
	if strings.Trim(h.Get(filesapi.HeaderEntry), "\x20\x7e") == "" || strings.ContainsRune(h.Get(filesapi.HeaderEntry), 'é') {
		t.Errorf("not ASCII: %q", h.Get(filesapi.HeaderEntry))
	}
	if b.get("a/caf\xe9 é") != "0123456789" || e.MTime.Format(time.RFC3339Nano) != "2020-01-02T03:04:05.000000006Z" {
		t.Errorf("%+v", e)
	}
	b.offset(at, "10") // who did not hear the answer asks
	at = b.begin(0, meta("path", "empty"))
	b.offset(at, "0")
	if b.get("empty") != "" {
		t.Error("not empty")
	}
	// All at once, with what comes with the beginning.
	status, c, h = b.tus("POST", "", "hello", "Content-Type", "application/offset+octet-stream", "Upload-Length", "5", "Upload-Metadata", meta("path", "at/once"))
	if status != 201 || h.Get("Upload-Offset") != "5" || h.Get(filesapi.HeaderEntry) == "" || b.get("at/once") != "hello" {
		t.Errorf("%d %s %v", status, c, h)
	}
}

func TestUploadIsGivenUp(t *testing.T) {
	b := newBench(t)
	at := b.begin(10, meta("path", "f"))
	b.tus("PATCH", at, "01234", "Upload-Offset", "0")
	if status, c, _ := b.tus("DELETE", at, nil); status != 204 {
		t.Errorf("%d %s", status, c)
	}
	for _, method := range []string{"HEAD", "PATCH", "DELETE"} {
		if status, _, h := b.tus(method, at, nil, "Upload-Offset", "5"); status != 404 || h.Get(filesapi.HeaderFailure) != "no_upload" {
			t.Errorf("%s: %d %v", method, status, h)
		}
	}
	if left, err := os.ReadDir(filepath.Join(b.dir, ".local/share/staithe/staging/uploads")); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
}

func TestUploadIsRefused(t *testing.T) {
	b := newBench(t)
	if err := os.WriteFile(b.dir+"/taken", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		length, meta string
		status       int
		code         string
	}{
		{"5", "", 400, "bad_metadata"},
		{"5", "path", 400, "is_home"},
		{"5", "path !!!", 400, "bad_metadata"},
		{"5", meta("path", "a", "path", "b"), 400, "bad_metadata"},
		{"5", meta("path", "../a"), 400, "bad_path"},
		{"5", meta("path", "a%"), 400, "bad_path"},
		{"5", meta("path", "a", "mode", "9"), 400, "bad_request"},
		{"5", meta("path", "a", "mtime", "now"), 400, "bad_request"},
		{"5", meta("path", "a", "replace", "1"), 400, "bad_request"},
		{"", meta("path", "a"), 400, "bad_upload"},
		{"-1", meta("path", "a"), 400, "bad_upload"},
		{"5", meta("path", "taken"), 409, "file_exists"},
		{"5", meta("path", "taken/x"), 409, "not_a_folder"},
		{"5", meta("path", strings.Repeat("a", 256)), 400, "bad_path"},
	} {
		status, body, _ := b.tus("POST", "", nil, "Upload-Length", c.length, "Upload-Metadata", c.meta)
		var f filesapi.Failure
		if err := json.Unmarshal([]byte(body), &f); err != nil || status != c.status || f.Code != c.code || f.Sentence == "" {
			t.Errorf("%+v: %d %s", c, status, body)
		}
	}
	if status, c, _ := b.ask("POST", filesapi.PathUploads, nil, nil, "Upload-Length", "5"); status != 412 || !strings.Contains(c, "wrong_tus_version") {
		t.Errorf("%d %s", status, c)
	}
	at := b.begin(5, meta("path", "a"))
	// The method is the one that was asked for.
	if status, _, _ := b.tus("POST", at, nil, "X-HTTP-Method-Override", "DELETE"); status != 405 {
		t.Errorf("%d", status)
	}
	if status, _, _ := b.tus("GET", at, nil); status != 405 {
		t.Errorf("%d", status)
	}
	b.offset(at, "0")
}

func TestUploadsAreJoinedOverTheSocket(t *testing.T) {
	b := newBench(t)
	one, two := b.begin(3, "", "Upload-Concat", "partial"), b.begin(3, "", "Upload-Concat", "partial")
	b.tus("PATCH", two, "def", "Upload-Offset", "0")
	final := []string{"Upload-Concat", "final;" + one + " " + two, "Upload-Metadata", meta("path", "joined")}
	if status, c, _ := b.tus("POST", "", nil, final...); status != 409 && status != 400 {
		t.Errorf("of what is not there yet: %d %s", status, c)
	}
	b.tus("PATCH", one, "abc", "Upload-Offset", "0")
	status, c, h := b.tus("POST", "", nil, final...)
	if status != 201 || h.Get(filesapi.HeaderEntry) == "" || b.get("joined") != "abcdef" {
		t.Errorf("%d %s %v", status, c, h)
	}
	b.offset(h.Get("Location"), "6")
	if status, _, _ := b.tus("HEAD", one, nil); status != 404 {
		t.Errorf("a part is left: %d", status)
	}
}

// TestUploadWithTwoWriters: of requests that write one upload at the same time one
// goes on and the others are refused; no byte is from two.
func TestUploadWithTwoWriters(t *testing.T) {
	b := newBench(t)
	const size = 8 << 20
	for round := range 5 {
		at := b.begin(size, meta("path", fmt.Sprint("f", round)))
		var all sync.WaitGroup
		statuses := make([]int, 4)
		for i := range statuses {
			all.Go(func() {
				statuses[i], _, _ = b.tus("PATCH", at, strings.Repeat(string('a'+rune(i)), size), "Upload-Offset", "0")
			})
		}
		all.Wait()
		won := 0
		for _, s := range statuses {
			switch s {
			case 204:
				won++
			case 409, 423:
			default:
				t.Errorf("%v", statuses)
			}
		}
		c := b.get(fmt.Sprint("f", round))
		if won != 1 || c != strings.Repeat(c[:1], size) {
			t.Errorf("%v, %d bytes", statuses, len(c))
		}
	}
}

// Who comes back while the server still believes in the lost connection goes on
// from what arrived.
func TestUploadIsTakenOver(t *testing.T) {
	b := newBench(t)
	const size, half = 64 << 10, 32 << 10 // more than a client holds back
	at := b.begin(size, meta("path", "f"))
	r, w := io.Pipe()
	lost := make(chan int, 1)
	go func() {
		req, err := http.NewRequest("PATCH", "http://files"+at, r)
		if err != nil {
			t.Error(err)
		}
		req.ContentLength = size
		for k, v := range map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"} {
			req.Header.Set(k, v)
		}
		res, err := b.client.Do(req)
		if err != nil {
			lost <- 0
			return
		}
		res.Body.Close()
		lost <- res.StatusCode
	}()
	if _, err := w.Write(make([]byte, half)); err != nil {
		t.Fatal(err)
	}
	staged := filepath.Join(b.dir, ".local/share/staithe/staging/uploads", filepath.Base(at))
	for deadline := time.Now().Add(10 * time.Second); ; { // what was sent is on its way
		if info, err := os.Stat(staged); err != nil || time.Now().After(deadline) {
			t.Fatalf("nothing arrives: %v", err)
		} else if info.Size() > 0 {
			break
		}
	}
	_, _, h := b.tus("HEAD", at, nil)
	n, err := strconv.Atoi(h.Get("Upload-Offset"))
	if err != nil || n < 1 || n > half {
		t.Fatalf("%v", h)
	}
	w.CloseWithError(io.ErrUnexpectedEOF)
	if status := <-lost; status != 423 && status != 0 {
		t.Errorf("the lost one: %d", status)
	}
	if status, c, _ := b.tus("PATCH", at, string(make([]byte, size-n)), "Upload-Offset", fmt.Sprint(n)); status != 204 || len(b.get("f")) != size {
		t.Errorf("%d %s", status, c)
	}
}

// A client that stands still is told so after a while; what it sent is kept.
func TestUploadThatStalls(t *testing.T) {
	dir := t.TempDir()
	home, err := files.Open(dir, files.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	srv := httptest.NewServer(tusHandler(home, 2*time.Second, slog.New(slog.DiscardHandler)))
	defer srv.Close()
	b := &bench{t: t, dir: dir, client: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}}}}
	defer b.client.CloseIdleConnections()
	const half = 32 << 10
	at := b.begin(2*half, meta("path", "f"))
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: files\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: %d\r\n\r\n%s",
		at, 2*half, strings.Repeat("x", half))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	c, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 500 || !strings.Contains(string(c), "upload_stalled") {
		t.Errorf("%s %s %v", res.Status, c, err)
	}
	b.offset(at, fmt.Sprint(half))
}

// A connection that breaks leaves what arrived, and nothing under the name.
func TestAbuse28_ABrokenConnection(t *testing.T) {
	b := newBench(t)
	for i := range 20 {
		at := b.begin(1<<20, meta("path", fmt.Sprint("f", i)))
		r, w := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			req, err := http.NewRequest("PATCH", "http://files"+at, r)
			if err != nil {
				t.Error(err)
			}
			req.ContentLength = 1 << 20
			for k, v := range map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"} {
				req.Header.Set(k, v)
			}
			if res, err := b.client.Do(req); err == nil {
				res.Body.Close()
				t.Errorf("answered %s", res.Status)
			}
		}()
		if _, err := w.Write(make([]byte, 1000*i+1)); err != nil {
			t.Fatal(err)
		}
		w.CloseWithError(io.ErrUnexpectedEOF)
		<-done
		status, _, h := b.tus("HEAD", at, nil)
		if status != 200 {
			t.Fatalf("%d", status)
		}
		var n int
		if _, err := fmt.Sscan(h.Get("Upload-Offset"), &n); err != nil || n > 1000*i+1 {
			t.Errorf("offset %q", h.Get("Upload-Offset"))
		}
		if _, err := os.Lstat(fmt.Sprint(b.dir, "/f", i)); err == nil {
			t.Error("half a file")
		}
	}
}

func TestHashes(t *testing.T) {
	b := newBench(t)
	if err := os.WriteFile(b.dir+"/f", []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", b.dir+"/l"); err != nil {
		t.Fatal(err)
	}
	status, c, _ := b.ask("POST", filesapi.PathHash, url.Values{}, filesapi.Hash{Paths: []files.Path{"f", "l", "none", "."}})
	if status != 200 {
		t.Fatalf("%d %s", status, c)
	}
	var got []filesapi.Hashed
	for sc := bufio.NewScanner(strings.NewReader(c)); sc.Scan(); {
		var h filesapi.Hashed
		if err := json.Unmarshal(sc.Bytes(), &h); err != nil {
			t.Fatal(err)
		}
		got = append(got, h)
	}
	sum := sha256.Sum256([]byte("content"))
	if len(got) != 4 || got[0].SHA256 != hex.EncodeToString(sum[:]) || got[1].Entry.Target != "/etc/passwd" || got[1].SHA256 != "" ||
		got[2].Failure == nil || got[2].Failure.Code != "no_file" || got[3].Entry.Kind != files.KindFolder {
		t.Errorf("%+v", got)
	}
	many := filesapi.Hash{Paths: make([]files.Path, filesapi.HashMax+1)}
	if status, c, _ := b.ask("POST", filesapi.PathHash, nil, many); status != 400 {
		t.Errorf("%d %s", status, c)
	}
}

func FuzzUploadMetadata(f *testing.F) {
	for _, s := range []string{"", "path", "path YQ==", "path YQ==,mode MDY0NA==", " path  YQ==", "path YQ==,", "a b c", "path YQ=\n=", meta("path", "\x00\xff", "replace", "yes")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		m, err := parseMetadata(header)
		if err != nil {
			return
		}
		// What is taken strictly means the same to everybody, and comes back.
		if loose := tus.ParseMetadataHeader(header); len(loose) != len(m) {
			t.Errorf("%q is %q, loosely %q", header, m, loose)
		}
		again, err := parseMetadata(tus.SerializeMetadataHeader(m))
		if err != nil || len(again) != len(m) {
			t.Errorf("%q: %q %v", header, again, err)
		}
		if o, err := uploadOptions(m); err == nil {
			o2, err := uploadOptions(uploadMetadata(o))
			if err != nil || o2.Path != o.Path || !o2.MTime.Equal(o.MTime) || o2.Replace != o.Replace || o2.Overwrite != o.Overwrite || (o.Mode == nil) != (o2.Mode == nil) {
				t.Errorf("%+v, again %+v: %v", o, o2, err)
			}
			if p, err := o.Path.Clean(); err != nil || p != o.Path {
				t.Errorf("%q is no path", o.Path)
			}
		}
	})
}
