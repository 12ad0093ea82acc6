package fleet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"staithe/internal/fleet"
	"staithe/internal/station"
	"staithe/internal/volume"
)

var fullHome = volume.Notice{Code: "home_full", Text: "Paused: your home is full."}

// braking runs a test with one session whose runtime can freeze or not.
func braking(t *testing.T, canFreeze bool, test func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session)) {
	synctest.Test(t, func(t *testing.T) {
		st, rt := &fakeStore{}, &fakeRuntime{frozen: map[station.ID]bool{}, canFreeze: canFreeze}
		rt.serve = honest(st)
		f := newFleetOver(t, st, rt, fleet.Options{Instance: "oneoneoneone"})
		s, err := f.Create(t.Context(), station.NewID(), "main", "")
		if err != nil {
			t.Fatal(err)
		}
		test(t, f, st, rt, s)
		f.Close()
		rt.work.Wait()
	})
}

// restarted is the server after its end, over what it left.
func restarted(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime) *fleet.Fleet {
	t.Helper()
	f.Close()
	next := newFleetOver(t, st, rt, fleet.Options{Instance: "oneoneoneone"})
	t.Cleanup(next.Close)
	if err := next.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return next
}

// brakedAs is with which code a server's guard finds the session braked.
func brakedAs(t *testing.T, f *fleet.Fleet) string {
	t.Helper()
	list, err := f.DiskHost().Writers(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	return list[0].Braked
}

// A brake freezes before the record says so. Whoever finds a running session
// frozen in between lets it go on; the brake holds all the same.
func TestBrakeHoldsThoughAReconcileComesInBetween(t *testing.T) {
	braking(t, true, func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session) {
		rt.onFreeze = sync.OnceFunc(func() {
			if err := f.Recover(t.Context()); err != nil {
				t.Error(err)
			}
			if rt.state(s.ID) != "running" {
				t.Error("the reconciliation did not thaw it: this test tries nothing")
			}
		})
		if err := f.DiskHost().Brake(t.Context(), s.ID, fullHome); err != nil {
			t.Fatal(err)
		}
		got, err := f.Get(t.Context(), s.User, "main")
		if err != nil || rt.state(s.ID) != "frozen" || got.State != station.StateAsleep || !got.Frozen || got.Reason != fullHome.Text || got.Notice.Code != fullHome.Code {
			t.Errorf("%s: %+v %v", rt.state(s.ID), got, err)
		}
	})
}

// On a full disk the brake comes, and its record when there is room.
func TestBrakeOnAFullDisk(t *testing.T) {
	braking(t, true, func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session) {
		full := func(is bool) {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.full = is
		}
		full(true)
		if err := f.DiskHost().Brake(t.Context(), s.ID, fullHome); !errors.Is(err, station.ErrNoSpace) || rt.state(s.ID) != "frozen" {
			t.Fatalf("%s, %v", rt.state(s.ID), err)
		}
		full(false)
		if err := f.DiskHost().Brake(t.Context(), s.ID, fullHome); err != nil {
			t.Fatal(err)
		}
		if code := brakedAs(t, f); code != fullHome.Code {
			t.Errorf("braked as %q", code)
		}
	})
}

// Where nothing can be frozen a brake ends the session, which says so; a wake
// starts it anew and takes the word back.
func TestBrakeWhereNothingCanBeFrozen(t *testing.T) {
	braking(t, false, func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session) {
		if err := f.DiskHost().Brake(t.Context(), s.ID, fullHome); err != nil {
			t.Fatal(err)
		}
		got, err := f.Get(t.Context(), s.User, "main")
		if err != nil || rt.state(s.ID) != "gone" || got.State != station.StateAsleep || got.Frozen || !strings.Contains(got.Notice.Text, "it was stopped") {
			t.Fatalf("%s: %+v %v", rt.state(s.ID), got, err)
		}
		if err := f.DiskHost().Release(t.Context(), s.ID); err != nil || rt.state(s.ID) != "gone" {
			t.Errorf("released, it is %s: %v", rt.state(s.ID), err)
		}
		got, err = f.Wake(t.Context(), s.User, "main")
		if err != nil || rt.state(s.ID) != "running" || got.Notice != (station.Notice{}) {
			t.Errorf("%s: %+v %v", rt.state(s.ID), got, err)
		}
	})
}

// A server that starts again knows who is braked, and lets them go on when there
// is room.
func TestBrakeIsTakenOverAfterARestart(t *testing.T) {
	braking(t, true, func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session) {
		if err := f.DiskHost().Brake(t.Context(), s.ID, fullHome); err != nil {
			t.Fatal(err)
		}
		f = restarted(t, f, st, rt)
		if code := brakedAs(t, f); code != fullHome.Code || rt.state(s.ID) != "frozen" {
			t.Fatalf("braked as %q, %s", code, rt.state(s.ID))
		}
		if err := f.DiskHost().Release(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		got, err := f.Get(t.Context(), s.User, "main")
		if err != nil || rt.state(s.ID) != "running" || got.State != station.StateRunning || got.Notice != (station.Notice{}) {
			t.Errorf("%s: %+v %v", rt.state(s.ID), got, err)
		}
	})
}

// Room wakes nobody whom a person put to sleep: neither one that was told that
// its home is full before, nor one that was braked and then put to sleep.
func TestAbuse23_RoomOnTheDiskWakesNoSleeper(t *testing.T) {
	for name, prepare := range map[string]func(volume.Host, context.Context, station.ID, volume.Notice) error{
		"told": volume.Host.Notify, "braked": volume.Host.Brake,
	} {
		t.Run(name, func(t *testing.T) {
			braking(t, true, func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session) {
				if err := prepare(f.DiskHost(), t.Context(), s.ID, fullHome); err != nil {
					t.Fatal(err)
				}
				if slept, err := f.Sleep(t.Context(), s.User, "main", false); err != nil || slept.Reason != "you put it to sleep" {
					t.Fatalf("%+v %v", slept, err)
				}
				f = restarted(t, f, st, rt)
				if code := brakedAs(t, f); code != "" {
					t.Errorf("it counts as braked: %q", code)
				}
				if err := f.DiskHost().Release(t.Context(), s.ID); err != nil || rt.state(s.ID) != "frozen" {
					t.Errorf("it was woken: %s, %v", rt.state(s.ID), err)
				}
			})
		})
	}
}

// A guest that takes what it is told and never answers keeps the disk's guard
// from nothing.
func TestAbuse39_SilentGuestDoesNotHoldTheGuard(t *testing.T) {
	braking(t, true, func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session) {
		f.Close() // and with it the connections to the guest as it was
		rt.mu.Lock()
		rt.serve = func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
		rt.mu.Unlock()
		f = newFleetOver(t, st, rt, fleet.Options{Instance: "oneoneoneone"})
		began := time.Now()
		if err := f.DiskHost().Notify(t.Context(), s.ID, fullHome); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it held the guard for %s", took)
		}
		f.Close()
	})
}

// Of a deleted session nothing is kept in memory.
func TestDeletedSessionIsForgotten(t *testing.T) {
	braking(t, true, func(t *testing.T, f *fleet.Fleet, _ *fakeStore, _ *fakeRuntime, s station.Session) {
		if err := f.Delete(t.Context(), s.User, "main"); err != nil {
			t.Fatal(err)
		}
		f.Hold(s.ID, "you are connected")() // somebody was late
		if err := f.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := f.Remembered(); len(left) != 0 {
			t.Errorf("kept: %v", left)
		}
	})
}
