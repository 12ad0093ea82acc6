package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"staithe/internal/station"
	"staithe/internal/wire"
)

// try sends a request whose answer may never come.
func (c *client) try(method, path, body string) {
	req, err := http.NewRequest(method, c.s.base+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.bearer)
	req.Header.Set("Content-Type", "application/json")
	if res, err := c.http.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

// TestAbuse40_KilledAtRandomMoments kills the gateway while sessions are made,
// deleted, woken and put to sleep: the next start leaves no orphan, and every
// session that is listed can be used.
func TestAbuse40_KilledAtRandomMoments(t *testing.T) {
	s := serve(t)
	api := s.bearer(s.token)
	rnd := rand.New(rand.NewPCG(7, 7))
	for round := range 20 {
		var busy sync.WaitGroup
		for i, do := range [][3]string{
			{"POST", "/sessions", fmt.Sprintf(`{"name":"new-%d"}`, round)},
			{"POST", "/sessions/main/sleep"}, {"POST", "/sessions/main/wake"},
			{"POST", fmt.Sprintf("/sessions/new-%d/sleep", round-1)},
			{"DELETE", fmt.Sprintf("/sessions/new-%d", round-2)},
		} {
			wait := time.Duration(rnd.IntN(40)) * time.Millisecond
			if i == 0 {
				wait = 0
			}
			busy.Go(func() {
				<-time.After(wait)
				s.bearer(s.token).try(do[0], do[1], do[2])
			})
		}
		<-time.After(time.Duration(rnd.IntN(120)) * time.Millisecond)
		s.kill()
		busy.Wait()
		s.again()
		var list []station.Session
		api.must(200, "GET", "/sessions", nil, &list)
		known := map[string]bool{}
		for _, v := range list {
			known[string(v.ID)] = true
			if v.State != station.StateRunning && v.State != station.StateAsleep {
				t.Errorf("round %d: %s is %s (%s)", round, v.Name, v.State, v.Reason)
			}
		}
		for _, pattern := range []string{"sandboxes/*", "run/*/*"} {
			left, err := filepath.Glob(filepath.Join(s.data, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range left {
				if !known[filepath.Base(path)] {
					t.Errorf("round %d: %s is left of no session", round, path)
				}
			}
		}
	}
	var list []station.Session
	api.must(200, "GET", "/sessions", nil, &list)
	for _, v := range list {
		s.session(string(v.ID))
		if got := shellOutput(t, s, string(v.ID), "echo works"); !strings.Contains(got, "works") {
			t.Errorf("%s: %q", v.Name, got)
		}
	}
}

// TestFullDiskWhileRunning: on a full disk, what needs none goes on (the person
// must get in to free some), and the rest is refused with a sentence, whole.
func TestFullDiskWhileRunning(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a small disk")
	}
	// Without a reserve: what happens when it is used up all the same.
	s := &server{t: t, data: dataDir(t), log: &syncBuffer{}, env: []string{"STAITHE_DISK_RESERVE=0"}}
	if err := syscall.Mount("staithe-test", s.data, "tmpfs", 0, "size=64m,mode=711"); err != nil {
		t.Fatal("cannot mount a small disk: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(s.data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s.start("127.0.0.1:0")
	t.Cleanup(s.remove)
	s.setUp()
	var fresh struct{ Token string }
	s.bearer(s.token).must(201, "POST", "/tokens", map[string]any{"name": "never used", "scopes": []string{"*"}}, &fresh)
	free := fill(t, s.data)
	defer free()

	api := s.bearer(fresh.Token)
	api.must(200, "GET", "/sessions", nil, nil)
	s.token = fresh.Token
	st, out := openTab(t, s.mux("main"), wire.Open{Command: []string{"/bin/sh", "-c", "stty -echo; echo ready; cat"}})
	out.See(t, "ready")
	st.Write([]byte("still here\n"))
	out.See(t, "still here")
	for path, body := range map[string]any{
		"/sessions": map[string]any{"name": "more"},
		"/users":    map[string]any{"username": "bob"},
		"/tokens":   map[string]any{"name": "more", "scopes": []string{"*"}},
	} {
		status, b := api.do("POST", path, body)
		if status != 507 || !strings.Contains(string(b), "disk") {
			t.Errorf("POST %s on a full disk: %d %s", path, status, b)
		}
	}
	free()
	var sessions []station.Session
	var users []station.User
	api.must(200, "GET", "/sessions", nil, &sessions)
	api.must(200, "GET", "/users", nil, &users)
	if len(sessions) != 1 || len(users) != 1 {
		t.Errorf("what was refused is there: %+v %+v", sessions, users)
	}
	api.must(201, "POST", "/sessions", map[string]any{"name": "more"}, nil)
	api.must(201, "POST", "/users", map[string]any{"username": "bob"}, nil)
}

// fill writes until nothing more fits, and returns what takes it away again.
func fill(t *testing.T, dir string) func() {
	t.Helper()
	path := filepath.Join(dir, "fill")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err = f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() { os.Remove(path) }
}

// Who asks a server twice to end does not wait for its politeness.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	s := serve(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/v1/login HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", strings.TrimPrefix(s.base, "http://"))
	// The server asks for the body: the request runs, and holds up a polite end.
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatal(line, err)
	}
	began := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case err := <-ended:
			if took := time.Since(began); took > 3*time.Second || err == nil {
				t.Errorf("it took %s: %v", took, err)
			}
			return
		case <-tick.C:
			_ = s.cmd.Process.Signal(syscall.SIGINT) // it may have gone
		}
	}
}
