package fleet

import (
	"context"
	"slices"
	"time"

	"staithe/internal/station"
)

const (
	// leaseLife is how long a session stays a server's own without a word.
	leaseLife = 30 * time.Second
	// renewEvery is how often a server says that it is there.
	renewEvery = 10 * time.Second
)

// lease makes a session this server's, or says by whom it is run: the error
// wraps station.ErrConflict then. Call it with the session's turn taken, before
// anything is done to its sandbox.
func (f *Fleet) lease(ctx context.Context, id station.ID) error {
	if f.holds(id, renewEvery) {
		return nil
	}
	now := f.stamp()
	until := now.Add(leaseLife)
	if err := f.store.TakeLease(ctx, id, f.id, now, until); err != nil {
		f.setLease(id, time.Time{})
		return err
	}
	f.setLease(id, until)
	return nil
}

// holds says whether a session is surely this server's for a while yet. A
// server that could not renew its leases (the database is away, the machine
// was suspended) holds nothing: another may run them by now.
func (f *Fleet) holds(id station.ID, while time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, ok := f.leased[id]
	return ok && f.stamp().Add(while).Before(until)
}

func (f *Fleet) setLease(id station.ID, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if until.IsZero() {
		delete(f.leased, id)
		return
	}
	f.leased[id] = until
}

// release gives a session that has no sandbox to whoever wakes it next. A
// failure costs that one half a minute.
func (f *Fleet) release(ctx context.Context, id station.ID) {
	f.setLease(id, time.Time{})
	if err := f.store.DropLease(ctx, id, f.id); err != nil {
		f.log.Warn("cannot give a session's lease back", "session", id, "err", err)
	}
}

// renew says for all sessions of this server that it is there.
func (f *Fleet) renew(ctx context.Context) error {
	f.mu.Lock()
	none := len(f.leased) == 0
	f.mu.Unlock()
	if none {
		return nil
	}
	until := f.stamp().Add(leaseLife)
	ids, err := f.store.RenewLeases(ctx, f.id, until)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, had := range f.leased {
		// What was given back while we asked stays so: another server may have it.
		if slices.Contains(ids, id) {
			f.leased[id] = until
		} else if had.Before(until) { // else taken just now
			delete(f.leased, id) // another server's by now, or deleted
		}
	}
	return nil
}

// keepLeases renews until ctx ends.
func (f *Fleet) keepLeases(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := f.renew(ctx); err != nil && ctx.Err() == nil {
			f.log.Error("cannot renew the leases of this server's sessions; it leaves them alone until it can", "err", err)
		}
	}
}
