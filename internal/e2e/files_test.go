package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"staithe/internal/files"
	"staithe/internal/hostproc"
	"staithe/internal/station"
)

// file sends a request about a file: query is pairs, after the path.
func (c *client) file(method, op, path string, body io.Reader, query ...string) (int, []byte, error) {
	q := url.Values{"path": {path}}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	req, err := http.NewRequest(method, c.s.base+"/api/v1/workstation/files"+op+"?"+q.Encode(), body)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.bearer)
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// put writes a file, which has to work.
func (c *client) put(path, content string) {
	c.s.t.Helper()
	if status, b, err := c.file("PUT", "/content", path, strings.NewReader(content)); status != 200 {
		c.s.t.Fatalf("put %s: %d %s %v", path, status, b, err)
	}
}

// read reads a file, which has to be there.
func (c *client) read(path string) string {
	c.s.t.Helper()
	status, b, err := c.file("GET", "/content", path, nil)
	if status != 200 {
		c.s.t.Fatalf("read %s: %d %s %v", path, status, b, err)
	}
	return string(b)
}

// helpers are the files helpers that run.
func (s *server) helpers() []hostproc.Process {
	s.t.Helper()
	records, err := filepath.Glob(filepath.Join(s.data, "files", "*", "record.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var out []hostproc.Process
	for _, path := range records {
		if rec, err := hostproc.ReadRecord[hostproc.Process](path); err == nil && rec.Alive() {
			out = append(out, rec)
		}
	}
	return out
}

// helperLogs is what the files helpers said.
func (s *server) helperLogs() (said string) {
	s.t.Helper()
	logs, err := filepath.Glob(filepath.Join(s.data, "files", "*", "files.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range logs {
		b, err := os.ReadFile(l)
		if err != nil {
			s.t.Fatal(err)
		}
		said += string(b)
	}
	return said
}

// Files are there while no session runs and before one ever has; a killed gateway
// finds its helper again, a killed helper is replaced, and one whose user is
// deleted ends.
func TestFilesAtAnyTime(t *testing.T) {
	s := serve(t)
	root := s.bearer(s.token)
	root.must(200, "POST", "/sessions/main/sleep?stop=true", nil, nil)
	root.put("f", "one")
	if got := root.read("f"); got != "one" {
		t.Errorf("%q", got)
	}
	s.kill()
	s.again()
	if got := root.read("f"); got != "one" || len(s.helpers()) != 1 {
		t.Errorf("%q, %d helpers", got, len(s.helpers()))
	}
	if err := s.helpers()[0].End(0, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	root.put("f", "two")
	if out := shellOutput(t, s, "main", "cat f; stat -c ' %U %a' f; echo three > f; touch .hidden"); out != "two dev 644\n" && out != "two ada 644\n" {
		t.Errorf("%q", out)
	}
	if got := root.read("f"); got != "three\n" {
		t.Errorf("%q", got)
	}
	var user station.User
	root.must(201, "POST", "/users", map[string]any{"username": "bob", "password": password}, &user)
	bob := s.client()
	bob.must(200, "POST", "/login", map[string]any{"username": "bob", "password": password}, nil)
	var list files.Listing
	bob.must(200, "GET", "/workstation/files", nil, &list)
	bob.must(404, "GET", "/workstation/files/content?path=f", nil, nil)
	if n := len(s.helpers()); n != 2 {
		t.Errorf("%d helpers", n)
	}
	root.must(204, "DELETE", "/users/"+string(user.ID), nil, nil)
	if n := len(s.helpers()); n != 1 {
		t.Errorf("%d helpers, after a user was deleted", n)
	}
	bob.must(401, "GET", "/workstation/files", nil, nil)
}

// canary is a folder of the host beside the homes, with a secret in it.
func canary(t *testing.T, s *server) (dir string, intact func()) {
	t.Helper()
	dir = filepath.Join(s.data, "canary")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil { // whoever gets here may do anything
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("canary secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		t.Helper()
		names, err := os.ReadDir(dir)
		got, rerr := os.ReadFile(filepath.Join(dir, "f"))
		if err != nil || rerr != nil || len(names) != 1 || string(got) != "canary secret" {
			t.Errorf("the outside was touched: %v %q %v %v", names, got, err, rerr)
		}
	}
}

// While a folder of the home becomes a link to the outside and a folder again, all
// the time, every operation goes through it: none reads or writes outside.
func TestAbuse24_LinkRacesOverHTTP(t *testing.T) {
	s := serve(t)
	c := s.bearer(s.token)
	for _, dir := range []string{"real", "d"} {
		c.must(201, "POST", "/workstation/files/folders", map[string]any{"path": dir}, nil)
		c.put(dir+"/f", "inside")
	}
	outside, intact := canary(t, s)
	home := s.home()
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		at, spare := filepath.Join(home, "d"), filepath.Join(home, "spare")
		targets := []string{outside, "../../canary", "/", "/home/ada/../../" + outside}
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if os.Rename(at, spare) == nil && os.Symlink(targets[n%len(targets)], at) == nil { // else it is used this moment
				_ = os.Remove(at)
			}
			_ = os.Rename(spare, at) // there is nothing where one of the others failed
		}
	})
	rounds, answers := 40, map[int]int{}
	var asked atomic.Int64
	post := func(op string, body any) (int, []byte, error) {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		req, err := http.NewRequest("POST", s.base+"/api/v1/workstation/files"+op, strings.NewReader(string(b)))
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set("Authorization", "Bearer "+c.bearer)
		req.Header.Set("Content-Type", "application/json")
		res, err := c.http.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer res.Body.Close()
		out, err := io.ReadAll(res.Body)
		return res.StatusCode, out, err
	}
	for i := range rounds {
		for _, do := range []func() (int, []byte, error){
			func() (int, []byte, error) { return c.file("GET", "/content", "d/f", nil) },
			func() (int, []byte, error) { return c.file("GET", "", "d", nil) },
			func() (int, []byte, error) {
				return c.file("PUT", "/content", fmt.Sprint("d/w", i), strings.NewReader("x"))
			},
			func() (int, []byte, error) { return c.file("GET", "/archive", "d", nil, "format", "zip") },
			func() (int, []byte, error) {
				return post("/folders", map[string]any{"path": fmt.Sprint("d/n", i, "/m"), "parents": true})
			},
			func() (int, []byte, error) {
				return post("/copy", map[string]any{"from": "d", "to": fmt.Sprint("copy", i)})
			},
			func() (int, []byte, error) {
				return post("/copy", map[string]any{"from": "real/f", "to": fmt.Sprint("d/c", i)})
			},
			func() (int, []byte, error) { return post("/mode", map[string]any{"path": "d/f", "mode": 0o600}) },
			func() (int, []byte, error) {
				return post("/search", map[string]any{"path": "d", "text": "canary", "content": true})
			},
			func() (int, []byte, error) { return post("/trash", map[string]any{"path": "d/f"}) },
			func() (int, []byte, error) { return c.file("DELETE", "", "d/f", nil) },
			func() (int, []byte, error) { return c.file("GET", "/git", "d", nil) },
		} {
			status, b, err := do()
			if err != nil && !strings.Contains(err.Error(), "EOF") { // an archive that was cut off
				t.Error(err)
			}
			if strings.Contains(string(b), "canary secret") {
				t.Errorf("the outside was read: %d %.200s", status, b)
			}
			if status >= 500 {
				t.Errorf("%d %s", status, b)
			}
			answers[status]++
			asked.Add(1)
		}
	}
	close(stop)
	all.Wait()
	intact()
	t.Logf("%d requests: %v", asked.Load(), answers)
	if answers[200]+answers[201] < rounds {
		t.Errorf("hardly anything was let through: %v", answers)
	}
}

// Folders that the server itself writes in a home are links to the outside, or
// files, or anything: what is outside is untouched, and the rest goes on.
func TestAbuse25_ServersFoldersAreLinks(t *testing.T) {
	s := serve(t)
	c := s.bearer(s.token)
	c.put("f", "x")
	outside, intact := canary(t, s)
	home := s.home()
	for _, target := range []string{outside, "../../canary", "../../../canary", "/etc", "/", "../..", "loop"} {
		for _, dir := range []string{".local", ".local/share", ".local/share/staithe", ".local/share/staithe/staging", ".local/share/Trash", ".local/share/Trash/files", ".local/share/Trash/info", ".config"} {
			at := filepath.Join(home, dir)
			if err := os.RemoveAll(at); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, at); err != nil {
				t.Fatal(err)
			}
			for _, try := range []func() (int, []byte, error){
				func() (int, []byte, error) { return c.file("PUT", "/content", "w", strings.NewReader("y")) },
				func() (int, []byte, error) { return c.file("PUT", "/content", dir+"/f", strings.NewReader("y")) },
				func() (int, []byte, error) {
					st, b := c.do("POST", "/workstation/files/trash", map[string]any{"path": "f"})
					return st, b, nil
				},
				func() (int, []byte, error) {
					st, b := c.do("POST", "/workstation/files/copy", map[string]any{"from": "w", "to": "w2"})
					return st, b, nil
				},
			} {
				if status, b, err := try(); err != nil || status == 500 {
					t.Errorf("%s -> %s: %d %s %v", dir, target, status, b, err)
				}
			}
			if err := os.Remove(at); err != nil {
				t.Fatal(err)
			}
			c.file("DELETE", "", "w2", nil)
			c.put("f", "x")
			intact()
		}
	}
}

// Names that mean something to a shell, a screen or a protocol are names, in lists
// and logs.
func TestAbuse27_HostileNamesOverHTTP(t *testing.T) {
	s := serve(t)
	c := s.bearer(s.token)
	if out := shellOutput(t, s, "main", `mkdir n; cd n; touch -- '$(touch pwned)' -rf "$(printf 'a\nb')" "$(printf '\033]0;t\007')" "$(printf '\377')" '<img src=x onerror=alert(1)>' '..%2f' '%00'; ls -A | wc -l`); out != "9\n" {
		t.Fatalf("%q", out)
	}
	status, b, err := c.file("GET", "", "n", nil, "hidden", "true")
	var list files.Listing
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if status != 200 || err != nil || len(list.Entries) != 8 {
		t.Fatalf("%d %s %v", status, b, err)
	}
	if strings.ContainsAny(string(b), "\x1b\x07<") || strings.Contains(string(b), "\xff") || strings.Count(string(b), "\n") > 1 {
		t.Errorf("%q", b)
	}
	for _, e := range list.Entries {
		p := e.Path.String()
		if status, b, err := c.file("GET", "/stat", p, nil); status != 200 || err != nil {
			t.Errorf("%q: %d %s %v", p, status, b, err)
		}
		c.must(200, "POST", "/workstation/files/move", map[string]any{"from": p, "to": p + "2"}, nil)
		var gone files.Trashed
		c.must(200, "POST", "/workstation/files/trash", map[string]any{"path": p + "2"}, &gone)
		c.must(200, "POST", "/workstation/files/restore", map[string]any{"id": gone.ID}, nil)
		if status, b, err := c.file("DELETE", "", p+"2", nil); status != 204 || err != nil {
			t.Errorf("%q: %d %s %v", p, status, b, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(s.home(), "n", "pwned")); err == nil {
		t.Error("a name was run")
	}
	said := s.log.String() + s.helperLogs()
	if strings.ContainsAny(said, "\x1b\x07") || strings.Contains(said, "\xff") || strings.Contains(said, "touch pwned") {
		t.Error("a name is in a log as it is")
	}
}
