package backup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"staithe/internal/station"
)

// rpo is what may be lost at most with the disk.
const rpo = time.Minute

// Many homes that are written to without a pause are each stored so often that a
// disk that is lost costs no more than a minute of work. STAITHE_SOAK_STEADY is how
// many.
func TestSteadyHomes(t *testing.T) {
	const lasts = 5 * time.Minute
	homes, err := strconv.Atoi(os.Getenv("STAITHE_SOAK_STEADY"))
	if err != nil {
		t.Skip("SKIPPED, many homes that are written to: it takes five minutes, and make soak has it")
	}
	begin := time.Now()
	y := &steady{t: t}
	b := newBench(t, func(o *Options) {
		o.Timing = Timing{List: 50 * time.Millisecond}
		list := []station.Workstation{}
		for range homes {
			ws := station.Workstation{ID: station.NewID(), UIDRange: 1}
			list = append(list, ws)
			if err := os.MkdirAll(o.Home(ws), 0o700); err != nil {
				t.Fatal(err)
			}
			if os.Geteuid() == 0 {
				if err := os.Chown(o.Home(ws), station.SandboxUID, station.SandboxUID); err != nil {
					t.Fatal(err)
				}
			}
		}
		y.list, y.home = list, o.Home
		o.Homes = func(context.Context) ([]station.Workstation, error) { return list, nil }
		o.Watch = y.watch
	})
	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	before := childrenTime(t)
	y.write(ctx)
	made := 0
	for _, ws := range y.list {
		s, err := b.e.State(ws)
		if err != nil {
			t.Fatal(err)
		}
		list, err := b.e.Snapshots(ws)
		if err != nil {
			t.Fatal(err)
		}
		made += len(list)
		if s.Safe.IsZero() || s.Trouble != "" {
			t.Errorf("%+v", s)
		}
	}
	var worst time.Duration
	first, most := y.measure(b, begin)
	b.stop()
	used := childrenTime(t) - before
	for id, d := range most {
		worst = max(worst, d)
		if d > rpo {
			t.Errorf("%s: a lost disk would have cost %v", id, d)
		}
	}
	t.Logf("%d homes for %v: %d snapshots of %.1f processor seconds each; all had one after %v, then at most %v of work was in none", homes, lasts, made, used.Seconds()/float64(made),
		first.Round(100*time.Millisecond), worst.Round(100*time.Millisecond))
}

// steady writes to homes, once a second to each.
type steady struct {
	t    *testing.T
	list []station.Workstation
	home func(station.Workstation) string

	mu      sync.Mutex
	streams map[station.ID]*stream
}

func (y *steady) watch(_ context.Context, ws station.Workstation, _ string) (Changes, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.streams == nil {
		y.streams = map[station.ID]*stream{}
	}
	s := &stream{c: make(chan change, 1000)}
	y.streams[ws.ID] = s
	return s, nil
}

func (y *steady) write(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := 0; ; i++ {
		for _, ws := range y.list {
			name := fmt.Sprint("f", i%10)
			if err := os.WriteFile(filepath.Join(y.home(ws), name), random(4000), 0o644); err != nil {
				y.t.Fatal(err)
			}
			y.mu.Lock()
			if s := y.streams[ws.ID]; s != nil {
				s.c <- change{paths: []string{name}}
			}
			y.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// measure is how long it took until each home had a snapshot, and the most work of
// each that was in none at any time after that: what was written after one began,
// until the next was verified.
func (y *steady) measure(b *bench, begin time.Time) (first time.Duration, most map[station.ID]time.Duration) {
	y.t.Helper()
	end := time.Now()
	most = map[station.ID]time.Duration{}
	for _, ws := range y.list {
		list, err := b.e.Snapshots(ws) // newest first
		if err != nil {
			y.t.Fatal(err)
		}
		var safe time.Time
		for i := len(list) - 1; i >= 0; i-- {
			v := list[i].Verified
			switch {
			case v.IsZero():
				continue
			case safe.IsZero():
				first = max(first, v.Sub(begin))
			default:
				most[ws.ID] = max(most[ws.ID], v.Sub(safe))
			}
			safe = list[i].At
		}
		most[ws.ID] = max(most[ws.ID], end.Sub(safe))
	}
	return first, most
}
