package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"

	"staithe/internal/guestapi"
	"staithe/internal/muxclient"
	"staithe/internal/muxclient/muxtest"
	"staithe/internal/replay"
	"staithe/internal/station"
	"staithe/internal/wire"
)

const catProgram = "/bin/cat"

// However many tabs there are and wherever their shells went: the list is one
// frame that every client takes.
func TestListOfTabsFitsAFrame(t *testing.T) {
	var tabs []wire.Tab
	for i := range station.MaxTabs {
		tabs = append(tabs, wire.Tab{
			Tab: string(station.NewID()), Name: fmt.Sprintf("%039d", i), Cwd: "/" + strings.Repeat("é\x01", 1000),
			Process: strings.Repeat("<", 15), Cols: 4096, Rows: 4096, Exited: true, ExitCode: 255, Signal: "KILL",
			CreatedAt: time.Now(), ActiveAt: time.Now(),
		})
	}
	if b, _ := json.Marshal(fitTabs(tabs)); len(b) > maxList {
		t.Errorf("%d tabs take %d bytes", len(tabs), len(b))
	}

	w := newWorld(t)
	deep := w.home
	for range 15 {
		deep = filepath.Join(deep, strings.Repeat("d", 200))
	}
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	const n = 30
	api := w.api()
	for range n {
		if _, err := api.CreateTab(t.Context(), owner("ada"), guestapi.TabCreate{Cwd: deep, Command: []string{catProgram}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.client(owner("ada")).List(t.Context())
	if err != nil || len(got) != n || !strings.HasSuffix(got[0].Cwd, "ddd") {
		t.Errorf("%d tabs, %v", len(got), err)
	}
}

// What a client types before it has seen a tab's exit reaches no other tab.
func TestLateTypingReachesNoOtherTab(t *testing.T) {
	w := newWorld(t)
	r := rawMux(t, w.api(), owner("ada"))
	r.Say(&wire.Hello{Client: "client-of-this-test"})
	used := map[uint8]bool{}
	for i := range 20 {
		r.Say(&wire.Open{Req: wire.StringReq("r"), Cols: 80, Rows: 24, Command: []string{"/bin/true"}})
		ch := r.Next("attached").(*wire.Attached).Channel
		if used[ch] {
			t.Fatalf("channel %d is reused at once, for tab %d", ch, i)
		}
		used[ch] = true
		if e := r.Next("exit").(*wire.Exit); e.Channel == nil || *e.Channel != ch {
			t.Fatalf("exit %+v", e)
		}
	}
}

// Of many connections of one client that come at once, one stays.
func TestSameClientManyTimesAtOnce(t *testing.T) {
	w := newWorld(t)
	api := w.api()
	for range 10 {
		var all sync.WaitGroup
		for range 8 {
			r := rawMux(t, api, owner("ada"))
			all.Go(func() {
				r.WS.Write(t.Context(), websocket.MessageBinary, wire.AppendClient(nil, &wire.Hello{Client: "client-of-this-test"}))
				r.WS.Read(t.Context()) // welcome, or it is closed already
			})
		}
		all.Wait()
		w.guest.mu.Lock()
		alive := 0
		for c := range w.guest.conns {
			c.mu.Lock()
			if !c.fenced {
				alive++
			}
			c.mu.Unlock()
		}
		w.guest.mu.Unlock()
		if alive != 1 {
			t.Fatalf("%d connections of one client take input", alive)
		}
	}
}

// Several ask for a new shell at once: they get one, and all are on it.
func TestRestartAtOnce(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	const script = "[ -e $0 ] && exec cat; >$0"
	for round := range 5 {
		name := fmt.Sprintf("x%d", round)
		_, s := openTab(t, c, wire.Open{Name: name, Command: []string{"/bin/sh", "-c", script, name}})
		s.WaitExit(t)
		var all sync.WaitGroup
		for i := range 6 {
			c := w.client(owner("ada"))
			all.Go(func() {
				if _, err := c.Attach(t.Context(), wire.Attach{Tab: name, Cols: 80 + i, Rows: 24, Restart: true}, muxtest.New()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		tabs, err := w.api().Tabs(t.Context(), owner("ada"))
		if err != nil || len(tabs) != round+1 || tabs[round].Clients != 6 || tabs[round].Exited {
			t.Errorf("%+v %v", tabs, err)
		}
	}
}

// A session that ends lets its shells save what they must.
func TestShutdownIsPolite(t *testing.T) {
	w := newWorld(t)
	// A shell runs a trap when read returns: a signal just before it would wait for a key.
	script := `trap 'echo saved >saved; exit' HUP; echo ready; while :; do read -t 0.1 x; done`
	_, s := openTab(t, w.client(owner("ada")), wire.Open{Command: []string{"/bin/bash", "-c", script}})
	s.See(t, "ready")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.guest.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(w.home, "saved")); err != nil || string(b) != "saved\n" {
		t.Errorf("%q %v", b, err)
	}
}

// A shell that ignores SIGHUP is killed after a while, its jobs with it.
func TestCloseKillsAStubbornShellAndItsJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(owner("ada"))
	script := `trap '' HUP; set -m; sleep 976 & echo "job $!."; while :; do read x || wait; done`
	st, s := openTab(t, c, wire.Open{Command: []string{"/bin/sh", "-c", script}})
	s.See(t, ".")
	out := s.Text()
	job, err := strconv.Atoi(out[strings.Index(out, "job ")+4 : strings.IndexByte(out, '.')])
	if err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	pidfd, err := unix.PidfdOpen(job, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := c.Say(t.Context(), &wire.Close{Tab: st.Tab()}); err != nil {
		t.Fatal(err)
	}
	if e := s.WaitExit(t); e.Signal != "KILL" {
		t.Errorf("exit %+v", e)
	}
	// A killed process takes a moment to be gone.
	ended := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	if n, err := unix.Poll(ended, 10_000); n != 1 || err != nil {
		t.Errorf("the job lives on (%v)", err)
	}
}

// Two people who take turns do not make the list of tabs go out each time.
func TestTakingTurnsIsNoFloodOfLists(t *testing.T) {
	w := newWorld(t)
	openTab(t, w.client(owner("ada")), wire.Open{Name: "x", Command: []string{catProgram}})
	var pair [2]*muxtest.Raw
	var channel [2]uint8
	for i := range pair {
		pair[i] = rawMux(t, w.api(), owner("ada"))
		pair[i].Say(&wire.Hello{Client: fmt.Sprintf("client-of-this-test-%d", i)})
		pair[i].Say(&wire.Attach{Req: wire.StringReq("r"), Tab: "x", Cols: 80 + i, Rows: 24})
		channel[i] = pair[i].Next("attached").(*wire.Attached).Channel
	}
	r := rawMux(t, w.api(), owner("eve"))
	r.Say(&wire.Hello{Client: "client-of-this-test"})
	r.Next("welcome")
	began := time.Now()
	for i := range 200 {
		pair[i%2].Say(&wire.Drive{Channel: channel[i%2]})
		pair[i%2].Say(&wire.Ping{})
		pair[i%2].Next("pong")
	}
	r.Say(&wire.Ping{})
	lists := 0
	for {
		_, msg, err := r.WS.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(msg), `"type":"pong"`) {
			break
		}
		if strings.Contains(string(msg), `"type":"tabs"`) {
			lists++
		}
	}
	if most := int(time.Since(began)/newsEvery) + 2; lists > most {
		t.Errorf("%d lists of tabs, want at most %d", lists, most)
	}
}

func TestAbuse33_NamesAreInert(t *testing.T) {
	w := newWorld(t)
	r := rawMux(t, w.api(), owner("ada"))
	r.Say(&wire.Hello{Client: "client-of-this-test", Name: "\x1b]0;pwn\x07Eve\u202e\u009b31m\r\n"})
	if you := r.Next("welcome").(*wire.Welcome).You; you.Name != "]0;pwnEve31m" {
		t.Errorf("name %q", you.Name)
	}
}

// A client that attaches to a flood and never reads its socket costs little and
// stalls nobody: not the flood's other clients, not other tabs.
func TestAbuse31_AClientThatNeverReadsStallsNobody(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	flood := newCounter()
	_, err := c.Open(t.Context(), wire.Open{Name: "flood", Cols: 80, Rows: 24, Command: []string{"/usr/bin/yes"}}, flood)
	if err != nil {
		t.Fatal(err)
	}
	calm, s := openTab(t, c, wire.Open{Name: "calm", Command: []string{catProgram}})
	flood.await(t, 2*replay.DefaultLimit) // the log is full
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 8 {
		id := owner("eve")
		if i%2 == 0 {
			id.Role = station.RoleViewer
		}
		r := rawMux(t, w.api(), id)
		r.Say(&wire.Hello{Client: fmt.Sprintf("client-of-this-test-%d", i)})
		r.Say(&wire.Attach{Req: wire.StringReq("r"), Tab: "flood", Cols: 80, Rows: 24})
		go func() { // until its answers that wait are enough
			list := wire.AppendClient(nil, &wire.List{Req: wire.StringReq("r")})
			for r.WS.Write(t.Context(), websocket.MessageBinary, list) == nil {
			}
		}()
	}
	from := flood.await(t, 0)
	flood.await(t, from+12<<20) // more than sockets hold; the race detector makes the emulator slow
	for i := range 20 {
		word := fmt.Sprintf("word-%d", i)
		calm.Write([]byte(word + "\n"))
		s.See(t, word)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// Each has at most its redraw, a log's worth, and its buffers.
	if grew := int64(after.HeapAlloc) - int64(before.HeapAlloc); grew > 8*(3<<20) {
		t.Errorf("8 clients that never read cost %d bytes", grew)
	}
}

// counter is a sink that only counts the stream's bytes.
type counter struct {
	*muxtest.Sink
	n int64
}

func newCounter() *counter { return &counter{Sink: muxtest.New()} }

func (c *counter) Output(p []byte, _ muxclient.Kind) { c.Do(func() { c.n += int64(len(p)) }) }

// await waits for so many bytes and returns how many there are.
func (c *counter) await(t *testing.T, n int64) (got int64) {
	c.Until(t, fmt.Sprintf("%d bytes", n), func() bool { got = c.n; return c.n >= n })
	return got
}
