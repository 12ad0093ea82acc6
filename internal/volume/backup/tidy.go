package backup

import (
	"context"
	"time"

	"staithe/internal/volume/restic"
)

// yieldAfter is how long what removes goes on when something changed: long enough
// to come to its end mostly, and short enough that a change is in a snapshot
// within its minute.
const yieldAfter = 10 * time.Second

// tidyAgain is when tidying that was broken off is tried again.
const tidyAgain = 5 * time.Minute

// tidy forgets snapshots by the policy, and when it is time removes the data that
// no snapshot has. restic locks the repository for that: when somebody asks for a
// snapshot or wants to read it is broken off, which restic's repositories are made
// for, and done later.
func (u *unit) tidy(ctx context.Context) {
	slot, err := u.e.slot(ctx)
	if err != nil {
		return
	}
	defer slot.release()
	if !u.turn.TryLock() { // somebody reads: that may take long, and snapshots must not wait for it
		u.mu.Lock()
		u.tidyAt = time.Now().Add(tidyAgain)
		u.mu.Unlock()
		return
	}
	defer u.turn.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	u.mu.Lock()
	if len(u.asked) > 0 || u.reading > 0 {
		u.tidyAt = time.Now().Add(tidyAgain)
		u.mu.Unlock()
		return
	}
	u.busy, u.yield = "prune", cancel
	prune := time.Since(u.rec.Pruned) >= u.e.t.Prune && !u.scrubbing
	u.mu.Unlock()
	stop := u.yieldToChanges(ctx, cancel)
	err = u.locked(ctx, func() error { return u.repo.Forget(ctx, u.e.o.Keep) })
	if err == nil && prune {
		err = u.locked(ctx, func() error { return u.repo.Prune(ctx) })
	}
	var list []restic.Snapshot
	if err == nil {
		list, err = u.repo.Snapshots(ctx)
	}
	stop()
	broken := ctx.Err() != nil
	if err == nil {
		u.take(list)
	}
	u.mu.Lock()
	u.busy, u.yield = "", nil
	if err == nil {
		u.rec.Forgotten = 0
		if prune {
			u.rec.Pruned = time.Now()
		}
		u.worked()
		u.keep()
	}
	if err != nil && broken {
		u.tidyAt = time.Now().Add(tidyAgain)
	}
	u.mu.Unlock()
	if err != nil && !broken {
		u.failed(err)
	}
}

// yieldToChanges breaks something off when changes have waited for a time.
func (u *unit) yieldToChanges(ctx context.Context, cancel context.CancelFunc) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			u.mu.Lock()
			waits := u.pend.any() && time.Since(u.pend.first) > yieldAfter
			u.mu.Unlock()
			if waits {
				cancel()
				return
			}
		}
	}()
	return func() { end(); <-done }
}

// scrubAgain is when a look that failed is tried again.
const scrubAgain = time.Hour

// scrubPart is how much of the data a scrub reads.
const scrubPart = "5%"

// scrub begins to look at the whole repository: its structure, and a part of the
// data. It locks nothing: snapshots go on.
func (u *unit) scrub(ctx context.Context) {
	u.mu.Lock()
	u.scrubbing = true
	u.mu.Unlock()
	u.e.work.Go(func() {
		u.turn.RLock()
		defer u.turn.RUnlock()
		err := u.repo.Check(ctx, scrubPart)
		u.mu.Lock()
		u.scrubbing = false
		switch {
		case err == nil:
			u.rec.Scrubbed, u.rec.Damage = time.Now(), ""
			u.keep()
		case ctx.Err() == nil:
			u.log.Error("the repository could not be looked through; it is tried again", "err", err)
			u.scrubAt = time.Now().Add(scrubAgain)
			if restic.CodeOf(err) == restic.CodeDamaged {
				u.rec.Damage = sentenceOf(err)
				u.keep()
			}
		}
		u.mu.Unlock()
		u.nudge()
	})
}
