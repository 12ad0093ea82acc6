package files

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// victimEnv tells this test's program, run again, which home to work in.
const victimEnv = "STAITHE_TEST_FILES_VICTIM"

// TestMain is also what the kill test kills: it works in a home without end.
func TestMain(m *testing.M) {
	if dir := os.Getenv(placerEnv); dir != "" {
		fmt.Fprintln(os.Stderr, placer(dir))
		os.Exit(1)
	}
	if dir := os.Getenv(victimEnv); dir != "" {
		fmt.Fprintln(os.Stderr, victim(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func victim(dir string) error {
	h, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := h.Sweep(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	for i := 0; ; i++ {
		c := strings.Repeat(fmt.Sprintf("%d\n", i), 200_000)
		for range 5 { // a write is short: without, most kills would hit a copy
			if _, err := h.Write(ctx, "f", strings.NewReader(c), WriteOptions{Size: -1}); err != nil {
				return err
			}
		}
		if _, err := h.Copy(ctx, "tree", "copy", 0); err == nil {
			if item, err := h.Trash(ctx, "copy"); err == nil {
				_ = h.Purge(ctx, item.ID) // what fails here is what the test looks for
			}
		}
		_ = h.Delete(ctx, "copy")
		if item, err := h.Trash(ctx, "precious"); err == nil {
			_, _ = h.Restore(ctx, item.ID, "")
		}
	}
}

// Killed at any moment, the helper leaves files whole, copies whole or absent,
// what is on its way to the trash or back in one of the two places, and nothing
// in staging once it runs again.
func TestKilledInTheMiddle(t *testing.T) {
	b := newBench(t)
	b.put("precious", "precious")
	for i := range 20 {
		b.put(fmt.Sprintf("tree/%d/f", i), "x")
	}
	for range 20 {
		b.killOnce()
		if c, err := os.ReadFile(b.dir + "/f"); err == nil {
			first, _, _ := strings.Cut(string(c), "\n")
			if string(c) != strings.Repeat(first+"\n", 200_000) {
				t.Fatalf("half a file: %d bytes", len(c))
			}
		}
		if c := b.copies("copy"); c != 0 && c != 20 {
			// One that is being deleted or purged is in staging or the trash.
			t.Fatalf("half a copy: %d files", c)
		}
		b.rescue()
		for _, name := range b.list(".", ListOptions{}) {
			if !slices.Contains([]string{"f", "tree", "copy", "precious"}, name) {
				t.Fatalf("%q was left in the home", name)
			}
		}
		if err := b.Sweep(t.Context()); err != nil || len(b.staged()) != 0 {
			t.Fatalf("%v, staging %q", err, b.staged())
		}
	}
}

// killOnce runs the victim for a moment.
func (b *bench) killOnce() {
	b.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+b.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	line := make([]byte, 6)
	_, err = io.ReadFull(out, line)
	timer := time.NewTimer(rand.N(60 * time.Millisecond)) // the moment is what is random
	<-timer.C
	if kerr := cmd.Process.Kill(); err != nil || kerr != nil {
		b.t.Fatalf("the victim did not begin: %q %v %v", line, err, kerr)
	}
	_ = cmd.Wait() // killed
}

// copies counts the files of a copy.
func (b *bench) copies(name string) (n int) {
	for i := range 20 {
		if _, err := os.Stat(fmt.Sprintf("%s/%s/%d/f", b.dir, name, i)); err == nil {
			n++
		}
	}
	return n
}

// rescue finds the precious file and puts it back.
func (b *bench) rescue() {
	b.t.Helper()
	if _, err := os.Stat(b.dir + "/precious"); err == nil {
		if b.get("precious") != "precious" {
			b.t.Fatal("the file is damaged")
		}
		return
	}
	list, err := b.ListTrash(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, item := range list {
		if item.Path == "precious" {
			if _, err := b.Restore(b.t.Context(), item.ID, ""); err != nil {
				b.t.Fatal(err)
			}
			return
		}
	}
	b.t.Fatalf("the file is lost: %+v", list)
}
