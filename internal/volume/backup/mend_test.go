package backup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"staithe/internal/station"
)

// Somebody removes snapshots with plain restic, also the one that the next is
// compared with: it goes on.
func TestForgottenByOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.write("f", "one")
	b.safe()
	b.settled()
	list, err := b.e.Snapshots(b.ws)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		b.plain("forget", s.ID)
	}
	b.plain("prune")
	b.write("f", "two")
	if s := b.safe(); s.Trouble != "" {
		t.Errorf("%+v", s)
	}
	if c := b.content("f"); c != "two" {
		t.Errorf("%q", c)
	}
}

// A snapshot that was asked for runs before the home is watched: what changed
// between the two is stored, though nobody heard it.
func TestChangeBeforeTheWatch(t *testing.T) {
	t.Parallel()
	stands := make(chan struct{})
	b := newBench(t, func(o *Options) {
		watch := o.Watch
		o.Watch = func(ctx context.Context, ws station.Workstation, home string) (Changes, error) {
			select {
			case <-stands:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return watch(ctx, ws, home)
		}
	})
	if _, err := b.e.Wait(t.Context(), b.ws, "asked"); err != nil {
		t.Fatal(err)
	}
	b.unheard("f", "unheard")
	close(stands)
	b.safe()
	if c := b.content("f"); c != "unheard" {
		t.Errorf("%q", c)
	}
}

// One workstation whose state cannot be read, and one whose home cannot be looked
// at, keep no other from its snapshots, and are named.
func TestOneBadWorkstation(t *testing.T) {
	t.Parallel()
	bad := station.Workstation{ID: station.NewID(), UIDRange: 1}
	b := newBench(t, func(o *Options) {
		if err := os.MkdirAll(filepath.Join(o.Data, stateDir, string(bad.ID)+".json"), 0o700); err != nil {
			t.Fatal(err)
		}
		homes := o.Homes
		o.Homes = func(ctx context.Context) ([]station.Workstation, error) {
			own, err := homes(ctx)
			return append([]station.Workstation{bad}, own...), errors.Join(err, errors.New("a third"))
		}
	})
	b.settled()
	if err := b.e.look(t.Context()); err == nil || !strings.Contains(err.Error(), string(bad.ID)) || !strings.Contains(err.Error(), "a third") {
		t.Error(err)
	}
	if s := b.state(); s.Safe.IsZero() {
		t.Errorf("%+v", s)
	}
}

// A snapshot of the time when the clock was wrong is not what all later ones are
// compared with.
func TestFutureIsNoParent(t *testing.T) {
	now := time.Now()
	u := &unit{rec: record{Snapshots: []station.Snapshot{{ID: "good", At: now, Verified: now}, {ID: "future", At: now.Add(time.Hour), Verified: now}}}}
	if p := u.parent(); p != "good" {
		t.Error(p)
	}
}

// What waits takes little memory, however long its names are.
func TestAbuse37_PendingIsBounded(t *testing.T) {
	var p, q pending
	long := strings.Repeat("x", 4000)
	for i := range pendingMax + 10 {
		p.add(time.Now(), []string{long + strconv.Itoa(i), "f"}, false)
	}
	q.add(time.Now(), []string{"f", "g"}, false)
	if n := count(&p, &q); n != pendingMax+12 {
		t.Error(n)
	}
	before := testing.AllocsPerRun(1, func() {})
	if n := testing.AllocsPerRun(100, func() { p.add(time.Now(), []string{long}, false) }) - before; n > 0 {
		t.Errorf("%v allocations for a path", n)
	}
	p.merge(q)
	if n := count(&p, &pending{}); n < pendingMax || n > pendingMax+200 {
		t.Error(n)
	}
}

// A watch that tells changes too late is as none: what changed is stored without
// that it told, and how much waits is not known.
func TestDeafWatch(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) {
		o.Timing.Quiet = time.Hour // nobody waits for it who hears nothing
		o.Watch = func(context.Context, station.Workstation, string) (Changes, error) {
			return &stream{c: make(chan change), late: time.Minute}, nil
		}
	})
	b.safe()
	b.unheard("f", "unheard")
	if s := b.safe(); s.Pending != -1 {
		t.Errorf("%+v", s)
	}
	if c := b.content("f"); c != "unheard" {
		t.Errorf("%q", c)
	}
}
