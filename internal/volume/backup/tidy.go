package backup

import (
	"context"
	"math/rand/v2"
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
	slot, err := u.slot(ctx)
	if err != nil {
		return
	}
	defer slot.release()
	u.mu.Lock()
	u.fresh = false
	u.mu.Unlock()
	if !u.turn.TryLock() { // somebody reads: that may take long, and snapshots must not wait for it
		u.tidyLater()
		return
	}
	defer u.turn.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	u.mu.Lock()
	if len(u.asked) > 0 || u.reading > 0 {
		u.mu.Unlock()
		u.tidyLater()
		return
	}
	u.busy, u.yield = "prune", cancel
	now := time.Now()
	prune := now.Sub(u.rec.Pruned) >= u.e.t.Prune && !u.scrubbing
	through := prune && u.pruneOverdue(now)
	u.mu.Unlock()
	stop := u.yieldToOthers(ctx, slot, through, cancel)
	if err = u.forget(ctx); err == nil && prune {
		err = u.prune(ctx, through)
	}
	stop()
	u.mu.Lock()
	u.busy, u.yield = "", nil
	if err == nil {
		u.worked()
		u.keep()
	}
	u.mu.Unlock()
	switch {
	case err != nil && ctx.Err() != nil:
		u.tidyLater()
	case err != nil:
		u.tidyLater()
		u.failed(err)
	}
}

func (u *unit) tidyLater() {
	u.mu.Lock()
	u.tidyAt = time.Now().Add(tidyAgain)
	u.mu.Unlock()
}

// forget forgets snapshots, and sees which are left.
func (u *unit) forget(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, u.e.t.Stalled, errStalled)
	defer cancel()
	err := u.locked(ctx, func() error { return u.repo.Forget(ctx, u.e.o.Keep) })
	if err != nil {
		return err
	}
	list, err := u.repo.Snapshots(ctx)
	if err != nil {
		return err
	}
	u.take(list)
	u.mu.Lock()
	u.rec.Forgotten = 0
	u.keep()
	u.mu.Unlock()
	return nil
}

// prune removes data. It has longer when it keeps no snapshot from being made.
func (u *unit) prune(ctx context.Context, through bool) error {
	limit := 12 * u.e.t.Stalled
	if through {
		limit = 2 * u.e.t.Stalled
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errStalled)
	defer cancel()
	err := u.locked(ctx, func() error { return u.repo.Prune(ctx) })
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.unpruned = err != nil; err == nil {
		u.rec.Pruned = time.Now()
	}
	return err
}

// yieldToOthers breaks something off when changes have waited for a time, unless it
// is to come to its end, and when other homes wait and there is no place aside.
func (u *unit) yieldToOthers(ctx context.Context, slot *slot, through bool, cancel context.CancelFunc) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	begun := time.Now()
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			u.mu.Lock()
			waits := !through && u.pend.any() && time.Since(latest(begun, u.pend.first)) > yieldAfter
			u.mu.Unlock()
			if waits || slot.crowds() && !slot.aside() {
				cancel()
				return
			}
		}
	}()
	return func() { end(); <-done }
}

// scrubAgain is when a look that failed is tried again.
const scrubAgain = time.Hour

// scrubMost is how long one goes on at most, and scrubWait about how long another
// waits with its own: one at a time is looked through.
const (
	scrubMost = 12 * time.Hour
	scrubWait = 10 * time.Minute
)

// scrubPart is how much of the data a scrub reads.
const scrubPart = "5%"

// scrub begins to look at the whole repository: its structure, and a part of the
// data. It locks nothing: snapshots go on.
func (u *unit) scrub(run context.Context) {
	place := u.e.scrubs.try()
	u.mu.Lock()
	if u.scrubbing = place; !place {
		u.scrubAt = time.Now().Add(scrubWait/2 + rand.N(scrubWait))
	}
	u.mu.Unlock()
	if !place {
		return
	}
	u.e.work.Go(func() {
		defer u.e.scrubs.leave()
		u.turn.RLock()
		defer u.turn.RUnlock()
		ctx, cancel := context.WithTimeoutCause(run, scrubMost, errStalled)
		defer cancel()
		err := u.repo.Check(ctx, scrubPart)
		u.mu.Lock()
		u.scrubbing = false
		switch {
		case err == nil:
			u.rec.Scrubbed, u.rec.Damage = time.Now(), ""
			u.keep()
		case run.Err() == nil:
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
