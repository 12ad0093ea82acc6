package backup

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"staithe/internal/s3test"
	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) count(what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), what)
}

// largest is the repository's largest pack.
func (b *bench) largest() string {
	b.t.Helper()
	list, err := filepath.Glob(filepath.Join(b.o.Data, reposDir, string(b.ws.ID), "data", "*", "*"))
	if err != nil || len(list) == 0 {
		b.t.Fatal(list, err)
	}
	size := func(p string) int64 {
		info, err := os.Stat(p)
		if err != nil {
			b.t.Fatal(err)
		}
		return info.Size()
	}
	return slices.MaxFunc(list, func(x, y string) int { return cmp.Compare(size(x), size(y)) })
}

// damage damages the largest pack until it is mended.
func (b *bench) damage() (mend func()) {
	b.t.Helper()
	pack := b.largest()
	good, err := os.ReadFile(pack)
	if err != nil {
		b.t.Fatal(err)
	}
	put := func(content []byte) {
		b.t.Helper()
		if err := errors.Join(os.WriteFile(pack+".new", content, 0o400), os.Rename(pack+".new", pack)); err != nil {
			b.t.Fatal(err)
		}
	}
	bad := slices.Clone(good)
	for i := range 1000 {
		bad[i] ^= 1
	}
	put(bad)
	return func() { put(good) }
}

// count is how many snapshots there are said to be.
func (b *bench) count() int {
	b.t.Helper()
	list, err := b.e.Snapshots(b.ws)
	if err != nil {
		b.t.Fatal(err)
	}
	return len(list)
}

func (b *bench) unit() *unit {
	b.t.Helper()
	u, err := b.e.unit(b.ws)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// Damage stays until a look at all of the repository finds none, and nothing is
// removed meanwhile.
func TestDamageStays(t *testing.T) {
	t.Parallel()
	var log journal
	b := newBench(t, func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		o.Timing.Scrub, o.Timing.Again, o.Timing.Damaged = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
		o.Timing.Forget = 4
		o.Keep = restic.Policy{Hourly: 1}
	})
	b.write("f", string(random(1<<20)))
	b.safe()
	mend := b.damage()
	damaged := func(s station.BackupState) bool { return strings.Contains(s.Trouble, "damaged") }
	b.until("the damage is seen", 2*time.Minute, damaged)
	looks := log.count("could not be looked through")
	before := b.count()
	for i := range 5 { // each makes packs that another part of the data is chosen from
		b.write(fmt.Sprint("g", i), string(random(1000)))
		b.safe()
	}
	if n := b.count(); n < before+5 {
		t.Errorf("%d snapshots, and 5 later %d", before, n)
	}
	b.until("it is looked at again", 2*time.Minute, func(s station.BackupState) bool {
		if !damaged(s) {
			t.Fatal("a damage has healed by itself")
		}
		return log.count("could not be looked through") >= looks+5
	})
	mend()
	b.until("it is whole again", 2*time.Minute, func(s station.BackupState) bool { return s.Trouble == "" })
	b.until("old ones are removed", 2*time.Minute, func(station.BackupState) bool { return b.count() == 1 })
}

// When pruning fails it is said, and goes on by itself, without any change.
func TestPruneFails(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) {
		o.Timing.Prune, o.Timing.Tidy = time.Nanosecond, 300*time.Millisecond
		o.Keep = restic.Policy{Hourly: 1}
	})
	b.settled()
	b.write("f", string(random(1<<20)))
	b.safe()
	// A pack that is not there is seen by who prunes, and not by who adds.
	pack, away := b.largest(), filepath.Join(b.o.Data, "pack")
	if err := os.Rename(pack, away); err != nil {
		t.Fatal(err)
	}
	b.write("g", "text")
	b.safe()
	s := b.until("it is said", time.Minute, func(s station.BackupState) bool { return s.Trouble != "" && s.Busy == "" })
	if s.Pending != 0 || s.Retry.IsZero() {
		t.Errorf("%+v", s)
	}
	if err := os.Rename(away, pack); err != nil {
		t.Fatal(err)
	}
	b.until("it goes on", time.Minute, func(s station.BackupState) bool { return s.Trouble == "" })
}

// What was forgotten is not said to be there, also when pruning after that is broken
// off; and who waits for a snapshot does not wait for it.
func TestPruneBrokenOff(t *testing.T) {
	t.Parallel()
	needs(t)
	s := s3test.Start(t, "backups")
	b := newBench(t, func(o *Options) {
		o.Bucket = restic.Bucket{Endpoint: s.URL, Name: "backups", Prefix: "a/b", AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey, Region: "auto", PathStyle: true}
		o.Timing.Forget, o.Timing.Tidy = 4, 300*time.Millisecond
		o.Timing.Prune = time.Nanosecond
		o.Keep = restic.Policy{Hourly: 1}
	})
	u := b.unit()
	u.mu.Lock()
	u.tidyAt = time.Now().Add(time.Hour)
	u.mu.Unlock()
	for i := range 4 {
		b.write("f", fmt.Sprint(i, string(random(100_000))))
		b.safe()
	}
	b.settled()
	if b.count() < 4 {
		t.Fatalf("%d snapshots", b.count())
	}
	s.Set(s3test.Faults{Status: 500, Code: "InternalError", Only: func(r *http.Request) bool {
		return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/index/")
	}})
	u.mu.Lock()
	u.tidyAt = time.Time{}
	u.mu.Unlock()
	u.nudge()
	b.until("it is pruned", time.Minute, func(station.BackupState) bool { return s.Hit.Load() > 0 })
	begin := time.Now()
	if _, err := b.e.Wait(t.Context(), b.ws, "asked"); err != nil || time.Since(begin) > 30*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	if n := b.count(); n > 2 {
		t.Errorf("%d snapshots are said to be there", n)
	}
	s.Set(s3test.Faults{})
	b.until("it comes to its end", time.Minute, func(station.BackupState) bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.rec.Forgotten == 0 && u.busy == ""
	})
	b.plainS3("check", "--read-data")
}

// A snapshot that could not be read back does not take the place of a good one.
func TestUnprovedIsForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.Keep, o.Timing.Forget = restic.Policy{Hourly: 1, Within: 2 * time.Hour}, 1000 })
	b.settled()
	same := string(random(1 << 20))
	b.write("f", same)
	b.safe()
	mend := b.damage()
	b.write("g", same)
	b.until("trouble is said", time.Minute, func(s station.BackupState) bool { return s.Trouble != "" && s.Busy == "" })
	mend()
	b.safe()
	b.settled()
	u := b.unit()
	u.mu.Lock()
	bad := slices.Clone(u.rec.Unproved)
	u.mu.Unlock()
	b.plain("backup", "--host", "another", b.home) // somebody's own
	if ids := u.unproved(); len(bad) == 0 || len(ids) != len(bad) {
		t.Fatalf("%q of %q", ids, bad)
	}
	u.turn.Lock()
	err := u.forget(t.Context(), t.Context())
	u.turn.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	list, err := b.e.Snapshots(b.ws)
	if err != nil || len(list) < 3 || slices.ContainsFunc(list, func(s station.Snapshot) bool { return s.Verified.IsZero() }) {
		t.Errorf("%+v %v", list, err)
	}
	if all := b.plain("snapshots"); !strings.Contains(all, "another") || strings.Contains(all, bad[0]) {
		t.Errorf("%s", all)
	}
}

// A killed server may leave a snapshot that was not read back. The policy would keep
// it as its hour's, and remove the one before it that counts: it waits for the next.
func TestNothingIsForgottenForWhatDoesNotCount(t *testing.T) {
	now := time.Now()
	u := &unit{e: &Engine{t: Timing{}.withDefaults()}}
	u.rec.Forgotten, u.rec.Pruned = u.e.t.Forget, now
	second := now.Truncate(time.Second)
	good, left := station.Snapshot{ID: "a", At: second.Add(1), Verified: now}, station.Snapshot{ID: "b", At: second.Add(-time.Second)}
	same, later := station.Snapshot{ID: "c", At: second}, station.Snapshot{ID: "d", At: second.Add(time.Second)}
	future := station.Snapshot{ID: "e", At: now.Add(300 * 24 * time.Hour)}
	for _, c := range []struct {
		compared bool
		list     []station.Snapshot
		due      bool
	}{
		{false, []station.Snapshot{good}, false}, // it may have made one that the record has not
		{true, []station.Snapshot{good, later}, false},
		{true, []station.Snapshot{same, good}, false}, // restic knows seconds
		{true, nil, false},
		{true, []station.Snapshot{left, good}, true},
		{true, []station.Snapshot{good, future}, true}, // a clock was wrong when a server was killed
		{true, []station.Snapshot{future}, false},
	} {
		u.compared, u.rec.Snapshots = c.compared, c.list
		if _, due := u.tidyDue(now, time.Time{}); due != c.due {
			t.Errorf("%+v: due %v", c, due)
		}
	}
	// A server that lost its record, or whose clock is behind, knows of none that it counts.
	u.rec.Snapshots = []station.Snapshot{left, good, future}
	if ids := u.unproved(); len(ids) > 0 {
		t.Errorf("to be forgotten, though nobody tried to read it: %q", ids)
	}
}

// What restic said while it tried again is logged when it gives up, once.
func TestOutageIsLogged(t *testing.T) {
	var log journal
	u := &unit{e: &Engine{t: Timing{}.withDefaults()}, log: slog.New(slog.NewTextHandler(&log, nil))}
	err := station.Errorf(station.ErrUnavailable, restic.CodeUnreachable, "The store does not answer.")
	for range 3 {
		u.trouble = "The store does not answer."
		u.failed(err)
	}
	if n := log.count("a backup failed"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	u.worked()
	u.trouble = "The store does not answer."
	u.worked() // it was in between, and nothing failed
	if n := log.count("work again"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}
