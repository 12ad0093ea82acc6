package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"staithe/internal/station"
)

// crashDirEnv makes the test binary the writer that is killed.
const crashDirEnv = "STAITHE_STORE_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled adds users and sessions for ever and says each id on
// standard output once the store has acknowledged it.
func writeUntilKilled(dir string) {
	ctx := context.Background()
	s, err := Open(ctx, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		u := station.User{ID: station.NewID(), Name: fmt.Sprintf("u%d", i) + string(station.NewID()), CreatedAt: time.Now()}
		v := session(u.ID, "main")
		if err := s.CreateUser(ctx, u, "hash"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := s.CreateSession(ctx, v, time.Time{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(u.ID, v.ID)
	}
}

func TestKilledInTheMiddleOfWritesLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acknowledged := 0
	for round := range 3 {
		for _, ids := range killedWriter(t, dir, 20+10*round) {
			acknowledged++
			checkWritten(t, dir, ids)
		}
	}
	if acknowledged < 60 {
		t.Errorf("only %d writes were acknowledged", acknowledged)
	}
}

// killedWriter runs the writer, kills it -9 after n acknowledgements, and
// returns all that it acknowledged.
func killedWriter(t *testing.T, dir string, n int) [][2]station.ID {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), crashDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var got [][2]station.ID
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if user, sess, ok := strings.Cut(lines.Text(), " "); ok {
			got = append(got, [2]station.ID{station.ID(user), station.ID(sess)})
		}
		if len(got) == n {
			if err := cmd.Process.Kill(); err != nil { // SIGKILL
				t.Fatal(err)
			}
		}
	}
	cmd.Wait() // "signal: killed"
	if len(got) < n {
		t.Fatalf("the writer ended after %d writes", len(got))
	}
	return got
}

func checkWritten(t *testing.T, dir string, ids [2]station.ID) {
	t.Helper()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var verdict string
	if err := s.read.QueryRow(`PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
		t.Fatalf("integrity check: %s, %v", verdict, err)
	}
	if _, err := s.Workstation(t.Context(), ids[0]); err != nil {
		t.Errorf("user %s: %v", ids[0], err)
	}
	if _, err := s.Session(t.Context(), ids[1]); err != nil {
		t.Errorf("session %s: %v", ids[1], err)
	}
}
