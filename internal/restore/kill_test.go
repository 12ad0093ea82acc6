package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"staithe/internal/files/keeper"
	"staithe/internal/hostproc"
	"staithe/internal/station"
	"staithe/internal/volume"
	"staithe/internal/volume/restic"
)

// serverEnv makes this test's program a server that restores and undoes, until it
// is killed or did both.
const serverEnv = "STAITHE_TEST_RESTORING_SERVER"

// victim is what that server needs to know.
type victim struct {
	Data     string
	WS       station.Workstation
	Repo     restic.Options
	Snapshot string
}

func (v victim) serve() error {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	h := &host{user: v.WS.User, ws: v.WS}
	var err error
	if h.volumes, err = volume.Open(v.Data); err != nil {
		return err
	}
	h.home = h.volumes.Path(v.WS)
	if h.keeper, err = keeper.Open(v.Data, keeper.Options{Binary: "/proc/self/exe", Version: "test", Idle: time.Minute}, log); err != nil {
		return err
	}
	if h.repo, err = restic.Open(v.Repo); err != nil {
		return err
	}
	m, err := New(Options{Data: v.Data, Server: h, Volumes: h.volumes, Log: log})
	if err != nil {
		return err
	}
	m.Recover()
	last, err := settle(ctx, m, h.user)
	if err != nil {
		return err
	}
	if !last.Undo {
		if _, err := m.Start(ctx, h.user, v.Snapshot, station.RestoreRequest{Path: ".", Where: "in_place", Exact: true}); err != nil {
			return err
		}
		if last, err = settle(ctx, m, h.user); err != nil {
			return err
		}
		fmt.Println("state:", last.State, last.Trouble)
	}
	if last.Undo {
		if last, err = m.Undo(ctx, h.user, last.ID); err != nil {
			return err
		}
		fmt.Println("state:", last.State, last.Trouble)
	}
	m.Close()
	return nil
}

// settle waits until nothing runs, and returns the newest restore.
func settle(ctx context.Context, m *Manager, user station.ID) (station.Restore, error) {
	for {
		list, err := m.List(ctx, user)
		if err != nil || len(list) == 0 {
			return station.Restore{}, err
		}
		ws, err := m.o.Server.Workstation(ctx, user)
		if err != nil {
			return station.Restore{}, err
		}
		if list[0].State != "running" && !m.Running(ws.ID) {
			return list[0], nil
		}
		time.Sleep(5 * time.Millisecond) // in a process that is killed at any moment
	}
}

func kills() int {
	if n, err := strconv.Atoi(os.Getenv("STAITHE_SOAK_KILLS")); err == nil {
		return n
	}
	return 20
}

// Server and helper are killed at any moment of a restore and of its undo: each
// file is the old or the new one, whoever comes after finishes it or says that
// nothing was changed, and in the end it is undone.
func TestKilledWhileRestoring(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: long")
	}
	const files = 300
	b := newBench(t)
	name := func(i int) string { return fmt.Sprintf("d%d/f%d", i%7, i) }
	for i := range files {
		b.plant(name(i), "then")
	}
	b.own()
	snapshot := b.snapshot()
	for i := range files {
		if i%5 == 0 {
			_ = os.Remove(filepath.Join(b.home, name(i)))
		} else {
			b.plant(name(i), "now, and longer")
		}
		b.plant(fmt.Sprintf("new%d/f%d", i%3, i), "extra")
	}
	b.own()
	before := sketch(t, b.home)
	spec, err := json.Marshal(victim{Data: b.data, WS: b.ws, Repo: b.options, Snapshot: snapshot})
	if err != nil {
		t.Fatal(err)
	}
	b.Manager.Close() // only the victims' run
	finished := 0
	for n := 0; n < kills(); {
		if b.killServer(string(spec)) {
			n++
		} else {
			finished++
		}
		for i := range files {
			if c, err := os.ReadFile(filepath.Join(b.home, name(i))); err == nil && string(c) != "then" && string(c) != "now, and longer" {
				t.Fatalf("half a file: %q", c)
			}
		}
	}
	t.Logf("%d kills; %d servers came to the end in between", kills(), finished)
	for range 2 { // the first may only tell that the last was cut off
		if out, err := b.server(string(spec)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	same(t, sketch(t, b.home), before, false)
	if err := errors.Join(b.repo.Unlock(t.Context()), b.repo.Check(t.Context(), "")); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Join(b.data, "homes")); err != nil || len(entries) != 1 {
		t.Errorf("beside the home there is %v, %v", entries, err)
	}
}

func (b *bench) server(spec string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), serverEnv+"="+spec)
	return cmd
}

// killServer runs the victim for a moment, and says whether it had to be killed.
// Every third time its helper is killed as well, or alone.
func (b *bench) killServer(spec string) bool {
	b.t.Helper()
	cmd := b.server(spec)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			b.t.Fatalf("the victim failed: %v", err)
		}
		return false
	case <-time.After(rand.N(3 * time.Second)): // the moment is what is random
	}
	what := rand.IntN(3)
	if what != 0 {
		rec, err := hostproc.ReadRecord[hostproc.Process](filepath.Join(b.data, "files", string(b.ws.ID), "record.json"))
		if err == nil && rec.Alive() {
			_ = syscall.Kill(rec.PID, syscall.SIGKILL)
		}
	}
	if what == 1 {
		if err := <-done; err != nil { // it has to bear that
			b.t.Fatalf("the victim failed: %v", err)
		}
		return true
	}
	_ = cmd.Process.Kill()
	<-done
	return true
}
