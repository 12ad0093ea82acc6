package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Ask asks a session's guest, reached by dial, whether it lives, as a server does.
type Ask func(ctx context.Context, session station.ID, dial func(context.Context) (net.Conn, error)) error

// lies are what the probe guest does otherwise than an honest one.
var lies = []string{"silent", "hangs up", "garbage", "10 GB", "slow loris", "another session", "redirect", "own words",
	"never listens", "stops listening", "never accepts"}

// misplaced is what a guest that makes its own socket may put in its place.
var misplaced = []string{"link", "fifo", "folder", "file"}

const (
	lieStart = 5 * time.Second        // how long a start may wait for such a guest
	lieAsk   = 500 * time.Millisecond // and a question
	lieSlack = 10 * time.Second
)

// GuestsThatLie starts guests that do not behave. Neither they nor their sessions
// hold up or spoil anything: their start and each question end in time, nothing
// of what they say is kept or believed, their neighbour is well, and they can be
// ended to the last trace.
func GuestsThatLie(t *testing.T, open Open, able Abilities, ask Ask) {
	data := t.TempDir()
	rt := open(t, data)
	honest := start(t, rt, Spec(t, Home(t, 2), 2))
	if err := ask(t.Context(), honest.Session, honest.dial()); err != nil {
		t.Fatalf("an honest guest is not believed: %v", err)
	}
	tried := lies
	if able.OwnKernel != "" { // the host's socket cannot be given into it
		tried = append(slices.Clone(lies), misplaced...)
	}
	for _, lie := range tried {
		t.Run(lie, func(t *testing.T) {
			spec := Spec(t, Home(t, 1), 1)
			spec.Config = fmt.Sprintf(`{"session":%q,"lie":%q}`, spec.Session, lie)
			guestThatLies(t, rt, spec, ask)
			if err := ask(t.Context(), honest.Session, honest.dial()); err != nil {
				t.Errorf("the neighbour's guest: %v", err)
			}
			if err := rt.Stop(t.Context(), spec.Session); err != nil {
				t.Fatal(err)
			}
			until(t, "nothing is left", func() bool { return len(processesOf(t, spec.Session)) == 0 })
			Traceless(t, data, spec.Session)
		})
	}
}

// dial is the way to a sandbox's guest.
func (b *box) dial() func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return b.rt.Dial(ctx, b.Session) }
}

func guestThatLies(t *testing.T, rt sandbox.Runtime, spec sandbox.Spec, ask Ask) {
	t.Helper()
	b := reach(rt, spec)
	if err := inTime(t, "start", lieStart, func(ctx context.Context) error { return rt.Start(ctx, spec) }); err != nil {
		t.Logf("it does not start: %v", err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 2 {
		err := inTime(t, "question", lieAsk, func(ctx context.Context) error { return ask(ctx, spec.Session, b.dial()) })
		var p *station.Problem
		if err == nil || errors.As(err, &p) && p.Code == "evil" {
			t.Errorf("the guest is believed: %v", err)
		}
	}
	runtime.ReadMemStats(&after)
	if took := int64(after.TotalAlloc - before.TotalAlloc); took > 64<<20 {
		t.Errorf("%d bytes were taken for its answers", took)
	}
	for what, do := range map[string]func(ctx context.Context) error{
		"list":  func(ctx context.Context) error { _, err := rt.List(ctx); return err },
		"find":  func(ctx context.Context) error { _, _, err := rt.Find(ctx, spec.Session); return err },
		"usage": func(ctx context.Context) error { _, _ = rt.Usage(ctx, spec.Session); return nil }, // it may not run
	} {
		if err := inTime(t, what, lieSlack, do); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// inTime does something that has a limit, and fails when it takes much longer.
func inTime(t *testing.T, what string, limit time.Duration, do func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	begin := time.Now()
	err := do(ctx)
	if took := time.Since(begin); took > limit+lieSlack {
		t.Errorf("%s took %v, with a limit of %v", what, took, limit)
	}
	return err
}
