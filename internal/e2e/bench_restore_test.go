package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"staithe/internal/station"
)

// BenchmarkTotalLoss has a whole server back from a folder: what each 10,000
// files cost, and each GiB. A store adds its own time.
func BenchmarkTotalLoss(b *testing.B) {
	for _, c := range []struct {
		name        string
		files, size int
	}{{"10000files", 10_000, 2 << 10}, {"1GiB", 16, 64 << 20}} {
		b.Run(c.name, func(b *testing.B) { benchLoss(b, c.files, c.size) })
	}
}

func benchLoss(b *testing.B, files, size int) {
	needsRestic(b)
	s := serve(b)
	home := s.homes()[0]
	content := make([]byte, size)
	for i := range files {
		rand.Read(content)
		p := filepath.Join(home, "many", fmt.Sprint(i%100), fmt.Sprint(i))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(p, content, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	eventually(b, "a verified snapshot", func() bool {
		var state station.BackupState
		s.bearer(s.token).must(200, "GET", "/workstation/backups/state", nil, &state)
		return state.Safe.After(began)
	})
	eventually(b, "a snapshot of the database", func() bool {
		done, err := filepath.Glob(filepath.Join(s.data, "backups/server/snapshots/*"))
		return err == nil && len(done) > 0
	})
	for b.Loop() {
		into := b.TempDir()
		cmd := exec.Command(binary, "restore", "--from", filepath.Join(s.data, "backups"), "--key-file", filepath.Join(s.data, "backup.key"), "--data", into)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		b.StopTimer()
		if got, err := filepath.Glob(filepath.Join(into, "homes/*/many/*/*")); err != nil || len(got) != files {
			b.Fatalf("%d files, %v", len(got), err)
		}
		if err := os.RemoveAll(into); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
