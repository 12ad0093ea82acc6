package backup

import (
	"context"
	"errors"
	"slices"
	"time"
)

// watch hears the home, again and again.
func (u *unit) watch(ctx context.Context) {
	for ctx.Err() == nil {
		c, err := u.from.watch(ctx)
		u.mu.Lock()
		// What changed between two watches, or after a snapshot began that somebody asked
		// for before there was one, nobody heard.
		deaf := u.watched || u.begun
		u.watched = true
		if was := u.blind; err != nil && !was && ctx.Err() == nil && !errors.Is(err, errNotWatched) {
			u.log.Warn("the home cannot be watched; snapshots are made every now and then", "err", err)
		}
		u.blind = err != nil
		u.mu.Unlock()
		if deaf && u.from.wakes() {
			u.changed(time.Now(), nil, true)
		}
		u.nudge()
		wait := u.e.t.Blind
		if err == nil {
			err = errors.Join(u.hear(ctx, c), c.Close())
			if ctx.Err() == nil {
				u.log.Warn("the watch of the home has ended; it begins again", "err", err)
			}
			wait = min(wait, time.Second)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// lateMost is how late changes may be heard so that they are still stored within
// their minute. What hears them later is as good as blind.
const lateMost = 10 * time.Second

func (u *unit) hear(ctx context.Context, c Changes) error {
	for looked := time.Now(); ; {
		late := c.Late()
		u.heardLate(late)
		wait, cancel := context.WithTimeout(ctx, u.e.t.Blind)
		paths, lost, err := c.Next(wait)
		idle := wait.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil && !idle {
			return err
		}
		rules := u.rules()
		kept := slices.DeleteFunc(paths, func(p string) bool { return u.from.beside(p) || !counts(p, rules) })
		if now := time.Now(); late > lateMost && now.Sub(looked) >= u.e.t.Blind {
			looked, lost = now, true
		}
		u.changed(time.Now(), kept, lost)
	}
}

// heardLate takes in how late changes are heard.
func (u *unit) heardLate(late time.Duration) {
	u.mu.Lock()
	was := u.blind
	u.late, u.blind = late > 0, late > lateMost
	now := u.blind
	u.mu.Unlock()
	if now && !was {
		u.log.Warn("changes of the home are heard late; snapshots are made every now and then", "late", late)
	}
	if now != was {
		u.nudge()
	}
}
