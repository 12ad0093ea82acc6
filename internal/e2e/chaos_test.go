package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/muxclient"
	"staithe/internal/muxclient/muxtest"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// chaosSessions is over how many sessions the chaos goes.
const chaosSessions = 20

// TestAbuse40_Chaos kills gateway, guests, runtimes and ways out with SIGKILL
// at random moments, while twenty sessions of two users are made, used, put to
// sleep, woken and deleted. In the end no orphan is left, every file that was
// acknowledged is there, and every record is true.
func TestAbuse40_Chaos(t *testing.T) { runChaos(t, 50) }

// TestAbuse40_ChaosWithGVisor is the same with sessions that have a kernel of
// their own; where a guest would be killed, that is.
func TestAbuse40_ChaosWithGVisor(t *testing.T) {
	needRunsc(t)
	runChaos(t, 20, "STAITHE_RUNTIME=runsc")
}

func runChaos(t *testing.T, kills int, env ...string) {
	seed := uint64(40)
	if v := os.Getenv("STAITHE_SOAK_KILLS"); v != "" {
		kills, _ = strconv.Atoi(v)
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%d kills, seed %d", kills, seed)
	s := serve(t, env...)
	c := newChaos(t, s, seed)
	stop, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for i := range chaosSessions {
		busy.Go(func() { c.live(stop, i) })
	}
	for range kills {
		c.kill()
	}
	cancel()
	busy.Wait()
	// A last power cut: everything at once.
	s.kill()
	c.killGuests(1)
	s.again()
	c.settled()
	c.filesAreThere()
	t.Logf("killed %v; %d operations answered, %d did not; %d files acknowledged", c.killed, c.answered, c.failed, len(c.files))
	if len(c.files) < kills/4 {
		t.Errorf("only %d files were acknowledged: the sessions were hardly used", len(c.files))
	}
	for _, user := range c.users {
		for _, v := range c.sessions(user) {
			s.bearer(user).must(204, "DELETE", "/sessions/"+string(v.ID), nil, nil)
		}
	}
	c.nothingIsLeft()
}

// chaos is one run.
type chaos struct {
	t      *testing.T
	s      *server
	users  []string // their tokens
	traces *traces

	mu       sync.Mutex
	rnd      *rand.Rand
	files    map[string]string // by name: the content that was acknowledged
	killed   map[string]int
	answered int
	failed   int
}

func newChaos(t *testing.T, s *server, seed uint64) *chaos {
	c := &chaos{t: t, s: s, users: []string{s.token}, traces: newTraces(s.data), rnd: rand.New(rand.NewPCG(seed, 40)), files: map[string]string{}, killed: map[string]int{}}
	admin := s.bearer(s.token)
	admin.must(201, "POST", "/users", map[string]string{"username": "bob", "password": password}, nil)
	bob := s.client()
	bob.must(200, "POST", "/login", map[string]string{"username": "bob", "password": password}, nil)
	var tok struct{ Token string }
	bob.must(201, "POST", "/tokens", map[string]any{"name": "chaos", "scopes": []string{"*"}}, &tok)
	c.users = append(c.users, tok.Token)
	return c
}

func (c *chaos) intN(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rnd.IntN(n)
}

// live leads one session's life until ctx ends. Nothing is asked twice: what
// gets no answer, because something was killed, is left as it is.
func (c *chaos) live(ctx context.Context, i int) {
	token, name := c.users[i%len(c.users)], fmt.Sprintf("chaos-%d", i)
	for n := 0; ctx.Err() == nil; n++ {
		var err error
		switch k := c.intN(10); {
		case k < 2:
			err = c.ask(ctx, token, "POST", "/sessions", map[string]string{"name": name})
		case k < 4:
			err = c.ask(ctx, token, "POST", "/sessions/"+name+"/sleep", nil)
		case k < 6:
			err = c.ask(ctx, token, "POST", "/sessions/"+name+"/wake", nil)
		case k < 7:
			err = c.ask(ctx, token, "DELETE", "/sessions/"+name, nil)
		default:
			err = c.use(ctx, token, name, fmt.Sprintf("%s-%d", name, n), 10*time.Second)
		}
		c.mu.Lock()
		if err == nil {
			c.answered++
		} else {
			c.failed++
		}
		c.mu.Unlock()
		select { // a person's pace, so that kills fall into all kinds of states
		case <-ctx.Done():
		case <-time.After(time.Duration(c.intN(60)) * time.Millisecond):
		}
	}
}

// ask sends a request; an answer that refuses is an answer.
func (c *chaos) ask(ctx context.Context, token, method, path string, in any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.s.base+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	c.traces.note(answer)
	if res.StatusCode == http.StatusInternalServerError {
		c.t.Errorf("%s %s: an error that nobody foresaw; log:\n%s", method, path, c.s.log)
	}
	return nil
}

// use writes a file from a shell in the session and, when the shell said that
// it is on disk, remembers it. The limit is short where it may fail, as something
// may have been killed, and long where it has to work.
func (c *chaos) use(ctx context.Context, token, session, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := muxclient.New(muxclient.Options{FirstWait: 5 * time.Millisecond, Dial: func(ctx context.Context) (*websocket.Conn, error) {
		ws, res, err := websocket.Dial(ctx, c.s.base+"/ws/sessions/"+session, &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}, Subprotocols: []string{wire.Subprotocol},
		})
		if err != nil && res != nil && res.StatusCode >= 400 {
			return nil, station.Errorf(station.ErrConflict, "refused", "%s", res.Status)
		}
		return ws, err
	}})
	running := make(chan error, 1)
	go func() { running <- client.Run(ctx) }()
	defer func() { cancel(); <-running }()
	content := fmt.Sprintf("%s %d", name, c.intN(1<<30))
	script := fmt.Sprintf("mkdir -p ~/w && echo '%s' > ~/w/.new-%s && sync ~/w/.new-%[2]s && mv ~/w/.new-%[2]s ~/w/%[2]s && sync ~/w && echo on-disk", content, name)
	sink := muxtest.New()
	stream, err := client.Open(ctx, wire.Open{Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c", script}}, sink)
	if err != nil {
		return err
	}
	select {
	case <-stream.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	said := ""
	sink.Do(func() { said = sink.Out.String() })
	if !strings.Contains(said, "on-disk") {
		return fmt.Errorf("the shell said %q", said)
	}
	c.mu.Lock()
	c.files[name] = content
	c.mu.Unlock()
	return nil
}

// kill waits a little and kills something.
func (c *chaos) kill() {
	<-time.After(time.Duration(20+c.intN(150)) * time.Millisecond)
	what := "gateway"
	switch k := c.intN(10); {
	case k < 4:
		c.s.kill()
		<-time.After(time.Duration(c.intN(30)) * time.Millisecond)
		c.s.again()
	case k < 6:
		what = "guest"
		if c.killGuests(0.2) == 0 {
			what = "guest (none there)"
		}
	case k < 8:
		what = "way out"
		if c.killProcesses(isEgress, 0.3) == 0 {
			what = "way out (none there)"
		}
	default:
		what = "runtime"
		if !c.killRuntime() {
			what = "runtime (none caught)"
		}
	}
	c.mu.Lock()
	c.killed[what]++
	c.mu.Unlock()
}

// killGuests kills each guest with that chance.
func (c *chaos) killGuests(chance float64) int { return c.killProcesses(isGuest, chance) }

func (c *chaos) killProcesses(is func(process) bool, chance float64) int {
	n := 0
	for _, p := range c.traces.processes(c.t) {
		if is(p) && float64(c.intN(1000)) < chance*1000 {
			if syscall.Kill(p.pid, syscall.SIGKILL) == nil {
				n++
			}
		}
	}
	return n
}

// killRuntime waits for an engine to run and kills it in the middle.
func (c *chaos) killRuntime() bool {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		if c.killProcesses(isEngine, 1) > 0 {
			return true
		}
	}
	return false
}

func (c *chaos) sessions(token string) []station.Session {
	c.t.Helper()
	var list []station.Session
	c.s.bearer(token).must(200, "GET", "/sessions", nil, &list)
	return list
}

// settled wants every record to be true: what is said to run answers, what is
// said to sleep can be woken and used, and nothing else runs.
func (c *chaos) settled() {
	c.t.Helper()
	known, failed := map[string]bool{}, map[string]string{}
	for _, token := range c.users {
		for _, v := range c.sessions(token) {
			known[string(v.ID)] = true
			api := c.s.bearer(token)
			switch v.State {
			case station.StateRunning:
				api.must(200, "GET", "/sessions/"+string(v.ID)+"/tabs", nil, nil)
			case station.StateAsleep:
				status, body := api.do("GET", "/sessions/"+string(v.ID)+"/tabs", nil)
				if status != 409 {
					c.t.Errorf("%s sleeps and lists its tabs: %d %s", v.Name, status, body)
				}
			case station.StateFailed: // true of one whose start was shot at, and then there is nothing
				failed[string(v.ID)] = v.Name + ": " + v.Reason
			default:
				c.t.Errorf("%s is %s (%s)", v.Name, v.State, v.Reason)
			}
		}
	}
	for _, p := range c.traces.processes(c.t) {
		if why, is := failed[p.session]; is {
			c.t.Errorf("process %d (%s) is of a session that failed: %s", p.pid, p.cmdline, why)
		}
		if p.session != "" && !known[p.session] {
			c.t.Errorf("process %d (%s) is of no session", p.pid, p.cmdline)
		}
	}
	for _, pattern := range []string{"sandboxes/*", "run/*/*", "egress/*", "parked/*"} {
		left, err := filepath.Glob(filepath.Join(c.s.data, pattern))
		if err != nil {
			c.t.Fatal(err)
		}
		for _, path := range left {
			if id := station.ID(filepath.Base(path)); id.Valid() && !known[string(id)] {
				c.t.Errorf("%s is left of no session", path)
			}
		}
	}
	for i, token := range c.users {
		for _, v := range c.sessions(token) {
			c.s.bearer(token).must(200, "POST", "/sessions/"+string(v.ID)+"/wake", nil, &v)
			if err := c.use(c.t.Context(), token, string(v.ID), fmt.Sprintf("last-%d-%s", i, v.Name), 2*time.Minute); err != nil {
				c.t.Errorf("%s cannot be used: %v", v.Name, err)
			}
		}
	}
}

// filesAreThere looks for every acknowledged file in the homes on the host.
func (c *chaos) filesAreThere() {
	c.t.Helper()
	found := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(c.s.data, "homes", "*", "w", "*"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			c.t.Fatal(err)
		}
		found[filepath.Base(path)] = strings.TrimSpace(string(b))
	}
	for name, content := range c.files {
		if found[name] != content {
			c.t.Errorf("file %s has %q, acknowledged was %q", name, found[name], content)
		}
	}
}

// nothingIsLeft wants the host as it was before, once all sessions are deleted.
func (c *chaos) nothingIsLeft() {
	c.t.Helper()
	for _, p := range c.traces.processes(c.t) {
		if p.pid != c.s.cmd.Process.Pid {
			c.t.Errorf("process %d is left: %s", p.pid, p.cmdline)
		}
	}
	for _, what := range c.traces.leftovers(c.t) {
		c.t.Errorf("left on the host: %s", what)
	}
}
