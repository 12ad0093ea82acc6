package backup

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/capture"
	"staithe/internal/volume/jail"
	"staithe/internal/volume/restic"
)

func TestMain(m *testing.M) {
	if os.Args[0] == "staithe-backup" {
		os.Exit(jail.Main())
	}
	if os.Getenv(engineEnv) != "" {
		if err := runEngine(os.Args[1], os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(writerEnv) != "" {
		if err := writeForever(os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == capture.Word {
		if err := capture.Main(os.Args[2], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// bench is an engine with one home.
type bench struct {
	t    testing.TB
	o    Options
	e    *Engine
	ws   station.Workstation
	home string
	stop func()

	mu      sync.Mutex
	streams []*stream
	changed time.Time // when the home was as it is, before any of it was told
}

// stream is a watch that the test feeds.
type stream struct {
	c    chan change
	late time.Duration
}

func (s *stream) Late() time.Duration { return s.late }

type change struct {
	paths []string
	lost  bool
}

func (s *stream) Next(ctx context.Context) ([]string, bool, error) {
	select {
	case c, ok := <-s.c:
		if !ok {
			return nil, false, io.EOF
		}
		return c.paths, c.lost, nil
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

func (s *stream) Close() error { return nil }

// quick are times for tests.
var quick = Timing{Quiet: 50 * time.Millisecond, Latest: time.Second, Blind: time.Second, Retry: 50 * time.Millisecond, RetryMax: time.Second, List: 50 * time.Millisecond}

func needs(t testing.TB) (program string) {
	t.Helper()
	program, _, err := restic.Find(t.Context())
	if err != nil {
		t.Skip("SKIPPED, backups: ", err)
	}
	if err := jail.Check(); err != nil {
		t.Skip("SKIPPED, backups: ", err)
	}
	return program
}

func newBench(t testing.TB, set func(*Options)) *bench {
	t.Helper()
	program := needs(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, ws: station.Workstation{ID: station.NewID(), UIDRange: 1}}
	data := t.TempDir()
	b.home = filepath.Join(data, "homes", string(b.ws.ID))
	if err := os.MkdirAll(b.home, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(data), data, filepath.Dir(b.home)} { // for programs of the home's user
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(b.home, station.SandboxUID, station.SandboxUID); err != nil {
			t.Fatal(err)
		}
	}
	b.o = Options{Data: data, Host: "staithe-test", Program: program, Launcher: self, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Timing: quick,
		Homes: func(context.Context) ([]station.Workstation, error) { return []station.Workstation{b.ws}, nil },
		Home:  func(ws station.Workstation) string { return filepath.Join(data, "homes", string(ws.ID)) },
		Watch: func(context.Context, station.Workstation, string) (Changes, error) {
			s := &stream{c: make(chan change, 100)}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.streams = append(b.streams, s)
			return s, nil
		}, Keep: restic.Policy{Hourly: 48, Within: 2 * time.Hour}}
	if set != nil {
		set(&b.o)
	}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

// start starts an engine (again) on the same data.
func (b *bench) start() {
	b.t.Helper()
	var err error
	if b.e, err = New(b.o); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { b.e.Run(ctx); close(done) }()
	b.stop = func() { cancel(); <-done }
}

// write writes a file of the home and tells the watch.
func (b *bench) write(name, text string) {
	b.t.Helper()
	b.unheard(name, text)
	b.tell(name)
}

// unheard writes a file of the home, and tells nobody.
func (b *bench) unheard(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.home, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = time.Now()
}

func (b *bench) tell(paths ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = time.Now()
	if n := len(b.streams); n > 0 {
		b.streams[n-1].c <- change{paths: paths}
	}
}

func (b *bench) state() station.BackupState {
	b.t.Helper()
	s, err := b.e.State(b.ws)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// until waits for a state.
func (b *bench) until(what string, limit time.Duration, ok func(station.BackupState) bool) station.BackupState {
	b.t.Helper()
	end := time.After(limit)
	for {
		s := b.state()
		if ok(s) {
			return s
		}
		select {
		case <-end:
			b.t.Fatalf("not within %v: %s; the state is %+v", limit, what, s)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// safe waits until all that was changed is in a verified snapshot: one may have begun
// since, and if nothing was changed after that there is no other.
func (b *bench) safe() station.BackupState {
	b.t.Helper()
	b.mu.Lock()
	changed := b.changed
	b.mu.Unlock()
	return b.until("safe", 2*time.Minute, func(s station.BackupState) bool { return s.Safe.After(changed) })
}

// settled waits until nothing is pending.
func (b *bench) settled() station.BackupState {
	b.t.Helper()
	return b.until("settled", 2*time.Minute, func(s station.BackupState) bool { return s.Pending == 0 && s.Busy == "" && !s.Safe.IsZero() })
}

// content is a file of the newest snapshot.
func (b *bench) content(name string) string {
	b.t.Helper()
	list, err := b.e.Snapshots(b.ws)
	if err != nil || len(list) == 0 {
		b.t.Fatalf("%v %v", list, err)
	}
	var out stringWriter
	if err := b.e.With(b.t.Context(), b.ws, "", func(r *restic.Repo) error { return r.Dump(b.t.Context(), list[0].ID, name, "", &out) }); err != nil {
		b.t.Fatal(err)
	}
	return string(out)
}

type stringWriter []byte

func (w *stringWriter) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }

// plain runs restic itself on the local repository, as somebody else would: again,
// where the server was at it.
func (b *bench) plain(args ...string) string {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		cmd := exec.Command(b.o.Program, append([]string{"-r", filepath.Join(b.o.Data, reposDir, string(b.ws.ID)), "--no-cache"}, args...)...)
		cmd.Env = []string{"RESTIC_PASSWORD=" + b.e.key, "TMPDIR=" + b.t.TempDir()}
		out, err := cmd.CombinedOutput()
		switch {
		case err == nil:
			return string(out)
		case !strings.Contains(string(out), "repository is already locked") || time.Now().After(deadline):
			b.t.Fatalf("restic %v: %v: %s", args, err, out)
		}
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
