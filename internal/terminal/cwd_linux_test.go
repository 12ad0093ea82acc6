package terminal

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The folder of another user's shell is read, and no thread keeps that user's
// identity.
func TestCwdOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a shell as somebody else")
	}
	const uid = 54321
	c := Command{Argv: []string{"/bin/sh", "-c", "cd /usr && echo there && cat"}, Dir: "/", UID: uid, GID: uid, Cols: 80, Rows: 24}
	term, err := Start(context.Background(), Local{}, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.Close)
	p := pull(term, Join{Fresh: true})
	p.until(t, "there", func() bool { return strings.Contains(p.got.String(), "there") })
	for range 500 {
		if dir := term.Cwd(); dir != "/usr" {
			t.Fatalf("folder %q", dir)
		}
	}
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(threads) == 0 {
		t.Fatal("no threads", err)
	}
	for _, f := range threads {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "54321") {
			t.Errorf("%s: %s", f, b)
		}
	}
}
