package helper

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A user who makes a helper write all the time does not fill the server's disk.
func TestAbuse37_HelpersLogIsBounded(t *testing.T) {
	at := filepath.Join(t.TempDir(), "log")
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log := slog.New(slog.NewTextHandler(&Log{File: f}, nil))
	long := strings.Repeat("x", 64<<10)
	for range 3 * logMost / len(long) {
		log.Warn(long)
		if info, err := f.Stat(); err != nil || info.Size() > logMost {
			t.Fatal(info.Size(), err)
		}
	}
	log.Warn("the last one")
	if b, err := os.ReadFile(at); err != nil || !strings.Contains(string(b), "the last one") || b[0] != 't' {
		t.Errorf("%.100q %v", b, err)
	}
}
