package backup

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"staithe/internal/s3test"
	"staithe/internal/station"
)

// others gives an engine more homes, each made by fill, which nobody watches.
func others(t *testing.T, o *Options, n int, fill func(home string)) {
	t.Helper()
	more := map[station.ID]bool{}
	var list []station.Workstation
	for range n {
		ws := station.Workstation{ID: station.NewID(), UIDRange: 1}
		more[ws.ID] = true
		list = append(list, ws)
		home := o.Home(ws)
		if err := os.MkdirAll(home, 0o700); err != nil {
			t.Fatal(err)
		}
		fill(home)
		if os.Geteuid() == 0 {
			if err := os.Chown(home, station.SandboxUID, station.SandboxUID); err != nil {
				t.Fatal(err)
			}
		}
	}
	homes, watch := o.Homes, o.Watch
	o.Homes = func(ctx context.Context) ([]station.Workstation, error) {
		own, err := homes(ctx)
		return append(append([]station.Workstation{}, list...), own...), err
	}
	o.Watch = func(ctx context.Context, ws station.Workstation, home string) (Changes, error) {
		if more[ws.ID] {
			return &stream{c: make(chan change)}, nil
		}
		return watch(ctx, ws, home)
	}
}

// Homes that restic reads for hours, as of nothing but holes, which cost no quota,
// keep neither another home nor the server's own database from being stored.
func TestAbuse37_HugeHomes(t *testing.T) {
	t.Parallel() // it waits more than it works
	var server string
	b := newBench(t, func(o *Options) {
		o.Timing.Hold = 12 * time.Second
		others(t, o, quickRuns+slowRuns+1, func(home string) {
			f, err := os.Create(filepath.Join(home, "holes"))
			if err == nil {
				err = f.Truncate(4 << 40)
			}
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		})
		server = filepath.Join(o.Data, "server-own")
		if err := os.Mkdir(server, 0o700); err != nil {
			t.Fatal(err)
		}
		o.Server = func(context.Context) (string, func(), error) { return server, func() {}, nil }
	})
	b.e.ServerChanged()
	for range 2 {
		b.write("f", string(random(1000)))
		b.safe()
	}
	if s := b.e.ServerState(); s.Safe.IsZero() {
		t.Errorf("the server's own: %+v", s)
	}
	if n := len(b.e.quick.places) + len(b.e.slow.places) + len(b.e.own.places) + len(b.e.scrubs.places); n > 8 {
		t.Errorf("%d at once", n)
	}
}

// A store that takes connections and never answers, at whatever a snapshot is at,
// is said to, and what waits for it is given up.
func TestStoreThatNeverAnswers(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, at := range []string{"snapshot", "verify"} {
		t.Run(at, func(t *testing.T) {
			s := s3test.Start(t, "backups")
			b := newBench(t, func(o *Options) {
				o.Timing.Stalled = 10 * time.Second // what goes well on a busy machine is never so silent
				o.Bucket = s3Bucket(s)
			})
			before := b.settled()
			var once sync.Once
			hung, release := make(chan struct{}), make(chan struct{})
			answer := sync.OnceFunc(func() { close(release) })
			t.Cleanup(answer)
			hang := func(r *http.Request) bool {
				if strings.Contains(r.URL.Path, "/snapshots/") == (at == "verify") && (at != "verify" || r.Method == http.MethodGet) {
					once.Do(func() { close(hung) })
					<-release
				}
				return false
			}
			s.Set(s3test.Faults{Only: hang, Down: true})
			b.write("f", at)
			<-hung
			st := b.until("it is given up", 2*time.Minute, func(st station.BackupState) bool { return strings.Contains(st.Trouble, "given up") })
			if !st.Safe.Equal(before.Safe) || st.Pending < 1 {
				t.Errorf("%+v, before %+v", st, before)
			}
			s.Set(s3test.Faults{})
			answer()
			b.safe()
			if c := b.content("f"); c != at {
				t.Errorf("%q", c)
			}
		})
	}
}

// What is done after a snapshot, and takes long, does not have the state say that
// the snapshot makes no progress: it would say so until the next one.
func TestSlowKeyFile(t *testing.T) {
	t.Parallel()
	s := s3test.Start(t, "backups")
	var made atomic.Bool
	var once sync.Once
	hung, release := make(chan struct{}), make(chan struct{})
	answer := sync.OnceFunc(func() { close(release) })
	t.Cleanup(answer)
	s.Set(s3test.Faults{Down: true, Only: func(r *http.Request) bool {
		switch {
		case r.Method != http.MethodPut:
		case strings.Contains(r.URL.Path, "/snapshots/"):
			made.Store(true)
		case strings.Contains(r.URL.Path, "/keys/") && made.Load(): // not the repository's own
			once.Do(func() { close(hung) })
			<-release
		}
		return false
	}})
	b := newBench(t, func(o *Options) { o.Bucket = s3Bucket(s) })
	select {
	case <-hung:
	case <-time.After(2 * time.Minute):
		t.Fatalf("no key file is made: %+v", b.state())
	}
	u := b.unit()
	u.mu.Lock()
	minded := u.stall != nil
	u.mu.Unlock()
	if st := b.state(); st.Safe.IsZero() || minded {
		t.Errorf("looked after: %v; %+v", minded, st)
	}
	answer()
	b.write("f", "text")
	if st := b.safe(); st.Trouble != "" {
		t.Errorf("%+v", st)
	}
}

// In a home that is written to without a pause snapshots are forgotten, and what
// is unused is removed.
func TestTidyUnderSteadyWriting(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) {
		o.Timing.Forget, o.Timing.Prune = 2, time.Second
		o.Keep.Within, o.Keep.Hourly = 0, 1
	})
	u, err := b.e.unit(b.ws)
	if err != nil {
		t.Fatal(err)
	}
	pruned := func() time.Time { u.mu.Lock(); defer u.mu.Unlock(); return u.rec.Pruned }
	begin := pruned()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			b.write("f", fmt.Sprint(i))
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	defer func() { stop(); <-done }()
	made := map[string]bool{}
	b.until("old ones are forgotten, and pruned", time.Minute, func(station.BackupState) bool {
		list, err := b.e.Snapshots(b.ws)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			made[s.ID] = true
		}
		return len(made) >= len(list)+3 && pruned().After(begin)
	})
}

// When to tidy is told as a time to wake at.
func TestTidyWakes(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.Timing.Prune = time.Hour })
	b.settled()
	u, err := b.e.unit(b.ws)
	if err != nil {
		t.Fatal(err)
	}
	u.mu.Lock()
	want := u.rec.Pruned.Add(time.Hour)
	u.rec.Scrubbed = time.Now()
	u.mu.Unlock()
	if at, do := u.next(time.Now()); do == nil || !at.Equal(want) {
		t.Errorf("%v, not %v", at, want)
	}
	u.mu.Lock()
	want = time.Now().Add(2 * time.Hour)
	u.tidyAt = want
	u.mu.Unlock()
	if at, do := u.next(time.Now()); do == nil || !at.Equal(want) {
		t.Errorf("%v, not %v", at, want)
	}
}

// Where the last snapshot took long, also to have its turn, the next begins earlier.
func TestBeginsEarlier(t *testing.T) {
	u := &unit{e: &Engine{t: Timing{}.withDefaults()}, from: &homeSource{}}
	begin := time.Now()
	for i := range 60 {
		u.pend.add(begin.Add(time.Duration(i)*time.Second), []string{"a"}, false)
	}
	for took, want := range map[time.Duration]time.Duration{0: 30 * time.Second, 12 * time.Second: 18 * time.Second, time.Hour: 5 * time.Second} {
		if u.took = took; !u.due().Equal(begin.Add(want)) {
			t.Errorf("after %v: %v", took, u.due().Sub(begin))
		}
	}
	u.blind, u.pend = true, pending{}
	u.pend.add(begin, nil, true)
	if u.took = 0; !u.due().Equal(begin) {
		t.Errorf("blind: %v", u.due().Sub(begin))
	}
	if u.from = (&serverSource{}); !u.due().Equal(begin.Add(5 * time.Second)) {
		t.Errorf("the server's own, which says when it changed: %v", u.due().Sub(begin))
	}
}
