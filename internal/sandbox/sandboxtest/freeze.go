package sandboxtest

import (
	"errors"
	"testing"
	"time"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// stillness is how long a frozen guest is watched for an answer it must not give.
const stillness = 200 * time.Millisecond

// freezeThaw: a frozen sandbox answers nobody and loses nothing.
func freezeThaw(t *testing.T, open Open, able Abilities) {
	data := t.TempDir()
	rt := open(t, data)
	none := station.NewID()
	if err := rt.Freeze(t.Context(), none); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("freeze of nothing: %v", err)
	}
	b := start(t, rt, Spec(t, Home(t, 1), 1))
	if err := rt.Thaw(t.Context(), b.Session); err != nil {
		t.Errorf("thaw of what is not frozen: %v", err)
	}
	if able.NoFreeze != "" {
		if err := rt.Freeze(t.Context(), b.Session); !errors.Is(err, sandbox.ErrNoFreeze) {
			t.Errorf("freeze where that cannot be: %v", err)
		}
	}
	need(t, able.NoFreeze)
	mark := "/tmp/mark-" + string(b.Session)
	b.sh(t, "echo kept > "+mark)
	for range 2 {
		if err := rt.Freeze(t.Context(), b.Session); err != nil {
			t.Fatal(err)
		}
		b.wantFrozen(t, true)
	}
	answered := make(chan error, 1)
	go func() { answered <- b.health() }()
	select {
	case err := <-answered:
		t.Fatalf("a frozen guest answered: %v", err)
	case <-time.After(stillness):
	}
	if able.NoUsage == "" {
		if u, err := rt.Usage(t.Context(), b.Session); err != nil || u.Memory <= 0 {
			t.Errorf("usage of a frozen one: %+v %v", u, err)
		}
	}
	next := reach(open(t, data), b.Spec)
	next.wantFrozen(t, true)
	if err := next.rt.Start(t.Context(), b.Spec); err != nil {
		t.Errorf("start of a frozen one: %v", err)
	}
	next.wantFrozen(t, true)
	for range 2 {
		if err := next.rt.Thaw(t.Context(), b.Session); err != nil {
			t.Fatal(err)
		}
		next.wantFrozen(t, false)
	}
	if err := <-answered; err != nil {
		t.Errorf("the request from before the thaw: %v", err)
	}
	if got := b.sh(t, "cat "+mark+" && rm "+mark); got != "kept" {
		t.Errorf("/tmp after the thaw: %q", got)
	}
}

// stopFrozen ends a frozen sandbox whose processes would like to stay.
func stopFrozen(t *testing.T, open Open, able Abilities) {
	need(t, able.NoFreeze)
	data := t.TempDir()
	rt := open(t, data)
	b := start(t, rt, Spec(t, Home(t, 1), 1))
	b.sh(t, "for i in 1 2 3; do setsid sh -c 'trap \"\" HUP TERM INT; while :; do :; done' >/dev/null 2>&1 & done")
	inside := b.processes(t, able)
	if err := rt.Freeze(t.Context(), b.Session); err != nil {
		t.Fatal(err)
	}
	if err := rt.Stop(t.Context(), b.Session); err != nil {
		t.Fatal(err)
	}
	if left := inside(); len(left) != 0 {
		t.Errorf("processes left: %v", left)
	}
	Traceless(t, data, b.Session)
}

func (b *box) wantFrozen(t *testing.T, want bool) {
	t.Helper()
	info, there, err := b.rt.Find(t.Context(), b.Session)
	if err != nil || !there || !info.Running || info.Frozen != want {
		t.Fatalf("found %+v, there %v, %v; want it running, frozen %v", info, there, err, want)
	}
}

// processes returns a function that lists what runs in the sandbox.
func (b *box) processes(t *testing.T, able Abilities) func() []int {
	t.Helper()
	if able.NoPID != "" {
		return func() []int { return nil } // Traceless has to do
	}
	if able.NoNamespace != "" {
		now := family(t, b.pid(t))
		return func() (left []int) {
			for _, p := range now {
				if p.Alive() {
					left = append(left, p.PID)
				}
			}
			return left
		}
	}
	ns := pidNamespace(t, b.pid(t))
	return func() []int { return processesIn(t, ns) }
}
