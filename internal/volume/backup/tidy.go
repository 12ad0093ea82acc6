package backup

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"staithe/internal/volume/restic"
)

// yieldAfter is how long what removes goes on when something changed: long enough
// to come to its end mostly, and short enough that a change is in a snapshot
// within its minute.
const yieldAfter = 10 * time.Second

// tidy forgets snapshots by the policy, and when it is time removes the data that
// no snapshot has. restic locks the repository for that: when somebody asks for a
// snapshot or wants to read it is broken off, which restic's repositories are made
// for, and done later.
func (u *unit) tidy(run context.Context) {
	slot, err := u.slot(run)
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
	ctx, cancel := context.WithCancel(run)
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
	if err = u.forget(run, ctx); err == nil && prune {
		err = u.prune(ctx, through)
	}
	stop()
	u.tidied(err, ctx.Err() != nil)
}

// tidied takes in how tidying ended. It is tried again by itself.
func (u *unit) tidied(err error, broken bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy, u.yield = "", nil
	if err == nil {
		u.tidyTrouble = ""
		u.keep()
		return
	}
	u.tidyAt = time.Now().Add(u.e.t.Tidy)
	if broken {
		return
	}
	sentence := sentenceOf(err)
	if u.tidyTrouble != sentence {
		u.log.Error("old backups could not be removed; it is tried again", "err", err)
	}
	u.tidyTrouble = sentence
}

func (u *unit) tidyLater() {
	u.mu.Lock()
	u.tidyAt = time.Now().Add(u.e.t.Tidy)
	u.mu.Unlock()
}

// forget removes the snapshots that are not to be kept: those that could not be
// read back, where one that could follows, and those that the policy does not keep.
// It may be broken off by yielding; which there are then is looked up all the same.
func (u *unit) forget(run, yielding context.Context) error {
	ctx, cancel := context.WithTimeoutCause(yielding, u.e.t.Stalled, errStalled)
	defer cancel()
	// The repository may have one that the record has not: restic made it, and was
	// cut off before it said so.
	err := u.list(ctx)
	u.mu.Lock()
	waits := !u.newestVerified(time.Now())
	u.mu.Unlock()
	if err != nil || waits {
		return err
	}
	if ids := u.unproved(); len(ids) > 0 {
		err = u.locked(ctx, func() error { return u.repo.ForgetThese(ctx, ids) })
	}
	if err == nil {
		err = u.locked(ctx, func() error { return u.repo.Forget(ctx, string(u.id), u.e.o.Keep) })
	}
	if lerr := u.list(run); lerr != nil || err != nil {
		return cmp.Or(err, lerr)
	}
	u.mu.Lock()
	u.rec.Forgotten = 0
	u.keep()
	u.mu.Unlock()
	return nil
}

// list sees which snapshots there are.
func (u *unit) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, u.e.t.Stalled, errStalled)
	defer cancel()
	var list []restic.Snapshot
	err := u.locked(ctx, func() (err error) {
		list, err = u.repo.Snapshots(ctx)
		return err
	})
	if err == nil {
		u.take(list)
	}
	return err
}

// unproved are the snapshots of which it is known that they could not be read back,
// and that are not needed: one that could follows. Else the policy might keep such
// a one as the last of its hour, and not the good one before it.
func (u *unit) unproved() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var ids []string
	good := false
	for _, s := range slices.Backward(u.rec.Snapshots) {
		good = good || !s.Verified.IsZero()
		if good && slices.Contains(u.rec.Unproved, s.ID) {
			ids = append(ids, s.ID)
		}
	}
	return ids
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
	begun, patience := time.Now(), yieldAfter
	if through {
		patience = u.e.t.Hold
	}
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
			if waits || slot.crowds() && !slot.aside() && time.Since(begun) > patience {
				cancel()
				return
			}
		}
	}()
	return func() { end(); <-done }
}

// scrubMost is how long one goes on at most, and scrubWait about how long another
// waits with its own: one at a time is looked through.
const (
	scrubMost = 12 * time.Hour
	scrubWait = 10 * time.Minute
)

// scrubPart is how much of the data a scrub reads; wholly is how much where there
// was damage, which another part may not have.
const (
	scrubPart = "5%"
	wholly    = "100%"
)

// scrub begins to look at the whole repository: its structure, and a part of the
// data. It locks nothing: snapshots go on. What was found to be damaged is so until
// a look at all of it finds none.
func (u *unit) scrub(run context.Context) {
	place := u.e.scrubs.try()
	u.mu.Lock()
	if u.scrubbing = place; !place {
		u.scrubAt = time.Now().Add(scrubWait/2 + rand.N(scrubWait))
	}
	part := scrubPart
	if u.rec.Damage != "" {
		part = wholly
	}
	u.mu.Unlock()
	if !place {
		return
	}
	u.e.work.Go(func() {
		err := func() error {
			defer u.e.scrubs.leave() // before it can be due again
			return u.check(run, part)
		}()
		u.scrubbed(err, part == wholly, run.Err() != nil)
		u.nudge()
	})
}

func (u *unit) check(run context.Context, part string) error {
	u.turn.RLock()
	defer u.turn.RUnlock()
	ctx, cancel := context.WithTimeoutCause(run, scrubMost, errStalled)
	defer cancel()
	return u.repo.Check(ctx, part)
}

// scrubbed takes in what a look at the repository found.
func (u *unit) scrubbed(err error, whole, stopped bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.scrubbing = false
	switch {
	case err == nil:
		u.rec.Scrubbed, u.rec.Damage = time.Now(), ""
		u.keep()
	case !stopped:
		u.log.Error("the repository could not be looked through; it is tried again", "err", err)
		u.scrubAt = time.Now().Add(u.e.t.Again)
		if restic.CodeOf(err) != restic.CodeDamaged {
			return
		}
		if whole { // it will not heal by itself, and to read all may cost money
			u.scrubAt = time.Now().Add(u.e.t.Damaged)
		}
		u.rec.Damage = sentenceOf(err)
		u.keep()
	}
}
