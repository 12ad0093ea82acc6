package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

const engineEnv = "STAITHE_TEST_ENGINE"

// runEngine is a server that makes snapshots, verifies, forgets and prunes all the
// time, until it is killed.
func runEngine(data, workstation, program string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ws := station.Workstation{ID: station.ID(workstation), UIDRange: 1}
	e, err := New(Options{Data: data, Host: "staithe-test", Program: program, Launcher: self, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Timing: Timing{Quiet: time.Millisecond, Latest: time.Millisecond, Blind: 20 * time.Millisecond, Retry: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond,
			List: 10 * time.Millisecond, Forget: 1, Prune: time.Nanosecond},
		Homes: func(context.Context) ([]station.Workstation, error) { return []station.Workstation{ws}, nil },
		Home:  func(station.Workstation) string { return filepath.Join(data, "homes", workstation) }, Keep: restic.Policy{Hourly: 1}})
	if err != nil {
		return err
	}
	e.Run(context.Background())
	return nil
}

// The server is killed at any moment of snapshots, verification and pruning. What
// its state claims is so each time, the repository passes restic's own check, and
// the next server goes on at once.
func TestKilledServer(t *testing.T) {
	t.Parallel() // it waits more than it works
	rounds := 20
	if n, err := strconv.Atoi(os.Getenv("STAITHE_SOAK_KILLS")); err == nil {
		rounds = n
	}
	b := newBench(t, nil)
	b.write("f", "0")
	b.safe()
	b.settled()
	b.stop()
	written := []time.Time{time.Now()} // when f got that number
	seen := map[string]int{}
	for round := range rounds {
		cmd := exec.Command(b.o.Launcher, b.o.Data, string(b.ws.ID), b.o.Program)
		cmd.Env = append(os.Environ(), engineEnv+"=1")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := time.After(time.Duration(rand.Int64N(int64(7 * time.Second))))
		for living := true; living; {
			select {
			case <-end:
				living = false
			case <-time.After(50 * time.Millisecond):
				n := len(written)
				tmp := filepath.Join(b.home, ".f.new")
				if err := os.WriteFile(tmp, []byte(strconv.Itoa(n)), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(tmp, filepath.Join(b.home, "f")); err != nil {
					t.Fatal(err)
				}
				written = append(written, time.Now())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		b.quiet()
		seen[b.claims(written, round)]++
	}
	t.Logf("what was there after each kill: %v", seen)
	b.plain("unlock", "--remove-all")
	b.plain("check", "--read-data")
	now := time.Now()
	b.start()
	b.until("the next server makes a snapshot", time.Minute, func(s station.BackupState) bool { return s.Safe.After(now) })
}

// quiet waits until nothing of a killed server runs: at once, as it ends with it.
func (b *bench) quiet() {
	b.t.Helper()
	f, err := os.OpenFile(filepath.Join(b.o.Data, workDir, string(b.ws.ID), "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	for end := time.After(10 * time.Second); unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil; {
		select {
		case <-end:
			b.t.Fatal("a restic of a killed server goes on")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// claims compares what the state says with what the repository has, and says what
// the killed server left behind.
func (b *bench) claims(written []time.Time, round int) string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.o.Data, stateDir, string(b.ws.ID)+".json"))
	if err != nil {
		b.t.Fatal(err)
	}
	var rec record
	if err := json.Unmarshal(text, &rec); err != nil {
		b.t.Fatalf("round %d: %v: %s", round, err, text)
	}
	at := slices.IndexFunc(rec.Snapshots, func(s station.Snapshot) bool { return s.At.Equal(rec.Safe) })
	if rec.Safe.IsZero() || at < 0 || rec.Snapshots[at].Verified.IsZero() {
		b.t.Fatalf("round %d: safe %v, and there is no such snapshot: %s", round, rec.Safe, text)
	}
	n, err := strconv.Atoi(strings.TrimSpace(lastLine(b.plain("--no-lock", "dump", rec.Snapshots[at].ID, "/home/f"))))
	if err != nil {
		b.t.Fatal(err)
	}
	if n+1 < len(written) && written[n+1].Before(rec.Safe) {
		b.t.Errorf("round %d: safe %v, but what was written at %v is not in it", round, rec.Safe, written[n+1])
	}
	locks, err := filepath.Glob(filepath.Join(b.o.Data, reposDir, string(b.ws.ID), "locks", "*"))
	if err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf("%d locks", len(locks))
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
