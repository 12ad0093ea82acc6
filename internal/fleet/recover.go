package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"staithe/internal/station"
)

const (
	// reconcileEvery is how often Run looks for guests that ended by themselves.
	reconcileEvery = 30 * time.Second
	// purgeEvery is how often Run empties the trash of what is too old.
	purgeEvery = 6 * time.Hour
	// settleAtOnce bounds how many sessions are settled at the same time.
	settleAtOnce = 8
)

const reasonDied = "its guest ended; wake it to start a new one"

// Recover makes records, sandboxes and guests agree after a start: it adopts
// what lives, marks what died asleep with a reason, and destroys what no record
// wants. It never destroys a living sandbox that a record wants. A session that
// cannot be settled is logged and left to Run: it is no reason for a server not
// to start.
func (f *Fleet) Recover(ctx context.Context) error {
	return f.reconcile(ctx, true)
}

// Run keeps records, sandboxes and guests in agreement until ctx ends, and
// returns when nothing of it runs any more.
func (f *Fleet) Run(ctx context.Context) {
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
		}
	}
}

// reconcile settles every session about which record and sandbox disagree. With
// thorough, guests of running sessions are asked as well.
func (f *Fleet) reconcile(ctx context.Context, thorough bool) error {
	live, err := f.sandboxes(ctx)
	if err != nil {
		return err
	}
	records, err := f.store.AllSessions(ctx)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	var todo []station.ID
	for _, s := range records {
		running, there := live[s.ID]
		agreed := running && s.State == station.StateRunning && !thorough || !there && (s.State == station.StateAsleep || s.State == station.StateFailed)
		if !agreed {
			todo = append(todo, s.ID)
		}
		delete(live, s.ID)
	}
	for id := range live { // in no record
		todo = append(todo, id)
	}
	f.settleAll(ctx, todo)
	return ctx.Err()
}

// sandboxes maps each session of which there is a sandbox to whether it runs.
func (f *Fleet) sandboxes(ctx context.Context) (map[station.ID]bool, error) {
	list, err := f.runtime.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	live := make(map[station.ID]bool, len(list))
	for _, info := range list {
		live[info.Session] = info.Running
	}
	return live, nil
}

func (f *Fleet) settleAll(ctx context.Context, ids []station.ID) {
	slots := make(chan struct{}, settleAtOnce)
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := f.settle(ctx, id); err != nil && ctx.Err() == nil {
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
	s, err := f.store.Session(ctx, id)
	if errors.Is(err, station.ErrNotFound) {
		f.log.Info("removing a sandbox that no session wants", "session", id)
		return f.runtime.Stop(ctx, id)
	}
	if err != nil {
		return err
	}
	info, there, err := f.runtime.Find(ctx, id)
	if err != nil {
		return fmt.Errorf("look for the sandbox: %w", err)
	}
	if info.Running {
		return f.adopt(ctx, s)
	}
	if there { // rubble
		if err := f.runtime.Stop(ctx, id); err != nil {
			return err
		}
	}
	if s.State != station.StateRunning && s.State != station.StateStarting {
		return nil
	}
	f.log.Warn("a session's guest ended", "session", id)
	_, err = f.mark(ctx, s, station.StateAsleep, reasonDied)
	f.ended(id, false)
	return err
}

// adopt takes over a living sandbox. One whose guest does not answer to us is
// left alone and said to be failed: its shells may still do their work.
func (f *Fleet) adopt(ctx context.Context, s station.Session) error {
	if err := f.answers(ctx, s, adoptLimit); err != nil {
		f.log.Warn("a running guest does not answer", "session", s.ID, "err", err)
		if s.State != station.StateFailed {
			f.ended(s.ID, false)
			_, err = f.mark(ctx, s, station.StateFailed, sentence(err))
			return err
		}
		return nil
	}
	if s.State == station.StateRunning {
		return nil
	}
	_, err := f.mark(ctx, s, station.StateRunning, "")
	return err
}
