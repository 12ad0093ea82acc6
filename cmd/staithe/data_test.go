package main

import (
	"errors"
	"testing"
	"time"

	"staithe/internal/station"
)

// A data directory that is let go a moment later is had; one that is in use is
// not.
func TestDataDirectoryIsWaitedFor(t *testing.T) {
	path := t.TempDir()
	first, err := openData(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openData(path); !errors.Is(err, station.ErrConflict) {
		t.Errorf("two servers on one: %v", err)
	}
	closed := make(chan error, 1)
	time.AfterFunc(lockPatience/10, func() { closed <- first.Close() })
	second, err := openData(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-closed, second.Close()); err != nil {
		t.Error(err)
	}
}
