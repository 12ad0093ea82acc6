package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"staithe/internal/guestapi"
	"staithe/internal/sandbox"
	"staithe/internal/station"
)

const (
	// attendEvery is how often sessions are looked at, at most: so late is a
	// kill for want of memory told.
	attendEvery = 5 * time.Second
	// attendAtOnce bounds how many are looked at at the same time.
	attendAtOnce = 8
)

// Below these a program's use is taken for none: shells, editors and servers
// that only wait stay under them.
const (
	floorCPU     = 0.01     // cores
	floorDisk    = 16 << 10 // bytes a second
	floorNetwork = 1 << 10  // bytes a second
)

// slightCPU is what a shell stays under that echoes somebody's typing.
const slightCPU = 0.05

// attend looks after the sessions that this server runs, until ctx ends: who
// uses them, what their programs do, whether the kernel ended some, and whether
// it is time to sleep.
func (f *Fleet) attend(ctx context.Context) {
	tick := time.NewTicker(f.classes.pace())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := f.attendAll(ctx); err != nil && ctx.Err() == nil {
			f.log.Error("cannot look after the sessions", "err", err)
		}
	}
}

// pace is how often to look so that no class's rule is kept late by more than a
// tenth.
func (c classes) pace() time.Duration {
	pace := attendEvery
	for _, k := range c.list {
		for _, d := range []time.Duration{k.Idle.Freeze, k.Idle.Stop} {
			if d > 0 {
				pace = min(pace, max(d/10, 100*time.Millisecond))
			}
		}
	}
	return pace
}

func (f *Fleet) attendAll(ctx context.Context) error {
	records, err := f.store.AllSessions(ctx)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	slots := make(chan struct{}, attendAtOnce)
	var all sync.WaitGroup
	for _, s := range records {
		if !f.holds(s.ID, 0) || s.State != station.StateRunning && !s.Frozen {
			continue
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := f.attendOne(ctx, s); err != nil && ctx.Err() == nil && !errors.Is(err, station.ErrNotFound) {
				f.log.Warn("cannot look after a session", "session", s.ID, "err", err)
			}
		})
	}
	all.Wait()
	return nil
}

func (f *Fleet) attendOne(ctx context.Context, s station.Session) error {
	c, _ := f.classes.find(s.Class) // one that is gone has no rule
	if s.Frozen {
		if c.Idle.Stop > 0 && f.now().Sub(s.SleptAt) >= c.Idle.Stop {
			return f.operate(ctx, s.ID, func(ctx context.Context, s station.Session) error {
				if !s.Frozen || f.now().Sub(s.SleptAt) < c.Idle.Stop {
					return nil // woken meanwhile
				}
				_, err := f.halt(ctx, s, s.Reason)
				return err
			})
		}
		return nil
	}
	s, err := f.look(ctx, s, c)
	if err != nil || !f.idle(s, c) {
		return err
	}
	return f.operate(ctx, s.ID, func(ctx context.Context, s station.Session) error { return f.doze(ctx, s, c) })
}

// operate does something to a session that this server runs, with its turn
// taken and its record read anew.
func (f *Fleet) operate(ctx context.Context, id station.ID, do func(context.Context, station.Session) error) error {
	ctx, end, err := f.begin(ctx, id)
	if err != nil {
		return err
	}
	defer end()
	if err := f.lease(ctx, id); err != nil {
		return err
	}
	s, err := f.store.Session(ctx, id)
	if err != nil {
		return err
	}
	return do(ctx, s)
}

// doze puts a session to sleep that is idle for as long as its rule says, unless
// that has changed while we waited for its turn.
func (f *Fleet) doze(ctx context.Context, s station.Session, c station.Class) error {
	if s.State != station.StateRunning {
		return nil
	}
	s, err := f.look(ctx, s, c)
	if err != nil || !f.idle(s, c) {
		return err
	}
	f.mu.Lock()
	w := f.watch(s.ID)
	reason, noFreeze := "idle for "+span(f.now().Sub(w.activeAt)), w.noFreeze
	f.mu.Unlock()
	if noFreeze {
		_, err := f.halt(ctx, s, reason)
		return err
	}
	_, err = f.freeze(ctx, s, reason)
	if errors.Is(err, sandbox.ErrNoFreeze) {
		f.mu.Lock()
		w.noFreeze = true // from now on the rule is to be stopped, later
		f.mu.Unlock()
		return nil
	}
	return err
}

// idle says whether a session has been out of use for as long as its rule says.
func (f *Fleet) idle(s station.Session, c station.Class) bool {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.watch(s.ID)
	if len(w.reasons(s, now)) > 0 {
		w.activeAt = f.stamp()
		return false
	}
	limit := c.Idle.Freeze
	if w.noFreeze && limit > 0 {
		if c.Idle.Stop == 0 {
			return false
		}
		limit += c.Idle.Stop
	}
	return limit > 0 && now.Sub(w.activeAt) >= limit
}

// look asks a session's guest and its sandbox what goes on, and returns the
// session with what was wished for inside. A guest that does not answer keeps
// its session awake: it is a person's to end.
func (f *Fleet) look(ctx context.Context, s station.Session, c station.Class) (station.Session, error) {
	f.mu.Lock()
	seen := f.watch(s.ID).kept
	f.mu.Unlock()
	a, err := f.client(s.ID).Activity(ctx, server(s, station.RoleViewer), seen)
	usage, uerr := f.runtime.Usage(ctx, s.ID)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		w := f.watch(s.ID)
		first := !w.silent
		w.silent, w.busy = true, []use{{words: "its guest does not say what its programs do", lasted: true}}
		if !first {
			err = nil // said once is enough
		}
		return s, err
	}
	if s, err = f.takeWish(ctx, s, a.KeepAwake); err != nil {
		return s, err
	}
	f.mu.Lock()
	w := f.watch(s.ID)
	w.silent, w.busy = false, uses(a, w.busy)
	before, measured := w.usage, w.measured
	if uerr == nil {
		w.usage, w.measured = usage, true
	}
	f.mu.Unlock()
	if uerr != nil {
		return s, fmt.Errorf("measure the sandbox: %w", uerr)
	}
	if measured && usage.OOMKills > before.OOMKills {
		return s, f.tellOOM(ctx, s, c, usage)
	}
	return s, nil
}

// takeWish takes over what was wished for inside, within our bounds.
func (f *Fleet) takeWish(ctx context.Context, s station.Session, wish *guestapi.Awake) (station.Session, error) {
	if wish == nil || wish.ID == "" || len(wish.ID) > 64 {
		return s, nil
	}
	f.mu.Lock()
	w := f.watch(s.ID)
	again := w.kept == wish.ID
	w.kept = wish.ID
	f.mu.Unlock()
	if again { // our thanks have crossed it
		return s, nil
	}
	seconds := min(max(wish.Seconds, 0), int64(maxKeepAwake/time.Second))
	s.KeepAwakeUntil = f.until(time.Duration(seconds) * time.Second)
	return s, f.store.SetKeepAwake(ctx, s.ID, s.KeepAwakeUntil)
}

// uses is what programs do that is above the floors, and whether the look
// before found it too. A guest may be hostile: what it says is short, plain,
// and about its own session alone.
func uses(a guestapi.Activity, before []use) []use {
	var out []use
	add := func(kind string, slight bool, format string, args ...any) {
		lasted := slices.ContainsFunc(before, func(u use) bool { return u.kind == kind })
		out = append(out, use{kind: kind, words: fmt.Sprintf(format, args...), slight: slight, lasted: lasted})
	}
	if b := a.CPU; b != nil && b.Rate >= floorCPU {
		cores := "cores"
		if b.Rate >= 0.95 && b.Rate < 1.05 {
			cores = "core"
		}
		add("cpu", b.Rate < slightCPU, "%s uses %s %s", program(b), decimal(b.Rate), cores)
	}
	if b := a.Disk; b != nil && b.Rate >= floorDisk {
		add("disk", false, "%s reads and writes %s/s", program(b), size(b.Rate))
	}
	if b := a.Network; b != nil && b.Rate >= floorNetwork {
		add("network", false, "%s uses the network, %s/s", program(b), size(b.Rate))
	}
	return out
}

// program names a program: "cargo build (pid 412)".
func program(b *guestapi.Busy) string {
	name := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(b.Name, ""))
	if len(name) > 60 {
		name = strings.ToValidUTF8(name[:60], "") + "…"
	}
	if name == "" || b.PID <= 0 {
		return "a program"
	}
	return fmt.Sprintf("%s (pid %d)", name, b.PID)
}

func decimal(v float64) string {
	switch {
	case v < 0.1:
		return fmt.Sprintf("%.2f", v)
	case v > 1e4: // no machine of ours
		return "many"
	}
	return fmt.Sprintf("%.1f", v)
}

// size says bytes in binary units.
func size(v float64) string {
	for _, unit := range []string{"bytes", "KiB", "MiB"} {
		if v < 1024 {
			return fmt.Sprintf("%.0f %s", v, unit)
		}
		v /= 1024
	}
	return fmt.Sprintf("%.1f GiB", min(v, 1e4))
}

// tellOOM says in the session's tabs and in its record that the kernel ended a
// program for want of memory.
func (f *Fleet) tellOOM(ctx context.Context, s station.Session, c station.Class, u sandbox.Usage) error {
	who := u.LastOOMKill
	if who == "" {
		who = "a program"
	}
	text := fmt.Sprintf("The kernel ended %s for want of memory.", who)
	if c.Limits.Memory > 0 {
		text = fmt.Sprintf("The kernel ended %s for want of memory (the session's limit is %s).", who, size(float64(c.Limits.Memory)))
	}
	notice := station.Notice{Code: "oom", Text: text, At: f.stamp().Truncate(time.Second)}
	f.log.Info("a session ran out of memory", "session", s.ID, "killed", who)
	return errors.Join(f.store.SetNotice(ctx, s.ID, notice),
		f.client(s.ID).Notify(ctx, server(s, station.RoleOwner), guestapi.Notice{Code: notice.Code, Text: text}))
}
