package fleet_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"staithe/internal/fleet"
	"staithe/internal/station"
)

// bubble runs a test with one session of a rule on a server whose clock is the
// bubble's.
func bubble(t *testing.T, rule station.IdleRule, test func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session)) {
	synctest.Test(t, func(t *testing.T) {
		st, rt := &fakeStore{}, &fakeRuntime{frozen: map[station.ID]bool{}, canFreeze: true}
		rt.serve = honest(st)
		f := newFleetOver(t, st, rt, fleet.Options{Classes: class(func(c *station.Class) { c.Idle = rule })})
		s, err := f.Create(t.Context(), station.NewID(), "main", "")
		if err != nil {
			t.Fatal(err)
		}
		stop := running(t, f)
		test(t, f, st, rt, s)
		stop()
		f.Close()
		rt.work.Wait()
	})
}

// running runs a server until stop.
func running(t *testing.T, f *fleet.Fleet) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { f.Run(ctx) })
	return func() { cancel(); done.Wait() }
}

// after lets time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestIdleRuleInTwoStages(t *testing.T) {
	rule := station.IdleRule{Freeze: 30 * time.Minute, Stop: 24 * time.Hour}
	bubble(t, rule, func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session) {
		release := f.Hold(s.ID, "you are connected")
		after(3 * time.Hour)
		if got, _ := f.Get(t.Context(), s.User, "main"); rt.state(s.ID) != "running" || got.WhyAwake != "you are connected" {
			t.Fatalf("connected, but it is %s: %+v", rt.state(s.ID), got)
		}
		release()
		after(4 * time.Minute)
		if got, _ := f.Get(t.Context(), s.User, "main"); got.WhyAwake != "it was used 4 minutes ago; it sleeps after 30 minutes without use" {
			t.Errorf("%q", got.WhyAwake)
		}
		after(25 * time.Minute)
		if rt.state(s.ID) != "running" {
			t.Fatal("it sleeps before its time")
		}
		after(2 * time.Minute)
		got, _ := f.Get(t.Context(), s.User, "main")
		if rt.state(s.ID) != "frozen" || got.State != station.StateAsleep || got.Reason != "idle for 30 minutes" || got.WhyAwake != "" {
			t.Fatalf("%s: %+v", rt.state(s.ID), got)
		}
		after(23 * time.Hour)
		if rt.state(s.ID) != "frozen" {
			t.Fatal(rt.state(s.ID))
		}
		after(2 * time.Hour)
		if got, _ := f.Get(t.Context(), s.User, "main"); rt.state(s.ID) != "gone" || got.State != station.StateAsleep || got.Reason != "idle for 30 minutes" || got.Holder != "" {
			t.Fatalf("%s: %+v", rt.state(s.ID), got)
		}
		if rt.starts.Load() != 1 {
			t.Errorf("%d starts", rt.starts.Load())
		}
	})
}

// Where nothing can be frozen, both times of the rule together stop it.
func TestIdleRuleWithoutFreezing(t *testing.T) {
	rule := station.IdleRule{Freeze: 30 * time.Minute, Stop: time.Hour}
	bubble(t, rule, func(t *testing.T, f *fleet.Fleet, _ *fakeStore, rt *fakeRuntime, s station.Session) {
		rt.mu.Lock()
		rt.canFreeze = false
		rt.mu.Unlock()
		after(80 * time.Minute)
		got, _ := f.Get(t.Context(), s.User, "main")
		if rt.state(s.ID) != "running" || !strings.Contains(got.WhyAwake, "it sleeps after 90 minutes") {
			t.Fatalf("%s: %+v", rt.state(s.ID), got)
		}
		after(12 * time.Minute)
		if rt.state(s.ID) != "gone" {
			t.Fatal(rt.state(s.ID))
		}
	})
}

// What programs do above the floors keeps a session awake, and a wish does.
func TestWorkAndWishesKeepAwake(t *testing.T) {
	bubble(t, station.IdleRule{Freeze: 10 * time.Minute}, func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session) {
		says := func(activity, want string) {
			t.Helper()
			st.mu.Lock()
			st.activity = activity
			st.mu.Unlock()
			after(time.Hour)
			got, _ := f.Get(t.Context(), s.User, "main")
			if rt.state(s.ID) != "running" || !strings.Contains(got.WhyAwake, want) {
				t.Fatalf("%s is %s: %q", activity, rt.state(s.ID), got.WhyAwake)
			}
		}
		says(`{"cpu":{"pid":412,"name":"cargo build","rate":3.02}}`, "cargo build (pid 412) uses 3.0 cores")
		says(`{"disk":{"pid":7,"name":"rsync","rate":2097152}}`, "rsync (pid 7) reads and writes 2 MiB/s")
		says(`{"network":{"pid":77,"name":"vite","rate":20480}}`, "vite (pid 77) uses the network, 20 KiB/s")
		says(`{"cpu":{"pid":1,"name":"\u001b]0;evil\u0007\u202e","rate":1e300}}`, "]0;evil (pid 1) uses many cores")
		says(`{"keep_awake":{"id":"one","seconds":999999999999}}`, "keep-awake until ")
		got, _ := f.Get(t.Context(), s.User, "main")
		if left := time.Until(got.KeepAwakeUntil); left > 7*24*time.Hour {
			t.Errorf("a guest's wish counts for %s", left)
		}
		if _, err := f.KeepAwake(t.Context(), s.User, "main", 8*24*time.Hour); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("8 days: %v", err)
		}
		if _, err := f.KeepAwake(t.Context(), s.User, "main", 0); err != nil {
			t.Fatal(err)
		}
		after(9 * time.Minute) // the wish is said again, but it was taken
		if rt.state(s.ID) != "running" {
			t.Error("its rule's time does not begin with the wish's end")
		}
		st.mu.Lock()
		st.activity = `{"cpu":{"pid":9,"name":"sshd","rate":0.002},"disk":{"rate":100},"network":{"rate":10}}`
		st.mu.Unlock()
		after(2 * time.Minute)
		if rt.state(s.ID) != "frozen" {
			t.Error("what is below the floors keeps it awake")
		}
	})
}

// Beside somebody who is connected, a program is named once it has worked for
// two looks, and not for what typing takes; alone it is named at once, since it
// is what keeps the session awake.
func TestWhyAwakeNamesNoTrifles(t *testing.T) {
	bubble(t, station.IdleRule{Freeze: 10 * time.Minute}, func(t *testing.T, f *fleet.Fleet, st *fakeStore, _ *fakeRuntime, s station.Session) {
		says := func(activity string) {
			st.mu.Lock()
			st.activity = activity
			st.mu.Unlock()
		}
		why := func() string {
			got, _ := f.Get(t.Context(), s.User, "main")
			return got.WhyAwake
		}
		const you, look = "you are connected", 5 * time.Second
		release := f.Hold(s.ID, you)
		after(look)
		says(`{"cpu":{"pid":9,"name":"bash","rate":2},"disk":{"pid":9,"name":"bash","rate":37888}}`)
		after(look)
		if got := why(); got != you {
			t.Errorf("after one look: %q", got)
		}
		after(look)
		if got := why(); got != you+"; bash (pid 9) uses 2.0 cores; bash (pid 9) reads and writes 37 KiB/s" {
			t.Errorf("after two looks: %q", got)
		}
		says(`{"cpu":{"pid":9,"name":"bash","rate":0.02}}`)
		after(3 * look)
		if got := why(); got != you {
			t.Errorf("while somebody types: %q", got)
		}
		release()
		if got := why(); got != "bash (pid 9) uses 0.02 cores" {
			t.Errorf("alone: %q", got)
		}
	})
}

// A page that comes back for an hour, and the server's own rounds, wake nothing:
// only a person's act does.
func TestAbuse23_ReconnectingForAnHourWakesNothing(t *testing.T) {
	bubble(t, station.IdleRule{Freeze: time.Minute, Stop: 10 * time.Minute}, func(t *testing.T, f *fleet.Fleet, _ *fakeStore, rt *fakeRuntime, s station.Session) {
		after(2 * time.Minute)
		for range 720 {
			if _, err := f.Guest(t.Context(), s.ID); err == nil {
				t.Fatal("a sleeping session's guest was handed out")
			}
			if _, err := f.Get(t.Context(), s.User, "main"); err != nil {
				t.Fatal(err)
			}
			f.Hold(s.ID, "you are connected")()
			after(5 * time.Second)
			if rt.state(s.ID) == "running" {
				t.Fatal("it was woken")
			}
		}
		if rt.starts.Load() != 1 || rt.state(s.ID) != "gone" {
			t.Errorf("%d starts, %s", rt.starts.Load(), rt.state(s.ID))
		}
		if got, err := f.Wake(t.Context(), s.User, "main"); err != nil || got.State != station.StateRunning {
			t.Errorf("%+v %v", got, err)
		}
	})
}

// Of two servers over one database one runs a session. When that one is gone,
// the other may after half a minute.
func TestTwoServersNeverRunOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &fakeStore{}
		boxes := &fakeRuntime{frozen: map[station.ID]bool{}, canFreeze: true, serve: honest(st)}
		elsewhere := &fakeRuntime{frozen: map[station.ID]bool{}, canFreeze: true, serve: honest(st)}
		a := newFleetOver(t, st, boxes, fleet.Options{Instance: "aaaaaaaaaaaa"})
		b := newFleetOver(t, st, elsewhere, fleet.Options{Instance: "bbbbbbbbbbbb"})
		stopA, stopB := running(t, a), running(t, b)
		s, err := a.Create(t.Context(), station.NewID(), "main", "")
		if err != nil {
			t.Fatal(err)
		}
		after(5 * time.Minute) // b sees no sandbox of it, and leaves it alone
		refused := func() {
			t.Helper()
			var p *station.Problem
			_, err1 := b.Wake(t.Context(), s.User, "main")
			_, err2 := b.Sleep(t.Context(), s.User, "main", true)
			for _, err := range []error{err1, err2, b.Delete(t.Context(), s.User, "main")} {
				if !errors.As(err, &p) || p.Code != "other_server" {
					t.Errorf("b: %v", err)
				}
			}
			if got, err := a.Get(t.Context(), s.User, "main"); err != nil || got.State != station.StateRunning || elsewhere.starts.Load() != 0 {
				t.Fatalf("%+v %v", got, err)
			}
		}
		refused()
		// a is suspended: neither its heart nor its rounds beat.
		stopA()
		after(20 * time.Second)
		refused()
		after(2 * time.Minute)
		// b found its lease run out and no sandbox of it: it sleeps, and wakes at b.
		if got, err := b.Wake(t.Context(), s.User, "main"); err != nil || got.State != station.StateRunning || elsewhere.state(s.ID) != "running" {
			t.Fatalf("b after a's end: %+v %v", got, err)
		}
		// a comes back and believes it runs it: it may do nothing.
		stopA = running(t, a)
		after(2 * time.Minute)
		var p *station.Problem
		if _, err := a.Sleep(t.Context(), s.User, "main", false); !errors.As(err, &p) || p.Code != "other_server" {
			t.Errorf("a: %v", err)
		}
		if got, err := b.Get(t.Context(), s.User, "main"); err != nil || got.State != station.StateRunning || elsewhere.state(s.ID) != "running" {
			t.Errorf("%+v %v", got, err)
		}
		stopA()
		stopB()
		a.Close()
		b.Close()
		boxes.work.Wait()
		elsewhere.work.Wait()
	})
}

// A lease that is given back while all are renewed stays given back: the other
// server takes the session, and the first may do nothing to it.
func TestLeaseGivenBackWhileRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &fakeStore{}
		boxes := &fakeRuntime{frozen: map[station.ID]bool{}, canFreeze: true, serve: honest(st)}
		elsewhere := &fakeRuntime{frozen: map[station.ID]bool{}, canFreeze: true, serve: honest(st)}
		a := newFleetOver(t, st, boxes, fleet.Options{Instance: "aaaaaaaaaaaa"})
		b := newFleetOver(t, st, elsewhere, fleet.Options{Instance: "bbbbbbbbbbbb"})
		s, err := a.Create(t.Context(), station.NewID(), "main", "")
		if err != nil {
			t.Fatal(err)
		}
		st.renewed = func() {
			if _, err := a.Sleep(t.Context(), s.User, "main", true); err != nil {
				t.Error(err)
			}
		}
		if err := a.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Wake(t.Context(), s.User, "main"); err != nil {
			t.Fatal(err)
		}
		var p *station.Problem
		if _, err := a.Wake(t.Context(), s.User, "main"); !errors.As(err, &p) || p.Code != "other_server" || boxes.state(s.ID) != "gone" {
			t.Errorf("both run it: %s here; %v", boxes.state(s.ID), err)
		}
		a.Close()
		b.Close()
		boxes.work.Wait()
		elsewhere.work.Wait()
	})
}

// A server that cannot renew its leases leaves its sessions alone until it can.
func TestServerWithoutLeaseDoesNothing(t *testing.T) {
	bubble(t, station.IdleRule{Freeze: 10 * time.Minute}, func(t *testing.T, f *fleet.Fleet, st *fakeStore, rt *fakeRuntime, s station.Session) {
		away := func(is bool) {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.away = is
		}
		away(true)
		after(30 * time.Minute)
		if rt.state(s.ID) != "running" || rt.freezes.Load() != 0 {
			t.Fatal("it was put to sleep without a lease")
		}
		away(false)
		after(11 * time.Minute)
		if rt.state(s.ID) != "frozen" {
			t.Errorf("with the lease back it is %s", rt.state(s.ID))
		}
	})
}

// A session whose class the settings have no more says so, and is refused.
func TestClassThatVanished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, st, rt := newFake(t, nil)
		rt.serve = honest(st)
		user := station.NewID()
		st.sessions = []station.Session{{ID: station.NewID(), User: user, Name: "main", Class: "gold", State: station.StateAsleep}}
		var p *station.Problem
		if _, err := f.Wake(t.Context(), user, "main"); !errors.As(err, &p) || p.Code != "class_gone" || !strings.Contains(p.Sentence, "gold") {
			t.Errorf("wake: %v", err)
		}
		if got, err := f.Get(t.Context(), user, "main"); err != nil || got.Notice.Code != "class_gone" || got.State != station.StateFailed {
			t.Errorf("%+v %v", got, err)
		}
		if _, err := f.Create(t.Context(), user, "other", "silver"); !errors.As(err, &p) || p.Code != "bad_class" || !strings.Contains(p.Sentence, "standard") {
			t.Errorf("create: %v", err)
		}
		f.Close()
		rt.work.Wait()
	})
}
