package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/hostproc"
	"staithe/internal/muxclient"
	"staithe/internal/muxclient/muxtest"
	"staithe/internal/sandbox/docker/servicetest"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// binary is the staithe under test, made by `make build`.
var binary string

func TestMain(m *testing.M) {
	path, err := filepath.Abs("../../bin/staithe")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: bin/staithe is missing; run `make build` first")
		os.Exit(1)
	}
	binary = path
	code := m.Run()
	servicetest.Stop()
	os.Exit(code)
}

const password = "correct horse battery"

// server is a running staithe on a data directory of its own.
type server struct {
	t     testing.TB
	data  string
	base  string // http://127.0.0.1:port
	env   []string
	token string // of the first user, "ada", once setUp

	cmd    *exec.Cmd
	output chan string // lines of standard output
	log    *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// dataDir is a directory that sandboxes may reach their homes through.
func dataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "staithe-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return dir
}

// serve starts a server with a first user, and takes all of it away at the end.
func serve(t testing.TB, env ...string) *server {
	t.Helper()
	s := &server{t: t, data: dataDir(t), env: env, log: &syncBuffer{}}
	s.start(fixedPort(t))
	t.Cleanup(s.remove)
	s.setUp()
	return s
}

// fixedPort is an address that a server may come back to. The kernel gives none
// like it to who only connects: a client that tries again and again while the
// server is down would otherwise, in the end, be connected to itself and hold
// the port.
func fixedPort(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

func (s *server) start(listen string) {
	s.t.Helper()
	s.cmd = exec.Command(binary, "serve", "--data", s.data, "--listen", listen)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.output = make(chan string, 16)
	go func() {
		defer close(s.output)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			s.output <- sc.Text()
		}
	}()
}

// line waits for a line of standard output with a prefix, and returns the rest.
func (s *server) line(prefix string) string {
	s.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case l, ok := <-s.output:
			if !ok {
				s.t.Fatalf("the server ended before it said %q; it logged:\n%s", prefix, s.log)
			}
			if rest, found := strings.CutPrefix(l, prefix); found {
				return rest
			}
		case <-deadline:
			s.t.Fatalf("the server did not say %q; it logged:\n%s", prefix, s.log)
		}
	}
}

func (s *server) setUp() {
	s.t.Helper()
	link := s.line("setup: ")
	s.base = strings.TrimSuffix(s.line("ready: "), "/")
	_, setup, _ := strings.Cut(link, "#")
	c := s.client()
	c.must(201, "POST", "/setup", map[string]any{"token": setup, "username": "ada", "password": password}, nil)
	var tok struct{ Token string }
	c.must(201, "POST", "/tokens", map[string]any{"name": "test", "scopes": []string{"*"}}, &tok)
	s.token = tok.Token
}

// kill is kill -9 of the gateway alone.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd.Wait() // "signal: killed"
}

// again starts the server anew on the same port and data.
func (s *server) again() {
	s.t.Helper()
	s.start(strings.TrimPrefix(s.base, "http://"))
	s.line("ready: ")
}

// stop asks the server to end.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the server ended with %v; it logged:\n%s", err, s.log)
	}
}

// remove deletes all sessions, which outlive their server, and stops it.
func (s *server) remove() {
	if s.cmd.ProcessState != nil {
		s.again()
	}
	if s.token != "" {
		c := s.bearer(s.token)
		var users []station.User
		c.must(200, "GET", "/users", nil, &users)
		for _, u := range users {
			if u.Name != "ada" {
				c.must(204, "DELETE", "/users/"+string(u.ID), nil, nil)
			}
		}
		var list []station.Session
		c.must(200, "GET", "/sessions", nil, &list)
		for _, v := range list {
			c.must(204, "DELETE", "/sessions/"+string(v.ID), nil, nil)
		}
	}
	s.stop()
	s.endHelpers()
	if left, err := filepath.Glob(filepath.Join(s.data, "sandboxes", "*")); err != nil || len(left) > 0 {
		s.t.Errorf("sandboxes are left: %v %v", left, err)
	}
}

// endHelpers ends the files helpers, which outlive their server for a while.
func (s *server) endHelpers() {
	s.t.Helper()
	records, err := filepath.Glob(filepath.Join(s.data, "files", "*", "record.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, path := range records {
		rec, err := hostproc.ReadRecord[hostproc.Process](path)
		if err == nil {
			err = rec.End(15*time.Second, 10*time.Second)
		}
		if err != nil {
			s.t.Errorf("a files helper: %v", err)
		}
	}
}

// client is somebody who speaks to the API.
type client struct {
	s      *server
	bearer string
	http   *http.Client
}

func (s *server) client() *client {
	jar := newJar()
	return &client{s: s, http: &http.Client{Jar: jar, Timeout: 60 * time.Second}}
}

func (s *server) bearer(token string) *client {
	return &client{s: s, bearer: token, http: &http.Client{Timeout: 60 * time.Second}}
}

// do sends a request and returns the status and the body.
func (c *client) do(method, path string, in any) (int, []byte) {
	c.s.t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			c.s.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, c.s.base+"/api/v1"+path, body)
	if err != nil {
		c.s.t.Fatal(err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.s.t.Fatal(err)
	}
	return res.StatusCode, b
}

// must wants a status and decodes the body.
func (c *client) must(status int, method, path string, in, out any) {
	c.s.t.Helper()
	got, b := c.do(method, path, in)
	if got != status {
		c.s.t.Fatalf("%s %s: %d, want %d: %s\nlog:\n%s", method, path, got, status, b, c.s.log)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			c.s.t.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
}

func (s *server) session(ref string) station.Session {
	s.t.Helper()
	var v station.Session
	s.bearer(s.token).must(200, "POST", "/sessions/"+ref+"/wake", nil, &v)
	return v
}

// mux connects a client that comes back, straight to the server.
func (s *server) mux(session string) *muxclient.Client {
	return s.muxAt(strings.TrimPrefix(s.base, "http://"), session)
}

// muxAt connects through addr, say a proxy's; Host stays the server's own name.
func (s *server) muxAt(addr, session string) *muxclient.Client {
	v := s.session(session)
	host := strings.TrimPrefix(s.base, "http://")
	c := muxclient.New(muxclient.Options{
		FirstWait: 5 * time.Millisecond,
		Dial: func(ctx context.Context) (*websocket.Conn, error) {
			ws, res, err := websocket.Dial(ctx, "http://"+addr+"/ws/sessions/"+string(v.ID), &websocket.DialOptions{
				Host: host, HTTPHeader: http.Header{"Authorization": {"Bearer " + s.token}}, Subprotocols: []string{wire.Subprotocol},
			})
			if err != nil && res != nil && res.StatusCode >= 400 {
				b, _ := io.ReadAll(res.Body) // what there is of it
				return nil, fmt.Errorf("%s: %s", res.Status, b)
			}
			return ws, err
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			s.t.Errorf("mux: %v", err)
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	return c
}

func openTab(t testing.TB, c *muxclient.Client, o wire.Open) (*muxclient.Stream, *muxtest.Sink) {
	t.Helper()
	o.Cols, o.Rows = 80, 24
	s := muxtest.New()
	st, err := c.Open(t.Context(), o, s)
	if err != nil {
		t.Fatal(err)
	}
	return st, s
}
