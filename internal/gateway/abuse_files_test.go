package gateway

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"staithe/internal/auth"
)

// fileOps is every operation on files, with a path or id put into it.
func fileOps(t *testing.T, b *bench) []operation {
	t.Helper()
	var out []operation
	for _, op := range operations(t, b) {
		if strings.HasPrefix(op.path, filesAt) {
			out = append(out, op)
		}
	}
	if len(out) < 16 {
		t.Fatalf("only %d operations on files", len(out))
	}
	return out
}

// try does an operation on a path, in the query and in the body.
func (op operation) try(br *browser, path string) reply {
	br.b.t.Helper()
	q := url.Values{"path": {path}, "id": {path}, "format": {"zip"}}
	var body any
	if op.schema != nil {
		body = op.sample(map[string]string{"path": path, "from": path, "to": path, "id": path, "target": "eA==", "text": "x"})
		if m := body.(map[string]any); strings.HasSuffix(op.path, "/hash") {
			m["paths"] = []string{path}
		}
	}
	if op.method == http.MethodPut {
		body = "content"
	}
	return br.do(op.method, op.path+"?"+q.Encode(), body)
}

// Paths that lead outside, or are none, on every route: refused with a reason, and
// nothing is made anywhere.
func TestAbuse24_PathsOnEveryRoute(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	root.must(200, "GET", filesAt, nil)
	outside := filepath.Join(f.dir, "homes", "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := tree(t, f.dir)
	tried := 0
	for _, op := range fileOps(t, b) {
		if !op.namesFile() {
			continue
		}
		for _, p := range []string{"..", "../outside", "%2e%2e/outside", "a/../../outside", "..%2Foutside", "%2E%2E", "/etc/passwd", "//etc/passwd", outside, "a%00", "a\x00b", "%", "%zz", "a//b", "./a",
			strings.Repeat("n", 256), strings.Repeat("d/", 2500) + "x", ".."} {
			r := op.try(root, p)
			if r.StatusCode != 400 && r.StatusCode != 422 && !(strings.HasSuffix(op.path, "/hash") && r.StatusCode == 200) || strings.Contains(string(r.body), "secret") {
				t.Errorf("%s %s %.40q: %d %s", op.method, op.path, p, r.StatusCode, r.body)
			}
			tried++
		}
	}
	// Encoded once more in the URL, it is a name with percent signs, or none at all.
	for _, raw := range []string{"%252e%252e%252foutside", "..%252foutside", "%2e%2e%2foutside", "%00", "..%5coutside"} {
		for _, route := range []string{"/content", "/stat", ""} {
			if r := root.do("GET", filesAt+route+"?path="+raw, nil); r.StatusCode < 400 || strings.Contains(string(r.body), "secret") {
				t.Errorf("%s: %d %s", raw, r.StatusCode, r.body)
			}
		}
	}
	for _, raw := range []string{"/../outside", "/content/../../outside", "/%2e%2e/outside", "/content/etc/passwd"} {
		if r := root.do("GET", filesAt+raw, nil); r.StatusCode == 200 && strings.Contains(string(r.body), "secret") {
			t.Errorf("%s: %d %s", raw, r.StatusCode, r.body)
		}
	}
	if after := tree(t, f.dir); after != before || tried < 200 {
		t.Errorf("%d tries; before %s\nafter %s", tried, before, after)
	}
}

// namesFile says whether an operation takes a path or an id.
func (op operation) namesFile() bool {
	return !(op.method == http.MethodGet && strings.HasSuffix(op.path, "/trash"))
}

// tree lists all below a folder, but what the store and the helpers have there.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(filepath.Join(dir, "homes"), func(path string, d os.DirEntry, err error) error {
		fmt.Fprintln(&out, path, d.Type())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Nobody, and no token of another scope, has files; another user's are not
// reachable, as nobody can name them.
func TestAbuse06_FilesNeedTheirScope(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	ada, bob := b.member(root, "ada"), b.member(root, "bob")
	ada.put("secret", "ada's")
	narrow, _ := ada.token(auth.ScopeSessions, auth.ScopeTerminal)
	files, _ := ada.token(auth.ScopeFiles)
	whole, _ := ada.token("*")
	for _, op := range fileOps(t, b) {
		if r := op.try(b.browser(), "secret"); r.StatusCode != 401 {
			t.Errorf("nobody: %s %s: %d", op.method, op.path, r.StatusCode)
		}
		if r := op.try(narrow, "secret"); r.StatusCode != 403 || r.code() != "insufficient_scope" {
			t.Errorf("another scope: %s %s: %d %s", op.method, op.path, r.StatusCode, r.body)
		}
		if strings.HasSuffix(op.path, "/watch") {
			continue // for bob it is his own, and does not end; TestAbuse24_WatchOnlyTheOwnHome has it
		}
		if r := op.try(bob, "secret"); strings.Contains(string(r.body), "ada's") {
			t.Errorf("bob: %s %s: %d %s", op.method, op.path, r.StatusCode, r.body)
		}
	}
	for _, br := range []*browser{files, whole, ada} {
		if r := br.must(200, "GET", filesAt+"/content"+at("secret"), nil); string(r.body) != "ada's" {
			t.Errorf("%q", r.body)
		}
	}
	if b, err := os.ReadFile(filepath.Join(f.home(ada.user.ID), "secret")); err != nil || string(b) != "ada's" {
		t.Errorf("%q %v", b, err)
	}
	// And the scope opens nothing else.
	for _, c := range []struct {
		method, path string
		body         any
	}{{"POST", "/api/v1/sessions", map[string]any{"name": "x"}}, {"POST", "/api/v1/sessions/main/wake", nil}, {"GET", "/api/v1/sessions/main/tabs", nil},
		{"GET", "/api/v1/tokens", nil}, {"POST", "/api/v1/sessions/main/tickets", map[string]any{"scope": "terminal"}}, {"GET", "/api/v1/users", nil}} {
		if r := files.do(c.method, c.path, c.body); r.StatusCode != 403 {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.StatusCode, r.body)
		}
	}
}

// Another site's page can neither write nor delete, also where no preflight stands
// in the way.
func TestAbuse12_FilesFromAnotherSite(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	root.put("kept", "kept")
	for _, h := range [][2]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "null"}} {
		for _, op := range fileOps(t, b) {
			if op.method == http.MethodGet {
				continue
			}
			br := &browser{b: b, http: root.http, header: http.Header{h[0]: {h[1]}}}
			if r := op.try(br, "kept"); r.StatusCode != 403 {
				t.Errorf("%s %s with %s: %d %s", op.method, op.path, h, r.StatusCode, r.body)
			}
		}
		if r := root.put("made", "x", h[0], h[1], "Content-Type", "text/plain"); r.StatusCode != 403 {
			t.Errorf("%s: %d", h, r.StatusCode)
		}
	}
	if b, err := os.ReadFile(filepath.Join(f.home(root.user.ID), "kept")); err != nil || string(b) != "kept" {
		t.Errorf("%q %v", b, err)
	}
}

// Whatever a file is called and holds, a download is one: an attachment that no
// browser takes for a page of ours, under a name that is only a name.
func TestAbuse28_DownloadsAreNoPages(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	names := []string{"page.html", "i.svg", "x.js", "$(touch pwned)", "-rf", "new\nline\r\nSet-Cookie: a=b", "\x1b]0;title\x07", `q"; filename="evil.exe`, "ü ünï 漢字.txt",
		"\xff\xfe", "\u202etxt.exe", "a;b", "%41", "con.", `back\slash`, "...", "sp ace", strings.Repeat("é", 127)}
	for _, name := range names {
		if err := os.MkdirAll(f.home(root.user.ID), 0o700); err != nil {
			t.Fatal(err)
		}
		root.must(200, "GET", filesAt, nil)
		if err := os.WriteFile(filepath.Join(f.home(root.user.ID), name), []byte("<html><script>alert(1)</script>"), 0o644); err != nil {
			t.Fatal(err)
		}
		p := percent(name)
		for _, url := range []string{"/content" + at(p), "/archive" + at(".", "format", "zip")} {
			r := root.must(200, "GET", filesAt+url, nil)
			kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
			if err != nil || kind != "attachment" || params["filename"] == "" || strings.ContainsAny(params["filename"], "/\\\r\n\x1b\x00\u202e") {
				t.Errorf("%q: %q %v %v", name, r.Header.Get("Content-Disposition"), params, err)
			}
			for header, want := range map[string]string{"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
				"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "no-store", "Set-Cookie": "", "X-Frame-Options": "DENY"} {
				if got := strings.Join(r.Header.Values(header), "|"); got != want {
					t.Errorf("%q: %s: %q", name, header, got)
				}
			}
		}
	}
	r := root.must(200, "GET", filesAt+"?limit=10000", nil)
	if strings.ContainsAny(string(r.body), "\x1b\x07\u202e") || strings.Contains(string(r.body), `\u001b`) {
		t.Errorf("the list has control characters: %q", r.body)
	}
	if log := b.log.String(); strings.Contains(log, "pwned") || strings.ContainsAny(log, "\x1b\x07\u202e") {
		t.Error("names are in the log")
	}
}

// percent is a name in percent form.
func percent(name string) string {
	var out strings.Builder
	for _, c := range []byte(name) {
		if c == '%' || c < 0x20 || c >= 0x7f {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

func FuzzDisposition(f *testing.F) {
	for _, s := range []string{"a.txt", "", "..", "q\"; x=\"", "\xff\n\x00", "ü%41'漢"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		d := disposition(name)
		kind, params, err := mime.ParseMediaType(d)
		if err != nil || kind != "attachment" || len(params) != 1 || params["filename"] != harmlessName(name) {
			t.Errorf("%q: %q %v %v", name, d, params, err)
		}
		for i := range len(d) {
			if d[i] < 0x20 || d[i] >= 0x7f {
				t.Errorf("%q: %q", name, d)
			}
		}
	})
}

// raw sends the beginning of a PUT and gives the connection.
func rawPut(t *testing.T, b *bench, br *browser, path, headers, body string) net.Conn {
	t.Helper()
	host := strings.TrimPrefix(b.base, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "PUT %s/content%s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n%s\r\n\r\n%s", filesAt, at(path), host, br.header.Get("Authorization"), headers, body)
	return conn
}

// staged counts what is half made in a home.
func (f *testFiles) staged(br *browser) int {
	list, _ := os.ReadDir(filepath.Join(f.home(br.user.ID), ".local/share/staithe/staging")) // none yet: none staged
	return len(list)
}

// A write that is cut off, with and without a length, leaves what was there, and
// nothing half.
func TestAbuse28_CutWriteLeavesNothing(t *testing.T) {
	b, f := newFilesBench(t)
	root, _ := b.admin().token("*")
	root.put("f", "old")
	for _, headers := range []string{"Content-Length: 1000000", "Transfer-Encoding: chunked"} {
		body := strings.Repeat("x", 100_000)
		if strings.HasPrefix(headers, "T") {
			body = "186a0\r\n" + body + "\r\n"
		}
		for _, path := range []string{"f", "new"} {
			conn := rawPut(t, b, root, path, headers, body)
			until(t, "the write has begun", func() bool { return f.staged(root) == 1 })
			conn.Close()
			until(t, "what was half made is removed", func() bool { return f.staged(root) == 0 })
		}
	}
	if got, err := os.ReadFile(filepath.Join(f.home(root.user.ID), "f")); err != nil || string(got) != "old" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := os.Lstat(filepath.Join(f.home(root.user.ID), "new")); err == nil {
		t.Error("a half file has its name")
	}
}

// A body that stops coming is given up after a while, and one that only comes
// slowly is not, however long it takes in all.
func TestAbuse28_StalledWriteEnds(t *testing.T) {
	b, f := newFilesBench(t, withTiming(func(tm *timing) { tm.stall, tm.body = 2*time.Second, 2*time.Second }))
	root, _ := b.admin().token("*")
	conn := rawPut(t, b, root, "f", "Content-Length: 10", "12345")
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 408 {
		t.Fatalf("%v %v", res, err)
	}
	slow, feed := io.Pipe()
	go func() {
		for range 10 {
			if _, err := feed.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(250 * time.Millisecond) // the slowness that is tested: in all, longer than either time
		}
		feed.Close()
	}()
	req, err := http.NewRequest(http.MethodPut, b.base+filesAt+"/content"+at("slow"), slow)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = root.header
	out, err := root.http.Do(req)
	if err != nil || out.StatusCode != 200 {
		t.Fatalf("%v %v", out, err)
	}
	out.Body.Close()
	if got, err := os.ReadFile(filepath.Join(f.home(root.user.ID), "slow")); err != nil || len(got) != 10 {
		t.Errorf("%q %v", got, err)
	}
	if _, err := os.Lstat(filepath.Join(f.home(root.user.ID), "f")); err == nil {
		t.Error("a half file has its name")
	}
}

// Streams end when the right they were begun with does.
func TestAbuse11_FileStreamsEndWithTheRight(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	ada, id := root.token(auth.ScopeFiles)
	writing := rawPut(t, b, ada, "f", "Content-Length: 1000000", "12345")
	until(t, "the write has begun", func() bool { return f.staged(root) == 1 })
	// A download that its reader does not take.
	if err := os.WriteFile(filepath.Join(f.home(root.user.ID), "big"), make([]byte, 64<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(b.base, "http://")
	reading, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	fmt.Fprintf(reading, "GET %s/content?path=big HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n\r\n", filesAt, host, ada.header.Get("Authorization"))
	if _, err := io.ReadFull(reading, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	root.must(204, "DELETE", "/api/v1/tokens/"+id, nil)
	for name, conn := range map[string]net.Conn{"write": writing, "read": reading} {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, conn)
		if err != nil && !strings.Contains(err.Error(), "reset") || n >= 64<<20 {
			t.Errorf("the %s went on: %d bytes, %v", name, n, err)
		}
	}
	until(t, "what was half made is removed", func() bool { return f.staged(root) == 0 })
}

// Another user's uploads are not there.
func TestAbuse10_AnotherUsersUploads(t *testing.T) {
	b, f := newFilesBench(t)
	root := b.admin()
	ada, bob := b.member(root, "ada"), b.member(root, "bob")
	r := ada.tus("POST", uploadsAt, strings.NewReader("12345"), 5, "Upload-Length", "10", "Upload-Metadata", uploadTo("x"))
	if r.StatusCode != 201 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	at := strings.TrimPrefix(r.Header.Get("Location"), b.base)
	narrow, _ := ada.token(auth.ScopeSessions, auth.ScopeTerminal)
	for _, c := range []struct {
		br   *browser
		want int
	}{{bob, 404}, {root, 404}, {narrow, 403}, {b.browser(), 401}} {
		for _, method := range []string{"HEAD", "PATCH", "DELETE"} {
			body, length := io.Reader(nil), int64(0)
			if method == "PATCH" {
				body, length = strings.NewReader("evil!"), 5
			}
			if r := c.br.tus(method, at, body, length, "Upload-Offset", "5"); r.StatusCode != c.want {
				t.Errorf("%s by another: %d %s, want %d", method, r.StatusCode, r.body, c.want)
			}
		}
	}
	if r := ada.tus("HEAD", at, nil, 0); r.StatusCode != 200 || r.Header.Get("Upload-Offset") != "5" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	if r := ada.tus("PATCH", at, strings.NewReader("67890"), 5, "Upload-Offset", "5"); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if got, err := os.ReadFile(filepath.Join(f.home(ada.user.ID), "x")); err != nil || string(got) != "1234567890" {
		t.Errorf("%q %v", got, err)
	}
}
