package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/creack/pty"

	"staithe/internal/muxclient"
	"staithe/internal/sandbox/docker/servicetest"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// What is measured here is kept in doc/benchmarks.md. Every figure stands
// beside that of a bare PTY, taken in turns in the same run: the ratio is what
// counts on a noisy machine.

// times is a set of measured durations.
type times []time.Duration

func (t times) quantile(q float64) time.Duration {
	s := slices.Sorted(slices.Values(t))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

func (t times) report(b *testing.B, name string) {
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	b.ReportMetric(us(t.quantile(0.50)), name+"-p50-µs")
	b.ReportMetric(us(t.quantile(0.99)), name+"-p99-µs")
}

// barePTY runs a command on a PTY with nothing in between.
func barePTY(b *testing.B, argv ...string) *os.File {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 80, Rows: 24})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); f.Close() })
	return f
}

// arrivals is a sink that says when how much came: the moment at which a client
// would draw it, not when this test's goroutine gets to run.
type arrivals struct{ got chan arrival }

type arrival struct {
	n  int
	at time.Time
}

func (a *arrivals) Reset(int64)    {}
func (a *arrivals) Size(int, int)  {}
func (a *arrivals) Exit(wire.Exit) {}
func (a *arrivals) Unsent([]byte)  {}
func (a *arrivals) Output(p []byte, _ muxclient.Kind) {
	a.got <- arrival{len(p), time.Now()}
}

const rawEcho = "stty raw -echo; echo ready; exec cat"

// BenchmarkKeyEcho: from a key's press to its echo, through gateway and guest,
// against a bare PTY plus one WebSocket round trip on loopback, the floor.
func BenchmarkKeyEcho(b *testing.B) {
	s := serve(b)
	a := &arrivals{make(chan arrival, 64)}
	st, err := s.mux("main").Open(b.Context(), wire.Open{Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c", rawEcho}}, a)
	if err != nil {
		b.Fatal(err)
	}
	<-a.got
	bare := barePTY(b, "/bin/sh", "-c", rawEcho)
	buf := make([]byte, 64)
	if _, err := bare.Read(buf); err != nil {
		b.Fatal(err)
	}
	ws := loopbackWS(b)
	var pty, socket, ours times
	for b.Loop() {
		begun := time.Now()
		bare.Write([]byte{'k'})
		if _, err := bare.Read(buf); err != nil {
			b.Fatal(err)
		}
		pty = append(pty, time.Since(begun))

		begun = time.Now()
		if err := ws.Write(b.Context(), websocket.MessageBinary, []byte{0, 'k'}); err != nil {
			b.Fatal(err)
		}
		if _, _, err := ws.Read(b.Context()); err != nil {
			b.Fatal(err)
		}
		socket = append(socket, time.Since(begun))

		begun = time.Now()
		st.Write([]byte{'k'})
		ours = append(ours, (<-a.got).at.Sub(begun))
	}
	pty.report(b, "pty")
	socket.report(b, "ws")
	ours.report(b, "staithe")
	floor := pty.quantile(0.5) + socket.quantile(0.5)
	b.ReportMetric(float64(ours.quantile(0.5))/float64(floor), "×floor-p50")
}

// BenchmarkKeyEchoBesideFlood: a key's echo on one tab while another tab on the
// same connection runs yes.
func BenchmarkKeyEchoBesideFlood(b *testing.B) {
	s := serve(b)
	c := s.mux("main")
	a := &arrivals{make(chan arrival, 64)}
	st, err := c.Open(b.Context(), wire.Open{Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c", rawEcho}}, a)
	if err != nil {
		b.Fatal(err)
	}
	<-a.got
	if _, err := c.Open(b.Context(), wire.Open{Cols: 80, Rows: 24, Command: []string{"/usr/bin/yes"}}, nowhere{}); err != nil {
		b.Fatal(err)
	}
	var ours times
	for b.Loop() {
		begun := time.Now()
		st.Write([]byte{'k'})
		ours = append(ours, (<-a.got).at.Sub(begun))
	}
	ours.report(b, "staithe")
}

// nowhere is a sink that takes everything and keeps nothing.
type nowhere struct{}

func (nowhere) Reset(int64)                   {}
func (nowhere) Size(int, int)                 {}
func (nowhere) Exit(wire.Exit)                {}
func (nowhere) Unsent([]byte)                 {}
func (nowhere) Output([]byte, muxclient.Kind) {}

// loopbackWS is a WebSocket whose server sends back what it gets.
func loopbackWS(b *testing.B) *websocket.Conn {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			typ, p, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), typ, p) != nil {
				return
			}
		}
	})}
	go srv.Serve(ln)
	c, _, err := websocket.Dial(b.Context(), "http://"+ln.Addr().String(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.CloseNow(); srv.Close() })
	return c
}

// BenchmarkThroughput: a 32 MiB text file through cat, to a client of the
// gateway and to a reader of a bare PTY.
func BenchmarkThroughput(b *testing.B) {
	const size = 32 << 20
	s := serve(b, "STAITHE_BACKUPS=off") // the text is new in the home
	var text strings.Builder
	for i := 0; text.Len() < size; i++ {
		fmt.Fprintf(&text, "line %d: the quick brown fox jumps over the lazy dog\n", i)
	}
	file := filepath.Join(b.TempDir(), "text")
	if err := os.WriteFile(file, []byte(text.String()[:size]), 0o644); err != nil {
		b.Fatal(err)
	}
	c := s.mux("main")
	home, out := openTab(b, c, wire.Open{Name: "put", Command: []string{"/bin/sh", "-c", "stty raw -echo; echo ready; head -c " + strconv.Itoa(size) + " > ~/text; echo done"}})
	out.See(b, "ready")
	home.Write([]byte(text.String()[:size]))
	out.See(b, "done")
	const script = "stty -opost -echo; cat "
	var bare, ours times
	for b.Loop() {
		f := barePTY(b, "/bin/sh", "-c", script+file)
		buf := make([]byte, 64<<10)
		begun := time.Now()
		for n := 0; n < size; {
			k, err := f.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			n += k
		}
		bare = append(bare, time.Since(begun))

		a := &arrivals{make(chan arrival, 1024)}
		begun = time.Now()
		if _, err := c.Open(b.Context(), wire.Open{Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c", script + "~/text"}}, a); err != nil {
			b.Fatal(err)
		}
		for n := 0; n < size; {
			n += (<-a.got).n
		}
		ours = append(ours, time.Since(begun))
	}
	rate := func(t times) float64 { return size / 1e6 / t.quantile(0.5).Seconds() }
	b.ReportMetric(rate(bare), "pty-MB/s")
	b.ReportMetric(rate(ours), "staithe-MB/s")
	b.ReportMetric(rate(ours)/rate(bare), "×pty")
}

// BenchmarkSessionStart: from the request for a new session to the first byte
// of its shell's prompt at the client. BenchmarkDockerRun is beside it.
func BenchmarkSessionStart(b *testing.B) {
	for _, runtime := range []string{"crun", "runc", "runsc", "docker", "podman"} {
		b.Run(runtime, func(b *testing.B) {
			env := []string{"STAITHE_RUNTIME=" + runtime}
			if where := map[string]string{"docker": "DOCKER_HOST", "podman": "CONTAINER_HOST"}[runtime]; where != "" {
				env = append(env, where+"="+servicetest.Need(b, runtime))
			} else if _, err := exec.LookPath(runtime); err != nil {
				b.Skipf("SKIPPED: %s is not installed", runtime)
			}
			s := serve(b, env...)
			api := s.bearer(s.token)
			var start, prompt times
			for b.Loop() {
				begun := time.Now()
				var v station.Session
				api.must(201, "POST", "/sessions", map[string]string{"name": "bench"}, &v)
				start = append(start, time.Since(begun))
				firstPrompt(b, s, v.ID)
				prompt = append(prompt, time.Since(begun))
				b.StopTimer()
				api.must(204, "DELETE", "/sessions/"+string(v.ID), nil, nil)
				b.StartTimer()
			}
			start.report(b, "session")
			prompt.report(b, "prompt")
		})
	}
}

// BenchmarkWake: from the request to wake a session to the answer that it runs:
// frozen, and stopped with one tab that is restored.
func BenchmarkWake(b *testing.B) {
	for _, stop := range []bool{false, true} {
		name := map[bool]string{false: "frozen", true: "stopped"}[stop]
		b.Run(name, func(b *testing.B) {
			s := serve(b)
			api := s.bearer(s.token)
			s.session("main")
			api.must(201, "POST", "/sessions/main/tabs", map[string]any{}, nil)
			path := "/sessions/main/sleep"
			if stop {
				path += "?stop=true"
			}
			var wake times
			for b.Loop() {
				b.StopTimer()
				api.must(200, "POST", path, nil, nil)
				b.StartTimer()
				begun := time.Now()
				api.must(200, "POST", "/sessions/main/wake", nil, nil)
				wake = append(wake, time.Since(begun))
			}
			wake.report(b, "wake")
		})
	}
}

// firstPrompt connects, opens a tab and waits for its first byte.
func firstPrompt(b *testing.B, s *server, id station.ID) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	c := muxclient.New(muxclient.Options{Dial: func(ctx context.Context) (*websocket.Conn, error) {
		ws, _, err := websocket.Dial(ctx, s.base+"/ws/sessions/"+string(id), &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + s.token}}, Subprotocols: []string{wire.Subprotocol},
		})
		return ws, err
	}})
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	a := &arrivals{make(chan arrival, 64)}
	if _, err := c.Open(ctx, wire.Open{Cols: 80, Rows: 24}, a); err != nil {
		b.Fatal(err)
	}
	<-a.got
	cancel()
	<-done
}

// BenchmarkTabStart: from open to the first byte of the prompt, on an open
// connection, against a bare bash with the same files.
func BenchmarkTabStart(b *testing.B) {
	s := serve(b)
	c := s.mux("main")
	if _, err := c.Welcome(b.Context()); err != nil {
		b.Fatal(err)
	}
	home := b.TempDir()
	if err := os.CopyFS(home, os.DirFS("/etc/skel")); err != nil {
		b.Fatal(err)
	}
	var bare, ours times
	for b.Loop() {
		begun := time.Now()
		f := barePTY(b, "/usr/bin/env", "-i", "HOME="+home, "PATH="+os.Getenv("PATH"), "TERM=xterm-256color", "/bin/bash", "-l")
		if _, err := f.Read(make([]byte, 64)); err != nil {
			b.Fatal(err)
		}
		bare = append(bare, time.Since(begun))

		a := &arrivals{make(chan arrival, 64)}
		begun = time.Now()
		st, err := c.Open(b.Context(), wire.Open{Cols: 80, Rows: 24}, a)
		if err != nil {
			b.Fatal(err)
		}
		<-a.got
		ours = append(ours, time.Since(begun))
		b.StopTimer()
		if err := c.Say(b.Context(), &wire.Close{Tab: st.Tab()}); err != nil {
			b.Fatal(err)
		}
		<-st.Done()
		b.StartTimer()
	}
	bare.report(b, "bash")
	ours.report(b, "staithe")
}

// BenchmarkIdleTabMemory: what each of 200 idle tabs adds to the guest's
// resident memory, its shell not counted. One round is enough.
func BenchmarkIdleTabMemory(b *testing.B) {
	const tabs = 200
	for b.Loop() {
		s := serve(b)
		c := s.mux("main")
		pid := guestPID(b, s.session("main").ID)
		a := &arrivals{make(chan arrival, 4096)}
		open := func() {
			if _, err := c.Open(b.Context(), wire.Open{Cols: 80, Rows: 24}, a); err != nil {
				b.Fatal(err)
			}
			<-a.got
		}
		open() // the connection's own buffers
		before := residentKiB(b, pid)
		for range tabs {
			open()
		}
		b.ReportMetric(float64(residentKiB(b, pid)-before)/tabs, "KiB/tab")
		b.ReportMetric(float64(before), "KiB-guest-with-1-tab")
	}
}

// guestPID finds a session's PID 1 as the host sees it.
func guestPID(t testing.TB, id station.ID) int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		// Either may be gone meanwhile, and then it is not the one.
		env, _ := os.ReadFile(dir + "/environ")
		cmdline, _ := os.ReadFile(dir + "/cmdline")
		if strings.Contains(string(env), `"session":"`+string(id)+`"`) && strings.Contains(string(cmdline), "guest") {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("no guest of %s found", id)
	return 0
}

func residentKiB(b *testing.B, pid int) int {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
