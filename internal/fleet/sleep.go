package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Sleep puts a session to sleep because its person asked: it is frozen, so that
// it wakes at once with all its shells, and its class's rule stops it later.
// With stop, and where it cannot be frozen or its guest does not answer, its
// sandbox ends now and the next wake starts a new one.
func (f *Fleet) Sleep(ctx context.Context, user station.ID, ref string, stop bool) (station.Session, error) {
	ctx, s, end, err := f.take(ctx, user, ref)
	if err != nil {
		return station.Session{}, err
	}
	defer end()
	if s.State == station.StateAsleep {
		if braked(s) && !stop { // from now on for its person's sake: room does not wake it
			return f.mark(ctx, s, station.StateAsleep, reasonAsked)
		}
		if s.Frozen && !stop {
			return f.explain(s), nil
		}
		return f.halt(ctx, s, s.Reason)
	}
	if s.State == station.StateRunning && !stop {
		slept, err := f.freeze(ctx, s, reasonAsked)
		if err == nil {
			return slept, nil
		}
		if !errors.Is(err, sandbox.ErrNoFreeze) {
			f.log.Warn("a session cannot be frozen; it is stopped", "session", s.ID, "err", err)
		}
	}
	return f.halt(ctx, s, reasonAsked)
}

// freeze puts a running session to sleep in memory. On an error it runs on.
func (f *Fleet) freeze(ctx context.Context, s station.Session, reason string) (station.Session, error) {
	// What the tabs show is kept now: should the host lose power, it is all
	// there is. It also shows that the guest is well enough to wake again.
	if err := f.snapshot(ctx, s); err != nil {
		return s, err
	}
	if err := f.runtime.Freeze(ctx, s.ID); err != nil {
		return s, fmt.Errorf("freeze the session: %w", err)
	}
	slept := s
	slept.Frozen, slept.SleptAt, slept.ActiveAt = true, f.stamp(), f.activeAt(s)
	slept, err := f.mark(ctx, slept, station.StateAsleep, reason)
	if err != nil {
		return s, errors.Join(err, f.runtime.Thaw(context.WithoutCancel(ctx), s.ID))
	}
	f.ended(s.ID, false)
	return slept, nil
}

// thaw wakes a frozen session; there is false when its sandbox is gone.
func (f *Fleet) thaw(ctx context.Context, s station.Session) (woken station.Session, there bool, err error) {
	if _, err := f.enabled(ctx, s.User); err != nil {
		return s, true, err
	}
	if there, err = f.running(ctx, s.ID); err != nil || !there {
		return s, err != nil, err
	}
	if err = f.runtime.Thaw(ctx, s.ID); err == nil {
		err = f.answers(ctx, s, adoptLimit)
	}
	if err != nil && f.dies(ctx, s.ID) {
		return s, false, nil
	}
	if err != nil {
		return station.Session{}, true, f.failed(ctx, s, err)
	}
	if err := f.forgetParked(s.ID); err != nil {
		f.log.Warn("cannot forget what a session's tabs showed", "session", s.ID, "err", err)
	}
	woken, err = f.awake(ctx, s, station.Notice{})
	return woken, true, err
}

// halt ends a session's sandbox, frozen or not, and keeps what its tabs show for
// the next wake. The record goes first: from here on Guest refuses, and what is
// connected is told the reason instead of finding the line dead.
func (f *Fleet) halt(ctx context.Context, s station.Session, reason string) (station.Session, error) {
	if s.State != station.StateAsleep || s.SleptAt.IsZero() {
		s.SleptAt, s.ActiveAt = f.stamp(), f.activeAt(s)
	}
	s.Frozen = false
	s, err := f.mark(ctx, s, station.StateAsleep, reason)
	if err != nil {
		return s, err
	}
	f.ended(s.ID, false)
	f.sayGoodbye(ctx, s, true)
	if err := f.dismantle(ctx, s.ID); err != nil {
		return s, err
	}
	f.release(ctx, s.ID)
	s.Holder = ""
	return s, nil
}

// sayGoodbye lets the programs of a sandbox end by themselves, for a few
// seconds, and, with keep, stores what the tabs showed. A sandbox that is not
// there or does not answer is ended all the same.
func (f *Fleet) sayGoodbye(ctx context.Context, s station.Session, keep bool) {
	if runs, err := f.running(ctx, s.ID); err != nil || !runs {
		return
	}
	if err := f.runtime.Thaw(ctx, s.ID); err != nil {
		f.log.Warn("a session cannot be thawed; its programs end without warning", "session", s.ID, "err", err)
		return
	}
	if err := f.park(ctx, s, keep); err != nil {
		f.log.Warn("a session's programs end without warning", "session", s.ID, "err", err)
	}
}

// dismantle ends a sandbox and its way out.
func (f *Fleet) dismantle(ctx context.Context, id station.ID) error {
	return errors.Join(f.detach(ctx, id), f.runtime.Stop(ctx, id))
}

// span says a duration as people do, in one unit.
func span(d time.Duration) string {
	unit, name := time.Second, "second"
	switch {
	case d >= 48*time.Hour:
		unit, name = 24*time.Hour, "day"
	case d >= 2*time.Hour:
		unit, name = time.Hour, "hour"
	case d >= time.Minute:
		unit, name = time.Minute, "minute"
	}
	n := int((d + unit/2) / unit)
	if n != 1 {
		name += "s"
	}
	return fmt.Sprintf("%d %s", n, name)
}
