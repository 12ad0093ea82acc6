package backup

import (
	"context"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// How many look around in snapshots at the same time: in all, so that memory is
// left for all else, and in one home, so that nobody takes the place of others.
const (
	readsAtOnce = 6
	readsOfOne  = 2
)

// readsWait is how long somebody waits for a place.
const readsWait = 30 * time.Second

var errTooManyRead = station.Errorf(station.ErrUnavailable, restic.CodeBusy, "Too many look into backups at this moment; try again in a minute.")

// enter waits for a place among those who look around. leave gives it back.
func (e *Engine) enter(ctx context.Context, u *unit) (leave func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readsWait, errTooManyRead)
	defer cancel()
	// The home's own first: who waits for that takes nobody's place.
	if err := u.reads.enter(ctx); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := e.reads.enter(ctx); err != nil {
		u.reads.leave()
		return nil, context.Cause(ctx)
	}
	return func() { e.reads.leave(); u.reads.leave() }, nil
}
