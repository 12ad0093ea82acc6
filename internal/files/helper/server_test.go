package helper

import (
	"bytes"
	"context"
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
	"strings"
	"testing"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
)

// bench is a helper that serves a home on a unix socket.
type bench struct {
	t      *testing.T
	dir    string
	client *http.Client
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	home, err := files.Open(b.dir, files.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: Handler(home, filesapi.Health{Version: "test"}, slog.New(slog.DiscardHandler))}}
	srv.Start()
	b.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", sock)
	}}}
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		srv.Close()
		home.Close()
	})
	return b
}

// ask sends a request and returns the answer's status and body.
func (b *bench) ask(method, path string, query url.Values, body any, header ...string) (int, string, http.Header) {
	b.t.Helper()
	var r io.Reader
	switch v := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(v)
	default:
		j, err := json.Marshal(v)
		if err != nil {
			b.t.Fatal(err)
		}
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://files"+path+"?"+query.Encode(), r)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	c, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, string(c), res.Header
}

// must is ask that reads the answer.
func must[T any](b *bench, method, path string, query url.Values, body any, header ...string) (out T) {
	b.t.Helper()
	status, c, _ := b.ask(method, path, query, body, header...)
	if status != 200 {
		b.t.Fatalf("%s %s: %d %s", method, path, status, c)
	}
	if err := json.Unmarshal([]byte(c), &out); err != nil {
		b.t.Fatalf("%s %s: %q: %v", method, path, c, err)
	}
	return out
}

func path(p files.Path) url.Values { return url.Values{"path": {p.String()}} }

// A file's life over the socket, with a name that is no text.
func TestOverTheSocket(t *testing.T) {
	b := newBench(t)
	name := files.Path("caf\xe9\n100%")
	if h := must[filesapi.Health](b, "GET", filesapi.PathHealth, nil, nil); h.Version != "test" {
		t.Errorf("%+v", h)
	}
	must[files.Entry](b, "POST", filesapi.PathFolders, nil, filesapi.Folder{Path: "a/b", Parents: true})
	e := must[files.Entry](b, "PUT", filesapi.PathContent, path("a/"+name), "0123456789", "If-None-Match", "*")
	if e.Name != name || e.Size != 10 || e.ETag == "" {
		t.Errorf("%+v", e)
	}
	if status, c, _ := b.ask("PUT", filesapi.PathContent, path("a/"+name), "x", "If-Match", `"other"`); status != 409 || !strings.Contains(c, "file_changed") {
		t.Errorf("%d %s", status, c)
	}
	e = must[files.Entry](b, "PUT", filesapi.PathContent, path("a/"+name), "9876543210", "If-Match", e.ETag)
	status, c, h := b.ask("GET", filesapi.PathContent, path("a/"+name), nil, "Range", "bytes=1-3", "If-Range", e.ETag)
	if status != 206 || c != "876" || h.Get("ETag") != e.ETag || h.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d %q %v", status, c, h)
	}
	q := path("a")
	q.Set("folders_first", "true")
	if l := must[files.Listing](b, "GET", filesapi.PathList, q, nil); len(l.Entries) != 2 || l.Entries[1].Path != "a/"+name {
		t.Errorf("%+v", l)
	}
	must[files.Copied](b, "POST", filesapi.PathCopy, nil, filesapi.Copy{From: "a", To: "c"})
	must[files.Moved](b, "POST", filesapi.PathMove, nil, filesapi.Move{From: "c", To: "d"})
	must[files.Entry](b, "POST", filesapi.PathMode, nil, filesapi.Mode{Path: "d", Mode: 0o700})
	if e := must[files.Entry](b, "POST", filesapi.PathLinks, nil, filesapi.Link{Target: []byte("caf\xe9"), Path: "l"}); e.Target != "caf\xe9" {
		t.Errorf("%+v", e)
	}
	item := must[files.Trashed](b, "POST", filesapi.PathTrash, nil, filesapi.Named{Path: "d"})
	if list := must[[]files.Trashed](b, "GET", filesapi.PathTrash, nil, nil); len(list) != 1 || list[0].ID != item.ID {
		t.Errorf("%+v", list)
	}
	must[files.Entry](b, "POST", filesapi.PathRestore, nil, filesapi.Restore{ID: item.ID})
	if status, _, _ := b.ask("DELETE", filesapi.PathFiles, path("d"), nil); status != 204 {
		t.Errorf("%d", status)
	}
	if status, c, _ := b.ask("GET", filesapi.PathStat, path("d"), nil); status != 404 || !strings.Contains(c, "no_file") {
		t.Errorf("%d %s", status, c)
	}
}

func TestSearchOverTheSocket(t *testing.T) {
	b := newBench(t)
	for i := range 3 {
		if err := os.WriteFile(fmt.Sprintf("%s/f%d", b.dir, i), []byte("a\nneedle\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, c, _ := b.ask("POST", filesapi.PathSearch, nil, filesapi.Search{Content: true, Text: "needle", Limit: 2})
	lines := strings.Split(strings.TrimSpace(c), "\n")
	var last filesapi.Found
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 3 || last.Done == nil || last.Done.Cut != "matches" {
		t.Errorf("%q %v", lines, err)
	}
	if _, c, _ = b.ask("POST", filesapi.PathSearch, nil, filesapi.Search{Text: "(", Regexp: true}); !strings.Contains(c, `"failure":{"code":"bad_query"`) {
		t.Error(c)
	}
}

// cutWriter is a client's side that ends the request at the first byte.
type cutWriter struct {
	http.ResponseWriter
	cut func()
}

func (w cutWriter) Write(b []byte) (int, error) {
	w.cut()
	return w.ResponseWriter.Write(b)
}

// An archive that fails after its first byte is cut off: whoever reads it must not
// take a part for the whole.
func TestArchiveIsCutOff(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, i), make([]byte, 100_000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	home, err := files.Open(dir, files.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("the archive ended with %v", got)
		}
	}()
	r := httptest.NewRequestWithContext(ctx, "GET", filesapi.PathArchive+"?path=.&format=zip", nil)
	Handler(home, filesapi.Health{}, slog.New(slog.DiscardHandler)).ServeHTTP(cutWriter{httptest.NewRecorder(), cancel}, r)
}

// An archive is followed by what it has.
func TestArchiveOverTheSocket(t *testing.T) {
	b := newBench(t)
	if err := os.WriteFile(b.dir+"/f", []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	res, err := b.client.Get("http://files" + filesapi.PathArchive + "?path=.&format=zip")
	if err != nil {
		t.Fatal(err)
	}
	c, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || !bytes.HasPrefix(c, []byte("PK")) || !strings.Contains(res.Trailer.Get(filesapi.TrailerPacked), `"files":1`) {
		t.Errorf("%d bytes, %v, %v", len(c), res.Trailer, err)
	}
	if status, _, _ := b.ask("GET", filesapi.PathArchive, url.Values{"path": {"none"}, "format": {"zip"}}, nil); status != 404 {
		t.Errorf("%d", status)
	}
	// HEAD packs nothing.
	home, err := files.Open(b.dir, files.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	rec := httptest.NewRecorder()
	Handler(home, filesapi.Health{}, slog.New(slog.DiscardHandler)).ServeHTTP(rec, httptest.NewRequest("HEAD", filesapi.PathArchive+"?path=.&format=zip", nil))
	if rec.Code != 200 || rec.Body.Len() > 0 {
		t.Errorf("HEAD: %d, %d bytes were packed", rec.Code, rec.Body.Len())
	}
}

func TestAbuse24_OverTheSocket(t *testing.T) {
	b := newBench(t)
	for _, p := range []string{"..", "%2e%2e", "../x", "/etc/passwd", "a%00", "%", "a/%2E%2e/b"} {
		q := url.Values{"path": {p}, "id": {p}, "format": {"zip"}}
		for _, ask := range [][2]string{{"GET", filesapi.PathStat}, {"GET", filesapi.PathList}, {"GET", filesapi.PathContent}, {"PUT", filesapi.PathContent},
			{"DELETE", filesapi.PathFiles}, {"DELETE", filesapi.PathTrash}, {"GET", filesapi.PathArchive}} {
			if status, c, _ := b.ask(ask[0], ask[1], q, nil); status != 400 {
				t.Errorf("%s %s %q: %d %s", ask[0], ask[1], p, status, c)
			}
		}
		for _, route := range []string{filesapi.PathFolders, filesapi.PathMode, filesapi.PathTrash, filesapi.PathSearch} {
			body := fmt.Sprintf(`{"path":%q}`, p)
			if status, c, _ := b.ask("POST", route, nil, body); status != 400 {
				t.Errorf("%s %q: %d %s", route, p, status, c)
			}
		}
	}
	for _, body := range []string{"", "{", `{"path":1}`, `{"nothing":"x"}`, `[]`} {
		if status, c, _ := b.ask("POST", filesapi.PathTrash, nil, body); status != 400 {
			t.Errorf("%q: %d %s", body, status, c)
		}
	}
}
