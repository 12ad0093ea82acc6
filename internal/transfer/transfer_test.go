package transfer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"staithe/internal/files"
)

// hostile is a server that answers as it likes.
func hostile(t *testing.T, answer http.HandlerFunc) *Job {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	c := New(s.URL, "token")
	c.Patience = 200 * time.Millisecond
	var j Job
	j.Client, j.Warn = c, func(line string) {
		if strings.ContainsFunc(line, Controls) {
			t.Errorf("a terminal would obey %q", line)
		}
	}
	return &j
}

// entry is an entry as JSON, whatever its name is.
func entry(name, kind string, more string) string {
	n, _ := json.Marshal(name)
	return fmt.Sprintf(`{"path":%s,"name":%s,"kind":%q,"size":4,"mode":420,"mtime":"2020-01-01T00:00:00Z"%s}`, n, n, kind, more)
}

// A server that names files .., with slashes, or as absolute paths writes nothing
// outside of the target, nor through a link that it had made before.
func TestAbuse24_AServersNames(t *testing.T) {
	top := t.TempDir()
	outside := filepath.Join(top, "outside")
	if err := os.MkdirAll(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, list := range [][]string{
		{entry("..", "folder", "")}, {entry("../outside/x", "file", "")}, {entry("/outside/x", "file", "")}, {entry(outside+"/x", "file", "")},
		{entry("a/../../outside/x", "file", "")}, {entry("a%2F..%2F..%2Foutside%2Fx", "file", "")}, {entry("%2E%2E", "file", "")}, {entry("", "file", "")},
		{entry("x%00", "file", "")},
		{entry("l", "symlink", `,"target":"../outside"`), entry("l", "folder", "")},
		{entry("l", "symlink", `,"target":`+fmt.Sprintf("%q", outside)), entry("l/x", "file", "")},
		{entry("l", "symlink", `,"target":"../outside/x"`), entry("l", "file", "")},
	} {
		j := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			p := r.URL.Query().Get("path")
			switch {
			case strings.HasSuffix(r.URL.Path, "/stat"):
				fmt.Fprint(w, entry("t", "folder", ""))
			case strings.HasSuffix(r.URL.Path, "/content"):
				w.Header().Set("ETag", `"1"`)
				http.ServeContent(w, r, "", time.Now(), strings.NewReader("evil"))
			case p == "t":
				fmt.Fprintf(w, `{"entries":[%s],"total":1}`, strings.Join(list, ","))
			default:
				fmt.Fprintf(w, `{"entries":[%s],"total":1}`, entry("x", "file", ""))
			}
		})
		target := filepath.Join(top, "target")
		err := j.DownloadTree(t.Context(), "t", target)
		_ = os.RemoveAll(target)
		if left, rerr := os.ReadDir(outside); rerr != nil || len(left) > 0 {
			t.Errorf("%d: %v was written outside (%v)", i, left, err)
		}
		if left, rerr := os.ReadDir(top); rerr != nil || len(left) != 1 {
			t.Errorf("%d: %v", i, left)
		}
	}
}

// What is here already and leads outside is not followed either.
func TestAbuse24_LinksInTheTarget(t *testing.T) {
	top := t.TempDir()
	outside, target := filepath.Join(top, "outside"), filepath.Join(top, "target")
	for _, d := range []string{outside, target} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside+"/x", []byte("safe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, l := range [][2]string{{outside, "d"}, {outside + "/x", "f"}} {
		if err := os.Symlink(l[0], filepath.Join(target, l[1])); err != nil {
			t.Fatal(err)
		}
	}
	j := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/stat"):
			fmt.Fprint(w, entry("t", "folder", ""))
		case strings.HasSuffix(r.URL.Path, "/content"):
			w.Header().Set("ETag", `"1"`)
			http.ServeContent(w, r, "", time.Now(), strings.NewReader("evil"))
		case r.URL.Query().Get("path") == "t":
			fmt.Fprintf(w, `{"entries":[%s,%s]}`, entry("d", "folder", ""), entry("f", "file", ""))
		default:
			fmt.Fprintf(w, `{"entries":[%s]}`, entry("x", "file", ""))
		}
	})
	if err := j.DownloadTree(t.Context(), "t", target); err == nil {
		t.Error("a folder in a link's place was made")
	}
	if c, err := os.ReadFile(outside + "/x"); err != nil || string(c) != "safe" {
		t.Errorf("%q %v", c, err)
	}
	if c, err := os.ReadFile(target + "/f"); err != nil || string(c) != "evil" {
		t.Errorf("the link was not replaced: %q %v", c, err)
	}
}

// What a server says reaches the terminal without anything that it would obey.
func TestAbuse27_AServersSentences(t *testing.T) {
	j := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(404)
		fmt.Fprint(w, `{"code":"no_file","detail":"There is \u001b]0;pwned\u0007no file\n\u202e."}`)
	})
	err := j.DownloadFile(t.Context(), "x", filepath.Join(t.TempDir(), "x"))
	if err == nil || strings.ContainsFunc(said(err), Controls) {
		t.Errorf("%q", said(err))
	}
}

// A download that is cut off again and again ends whole, and one of a file that
// changes meanwhile is of one content.
func TestDownloadGoesOn(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	requests, etag := 0, `"1"`
	j := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/stat") {
			fmt.Fprintf(w, `{"path":"f","name":"f","kind":"file","size":%d,"mode":384,"mtime":"2020-01-01T00:00:00.000000007Z"}`, len(content))
			return
		}
		requests++
		if requests == 3 { // another content of the same length
			content, etag = bytes.ToUpper(content), `"2"`
		}
		w.Header().Set("ETag", etag)
		http.ServeContent(&cut{ResponseWriter: w, left: 700_000}, r, "", time.Now(), bytes.NewReader(content))
	})
	dir := t.TempDir()
	if err := j.DownloadFile(t.Context(), "f", dir+"/f"); err != nil {
		t.Fatal(err)
	}
	c, err := os.ReadFile(dir + "/f")
	if err != nil || !bytes.Equal(c, content) || requests < 7 {
		t.Errorf("%d bytes of %d in %d requests: %v", len(c), len(content), requests, err)
	}
	info, err := os.Stat(dir + "/f")
	if err != nil || info.Mode() != 0o600 || info.ModTime().Nanosecond() != 7 {
		t.Errorf("%v %v", info, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v %v", left, err)
	}
}

// A file that is written while it is fetched is fetched anew: it could be half the
// old and half the new one. One that never rests is refused.
func TestDownloadOfAFileThatIsWritten(t *testing.T) {
	for _, often := range []int{1, 100} {
		whole, version := 0, 1
		of := func() string { return strings.Repeat(fmt.Sprintf("version %03d,", version), 10_000) }
		j := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/stat") {
				fmt.Fprintf(w, `{"path":"f","name":"f","kind":"file","size":%d,"mode":384,"mtime":"2020-01-01T00:00:00Z"}`, len(of()))
				return
			}
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, version))
			if r.Header.Get("Range") != "" {
				http.ServeContent(w, r, "", time.Now(), strings.NewReader(of()))
				return
			}
			old := of()
			if whole++; whole <= often {
				version++ // while it is read
			}
			http.ServeContent(w, r, "", time.Now(), strings.NewReader(old[:len(old)/2]+of()[len(old)/2:]))
		})
		dst := t.TempDir() + "/f"
		err := j.DownloadFile(t.Context(), "f", dst)
		got, rerr := os.ReadFile(dst)
		if often == 1 && (err != nil || rerr != nil || string(got) != of()) {
			t.Errorf("%v %v, %.20q", err, rerr, got)
		}
		if often > 1 && (code(err) != "file_changed" || rerr == nil) {
			t.Errorf("it never rests: %v, %d bytes", err, len(got))
		}
	}
}

// cut breaks the connection after so many bytes.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush() // what was sent arrives
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// ReadFrom hides the real one's, which would not be cut.
func (c *cut) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{c}, r) }

// A shell takes back what Quote writes, whatever the name is.
func TestQuote(t *testing.T) {
	for _, name := range []string{"plain", "with space", "it's", "$(touch pwned)", "-rf", "a\nb", "\x1b[31mred", "caf\xe9", "é\u202eb", `back\slash` + "\n", "~", "", "%41", "\x7f7"} {
		q := Quote(name)
		if strings.ContainsFunc(q, Controls) {
			t.Errorf("a terminal would obey %q", q)
		}
		out, err := exec.Command("bash", "-c", "printf %s "+q).Output()
		if err != nil || string(out) != name && name != "-rf" {
			t.Errorf("%q is %s, and read %q: %v", name, q, out, err)
		}
	}
}

func FuzzQuote(f *testing.F) {
	f.Add("a\x1b'b\\\n")
	f.Fuzz(func(t *testing.T, name string) {
		if q := Quote(name); strings.ContainsFunc(q, Controls) {
			t.Errorf("%q", q)
		}
		if s := Inert(name); strings.ContainsFunc(s, Controls) {
			t.Errorf("%q", s)
		}
	})
}

func TestProgressIsOneLine(t *testing.T) {
	p := &Progress{out: io.Discard}
	p.Expect(3, 5_000_000)
	at, done := p.One(strings.Repeat("folder\x1b/", 30)+"name", 2_000_000)
	at(500_000)
	for _, want := range []string{"500 kB of 5 MB", "0 of 3 files", "1 MB/s", "4s left", "name"} {
		if got := p.line(1e6); !strings.Contains(got, want) || len([]rune(got)) > 78 || strings.ContainsFunc(got, Controls) {
			t.Errorf("%q has no %q, or is %d wide", got, want, len([]rune(got)))
		}
	}
	at(0) // sent again
	done()
	p.Note("connection lost")
	if got := p.line(0); !strings.Contains(got, "2 MB of 5 MB, 1 of 3 files  connection lost") {
		t.Errorf("%q", got)
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 1536: "1.54 kB", 999_400: "999 kB", 999_600: "1 MB", 1 << 40: "1.1 TB"} {
		if got := Size(n); got != want {
			t.Errorf("%d is %s, not %s", n, got, want)
		}
	}
}

func TestInto(t *testing.T) {
	for _, c := range []struct {
		dst    string
		folder bool
		name   string
		want   files.Path
	}{{".", true, "a", "a"}, {"d", true, "a", "d/a"}, {"d", false, "a", "d"}, {"d/", false, "a", "d"}, {"d", true, ".", "d"}} {
		if got := Into(c.dst, c.folder, c.name); got != string(c.want) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
