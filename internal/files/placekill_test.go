package files

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// placerEnv tells this test's program, run again, in which home to place and to
// undo the restore "r".
const placerEnv = "STAITHE_TEST_FILES_PLACER"

func placer(dir string) error {
	h, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := h.Sweep(ctx); err != nil {
		return err
	}
	now, err := h.Restored(ctx, "r")
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if now.Phase == PhasePlaced || now.Phase == PhaseUndoing {
		_, err = h.Undo(ctx, "r")
	} else {
		_, err = h.Place(ctx, "r")
	}
	if err != nil {
		return err
	}
	fmt.Println("done!")
	select {} // it waits to be killed
}

// kills is how many must hit the middle: 20, or what `make soak` says.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("STAITHE_SOAK_KILLS")); err == nil {
		return n
	}
	return 20
}

// killPlacer runs the placer and kills it at a random moment.
func (b *bench) killPlacer() {
	b.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), placerEnv+"="+b.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	line := make([]byte, 6)
	_, err = io.ReadFull(out, line)
	timer := time.NewTimer(rand.N(40 * time.Millisecond)) // the moment is what is random
	<-timer.C
	if kerr := cmd.Process.Kill(); err != nil || kerr != nil {
		b.t.Fatalf("the placer did not begin: %q %v %v", line, err, kerr)
	}
	_ = cmd.Wait() // killed
}

// Killed at any moment of placing or undoing, each file is the old or the new
// one; who comes after finishes it, and then all are.
func TestKilledWhilePlacing(t *testing.T) {
	const files = 400
	b := newBench(t)
	snapshot := t.TempDir()
	name := func(i int) string { return fmt.Sprintf("d%d/f%d", i%7, i) }
	for i := range files {
		b.put(name(i), "then")
	}
	if out, err := exec.Command("cp", "-a", b.dir+"/.", snapshot).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for i := range files {
		switch i % 5 {
		case 0:
			_ = os.Remove(filepath.Join(b.dir, name(i)))
		default:
			b.put(name(i), "now, and longer")
		}
		b.put(fmt.Sprintf("new%d/f%d", i%3, i), "extra")
	}
	before, after := content(t, b.dir), content(t, snapshot)
	middle := 0
	for round := 0; middle < kills() && round < 10*kills(); round++ {
		b.fetched(snapshot, "r", Plan{Path: ".", Label: "x"}, true)
		for _, to := range []string{PhasePlaced, PhaseUndone} {
			for {
				b.killPlacer()
				for i := range files {
					if c, err := os.ReadFile(filepath.Join(b.dir, name(i))); err == nil && string(c) != "then" && string(c) != "now, and longer" {
						t.Fatalf("half a file: %q", c)
					}
				}
				if now, err := b.Restored(t.Context(), "r"); err != nil {
					t.Fatal(err)
				} else if now.Phase == to {
					break
				} else if now.Phase == PhasePlacing || now.Phase == PhaseUndoing {
					middle++
				}
			}
			if to == PhasePlaced {
				compare(t, content(t, b.dir), after)
			}
		}
		compare(t, content(t, b.dir), before)
		if t.Failed() {
			return
		}
		if err := b.ForgetRestore(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(b.dir, ".local/share/Trash")); err != nil {
			t.Fatal(err)
		}
	}
	if middle < kills() {
		t.Errorf("only %d kills hit between two steps", middle)
	}
}
