package restic

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"staithe/internal/volume/jail"
)

func TestMain(m *testing.M) {
	if os.Args[0] == "staithe-backup" {
		os.Exit(jail.Main())
	}
	if len(os.Args) == 2 && os.Args[1] == probe {
		lookAround()
		return
	}
	os.Exit(m.Run())
}

// open makes a repository in a folder of its own.
func open(t *testing.T) (*Repo, Options) {
	t.Helper()
	program, _, err := Find(t.Context())
	if err != nil {
		t.Skip("SKIPPED, restic: ", err)
	}
	if err := jail.Check(); err != nil {
		t.Skip("SKIPPED, restic's jail: ", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := Options{Program: program, Launcher: self, Key: "secret-of-the-test", Path: filepath.Join(dir, "repo"),
		Cache: filepath.Join(dir, "cache"), Lock: filepath.Join(dir, "lock"), Host: "staithe-test"}
	for _, d := range []string{o.Path, o.Cache} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return r, o
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon waits for something to become true.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("it does not happen: ", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
