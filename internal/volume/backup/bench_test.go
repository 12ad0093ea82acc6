package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkSnapshot is what a verified snapshot of 10 changes in 50,000 files
// costs: processor seconds of all processes that it starts, and wall time.
func BenchmarkSnapshot(b *testing.B) {
	h := newBench(b, func(o *Options) {
		o.Timing.Quiet = time.Hour
		o.Timing.Latest = time.Hour
		o.Timing.Scrub, o.Timing.Forget = 1000*time.Hour, 1<<30
	})
	const folders, files = 500, 100
	for d := range folders {
		dir := filepath.Join(h.home, fmt.Sprint("d", d))
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range files {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", f)), random(3800), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	if _, err := h.e.Wait(b.Context(), h.ws, "asked"); err != nil {
		b.Fatal(err)
	}
	var used time.Duration
	n := 0
	for b.Loop() {
		for i := range 10 {
			n++
			if err := os.WriteFile(filepath.Join(h.home, fmt.Sprint("d", (n*37+i)%folders), "f1"), random(3800), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		before := childrenTime(b)
		sn, err := h.e.Wait(b.Context(), h.ws, "asked")
		if err != nil || sn.Changed < 10 {
			b.Fatalf("%+v %v", sn, err)
		}
		used += childrenTime(b) - before
	}
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
}

func childrenTime(b testing.TB) time.Duration {
	b.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &ru); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
