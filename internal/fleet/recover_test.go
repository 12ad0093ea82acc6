package fleet_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/station"
)

// The gateway dies and comes back: shells that can live do.
func TestAbuse40_KilledGatewayFindsItsSessionsAgain(t *testing.T) {
	s := newSetup(t)
	w := s.start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	w.openTab(t, main, "/bin/sleep", "1000")
	before := w.tabs(t, main)
	pid := w.pid(t, main.ID)
	w.close()

	w = s.start(t)
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantState(t, w, main, station.StateRunning)
	after := w.tabs(t, main)
	if len(after) != 1 || after[0].ID != before[0].ID || after[0].Exited || w.pid(t, main.ID) != pid {
		t.Errorf("tabs %v, before %v", after, before)
	}
	if w.endings() != "" {
		t.Errorf("ended: %s", w.endings())
	}
}

// Both die: the session sleeps, says why, and wakes.
func TestAbuse40_KilledGuestIsSaidAndWakes(t *testing.T) {
	s := newSetup(t)
	w := s.start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	kill(t, w.pid(t, main.ID))
	w.close()

	w = s.start(t)
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := wantState(t, w, main, station.StateAsleep); got.Reason == "" {
		t.Error("no reason")
	}
	if left, err := w.runtime.List(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("rubble left: %v %v", left, err)
	}
	if _, err := w.Wake(t.Context(), ann, "main"); err != nil {
		t.Fatal(err)
	}
}

// A guest that dies under a living gateway: a wake starts a new one without
// anyone having noticed before.
func TestWakeOfDeadGuest(t *testing.T) {
	w := newSetup(t).start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	kill(t, w.pid(t, main.ID))
	if _, err := w.Wake(t.Context(), ann, "main"); err != nil {
		t.Fatal(err)
	}
	w.tabs(t, main)
}

// Killed between the engine's run and the notes about it.
func TestAbuse40_KilledInTheMiddleOfAStart(t *testing.T) {
	s := newSetup(t)
	w := s.start(t)
	ann := w.user(t, "ann")
	noted, made, orphan := w.create(t, ann, "noted"), w.create(t, ann, "made"), w.create(t, ann, "orphan")
	pid := w.pid(t, noted.ID)

	// One sandbox lives, but neither record nor database say so.
	if err := os.Remove(filepath.Join(s.data, "sandboxes", string(noted.ID), "record.json")); err != nil {
		t.Fatal(err)
	}
	noted.State = station.StateStarting
	if err := w.store.UpdateSession(t.Context(), noted); err != nil {
		t.Fatal(err)
	}
	// One has only its folder.
	if err := w.runtime.Stop(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.data, "sandboxes", string(made.ID)), 0o700); err != nil {
		t.Fatal(err)
	}
	made.State = station.StateStarting
	if err := w.store.UpdateSession(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	// One runs though its session was deleted.
	if err := w.store.DeleteSession(t.Context(), orphan.ID); err != nil {
		t.Fatal(err)
	}
	w.close()

	w = s.start(t)
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantState(t, w, noted, station.StateRunning)
	if w.pid(t, noted.ID) != pid {
		t.Error("a living sandbox was not adopted")
	}
	wantState(t, w, made, station.StateAsleep)
	left, err := w.runtime.List(t.Context())
	if err != nil || len(left) != 1 || left[0].Session != noted.ID {
		t.Errorf("sandboxes: %v %v", left, err)
	}
}

// A guest that obeys another key is not ours to use, and not ours to kill.
func TestRecoverLeavesForeignGuestAlone(t *testing.T) {
	s := newSetup(t)
	w := s.start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	pid := w.pid(t, main.ID)
	w.close()

	s.seed = guestapi.NewSeed()
	w = s.start(t)
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := wantState(t, w, main, station.StateFailed); got.Reason == "" {
		t.Error("no reason")
	}
	wantAsleep(t, w, main)
	if _, err := w.Wake(t.Context(), ann, "main"); err == nil {
		t.Error("woke a foreign guest")
	}
	if w.pid(t, main.ID) != pid {
		t.Fatal("the living sandbox was destroyed")
	}
	if _, err := w.Sleep(t.Context(), ann, "main", false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Wake(t.Context(), ann, "main"); err != nil {
		t.Fatal(err)
	}
	w.tabs(t, main)
}

// A runtime that does not answer makes its sessions unknown, not gone: they stay
// as they are until it says.
func TestUnknownIsNotGone(t *testing.T) {
	w := newSetup(t).start(t)
	ann := w.user(t, "ann")
	main := w.create(t, ann, "main")
	kill(t, w.pid(t, main.ID))
	w.runtime.down.Store(true)
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantState(t, w, main, station.StateRunning)
	w.runtime.down.Store(false)
	for tick := time.NewTicker(5 * time.Millisecond); w.pid(t, main.ID) != 0; <-tick.C { // the kernel takes its time
		if t.Context().Err() != nil {
			t.Fatal("the guest does not end")
		}
	}
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantState(t, w, main, station.StateAsleep)
}
