package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

const (
	// reconcileEvery is how often Run looks for guests that ended by themselves.
	reconcileEvery = 30 * time.Second
	// purgeEvery is how often Run empties the trash of what is too old, and
	// removes versions of images that no sandbox stands on any more.
	purgeEvery = 6 * time.Hour
	// settleAtOnce bounds how many sessions are settled at the same time.
	settleAtOnce = 8
)

const reasonDied = "its guest ended; wake it to start a new one"

// Recover makes records, sandboxes and guests agree after a start: it adopts
// what lives, marks what died asleep with a reason, and destroys what no record
// wants. It never destroys a living sandbox that a record wants, and leaves
// alone what another server runs. A session that cannot be settled is logged
// and left to Run: it is no reason for a server not to start.
func (f *Fleet) Recover(ctx context.Context) error {
	return f.reconcile(ctx, true)
}

// Run keeps records, sandboxes and guests in agreement, puts idle sessions to
// sleep, guards the disk and renews this server's leases until ctx ends, and returns when
// nothing of it runs any more.
func (f *Fleet) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { f.keepLeases(ctx) })
	work.Go(func() { f.attend(ctx) })
	work.Go(func() { f.guard.Run(ctx) })
	agree, purge := time.NewTicker(reconcileEvery), time.NewTicker(purgeEvery)
	defer agree.Stop()
	defer purge.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-agree.C:
			if err := f.reconcile(ctx, false); err != nil && ctx.Err() == nil {
				f.log.Error("cannot bring sessions and sandboxes into agreement", "err", err)
			}
		case <-purge.C:
			if err := f.volumes.Purge(ctx, f.now()); err != nil && ctx.Err() == nil {
				f.log.Error("cannot empty the trash", "err", err)
			}
			if f.images != nil {
				if err := f.images.Sweep(); err != nil {
					f.log.Error("cannot remove old versions of images", "err", err)
				}
			}
		}
	}
}

// reconcile settles every session about which record and sandbox disagree. With
// thorough, guests of running sessions are asked as well.
func (f *Fleet) reconcile(ctx context.Context, thorough bool) error {
	// The sandboxes first: one that is listed has its record by then, since
	// that is made before.
	live, err := f.sandboxes(ctx)
	if errors.Is(err, sandbox.ErrUnknown) {
		// What is not in the list is looked for one by one, and left alone where
		// nobody can tell: unknown is not gone.
		f.log.Warn("a runtime does not say which sandboxes it has", "err", err)
	} else if err != nil {
		return err
	}
	remembered := f.remembered() // before the records as well
	records, err := f.store.AllSessions(ctx)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	known := map[station.ID]bool{}
	var todo []station.ID
	for _, s := range records {
		known[s.ID] = true
		info, there := live[s.ID]
		if !f.agreed(s, info, there, thorough) {
			todo = append(todo, s.ID)
		}
	}
	for id := range live {
		if !known[id] {
			todo = append(todo, id)
		}
	}
	f.settleAll(ctx, todo)
	for _, id := range remembered {
		if !known[id] {
			f.forget(id)
		}
	}
	err = f.reconnect(ctx, live, records)
	if thorough { // nothing is being parked yet
		err = errors.Join(err, f.sweepParked(records))
	}
	if err != nil && ctx.Err() == nil {
		f.log.Error("cannot bring sessions and what belongs to them into agreement", "err", err)
	}
	return ctx.Err()
}

// agreed says whether record and sandbox already are as they should be.
func (f *Fleet) agreed(s station.Session, info sandbox.Info, there, thorough bool) bool {
	switch {
	case s.State == station.StateRunning:
		return info.Running && !info.Frozen && !thorough && f.holds(s.ID, 0)
	case s.Frozen:
		return info.Running && info.Frozen && !thorough && f.holds(s.ID, 0)
	}
	return !there && s.State != station.StateStarting && s.Holder != f.id
}

// sandboxes maps each session of which there is a sandbox to what is known of it.
// With an error that wraps sandbox.ErrUnknown it is good as far as it goes.
func (f *Fleet) sandboxes(ctx context.Context) (map[station.ID]sandbox.Info, error) {
	list, err := f.runtime.List(ctx)
	if err != nil {
		err = fmt.Errorf("list sandboxes: %w", err)
		if !errors.Is(err, sandbox.ErrUnknown) {
			return nil, err
		}
	}
	live := make(map[station.ID]sandbox.Info, len(list))
	for _, info := range list {
		live[info.Session] = info
	}
	return live, err
}

func (f *Fleet) settleAll(ctx context.Context, ids []station.ID) {
	slots := make(chan struct{}, settleAtOnce)
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := f.settle(ctx, id); errors.Is(err, sandbox.ErrUnknown) {
				f.log.Debug("a session is left as it is: its runtime does not answer", "session", id)
			} else if err != nil && ctx.Err() == nil {
				f.log.Error("cannot bring a session and its sandbox into agreement", "session", id, "err", err)
			}
		})
	}
	all.Wait()
}

// settle brings one session into agreement. It looks at everything anew, now
// that no other operation on the session is under way.
func (f *Fleet) settle(ctx context.Context, id station.ID) error {
	ctx, end, err := f.begin(ctx, id)
	if err != nil {
		return err
	}
	defer end()
	err = f.lease(ctx, id)
	if errors.Is(err, station.ErrConflict) {
		return nil // another server's
	}
	var s station.Session
	if err == nil {
		s, err = f.store.Session(ctx, id)
	}
	if errors.Is(err, station.ErrNotFound) {
		f.log.Info("removing a sandbox that no session wants", "session", id)
		return f.dismantle(ctx, id)
	}
	if err != nil {
		return err
	}
	info, there, err := f.runtime.Find(ctx, id)
	if err != nil {
		return fmt.Errorf("look for the sandbox: %w", err)
	}
	switch {
	case info.Running && s.State == station.StateAsleep:
		return f.asleepAgain(ctx, s, info)
	case info.Running:
		return f.adopt(ctx, s, info)
	}
	if there { // rubble
		if err := f.dismantle(ctx, id); err != nil {
			return err
		}
	}
	return f.gone(ctx, s)
}

// gone notes that a session has no sandbox any more.
func (f *Fleet) gone(ctx context.Context, s station.Session) (err error) {
	switch {
	case s.State == station.StateRunning || s.State == station.StateStarting:
		f.log.Warn("a session's guest ended", "session", s.ID)
		s.SleptAt, s.ActiveAt = f.stamp(), f.activeAt(s)
		_, err = f.mark(ctx, s, station.StateAsleep, reasonDied)
		f.ended(s.ID, false)
	case s.Frozen:
		f.log.Warn("a sleeping session's sandbox is gone; it will wake anew", "session", s.ID)
		s.Frozen = false
		_, err = f.mark(ctx, s, s.State, s.Reason)
	}
	if err == nil {
		f.release(ctx, s.ID)
	}
	return err
}

// asleepAgain finishes what a server that died had begun: only a person wakes.
func (f *Fleet) asleepAgain(ctx context.Context, s station.Session, info sandbox.Info) error {
	if s.Frozen && info.Frozen {
		return nil
	}
	if s.Frozen && f.runtime.Freeze(ctx, s.ID) == nil {
		return nil
	}
	f.log.Warn("a sleeping session's sandbox runs; it is stopped", "session", s.ID)
	_, err := f.halt(ctx, s, s.Reason)
	return err
}

// adopt takes over a living sandbox. One whose guest does not answer to us is
// left alone and said to be failed: its shells may still do their work.
func (f *Fleet) adopt(ctx context.Context, s station.Session, info sandbox.Info) error {
	var err error
	if info.Frozen { // a wake, or a sleep that was not noted, was cut short
		err = f.runtime.Thaw(ctx, s.ID)
	}
	if err == nil {
		err = f.answers(ctx, s, adoptLimit)
	}
	if err != nil && f.dies(ctx, s.ID) {
		return errors.Join(f.dismantle(ctx, s.ID), f.gone(ctx, s))
	}
	if err != nil {
		f.log.Warn("a running guest does not answer", "session", s.ID, "err", err)
		if s.State != station.StateFailed {
			f.ended(s.ID, false)
			_, err = f.mark(ctx, s, station.StateFailed, sentence(err))
			return err
		}
		return nil
	}
	f.watchDeath(s.ID)
	if s.State == station.StateRunning {
		return nil
	}
	_, err = f.mark(ctx, s, station.StateRunning, "")
	return err
}
