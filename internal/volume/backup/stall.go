package backup

import (
	"context"
	"time"

	"staithe/internal/station"
)

// errStalled is why a run that makes no progress is given up.
var errStalled = station.Errorf(station.ErrUnavailable, "backup_stalled",
	"A snapshot made no progress for long and was given up; the store is very slow, or something in the home cannot be read.")

// stillSays is what the state says before that.
const stillSays = "A snapshot makes no progress; the store does not answer, or something in the home cannot be read."

// stillPart is after which part of Timing.Stalled it says so.
const stillPart = 10

// stall cuts a run off that stands still, whatever it is at.
type stall struct{ say, give *time.Timer }

// minded begins to look whether the run makes progress.
func (u *unit) minded(cut context.CancelCauseFunc) (stop func()) {
	limit := u.e.t.Stalled
	s := &stall{
		say: time.AfterFunc(limit/stillPart, func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			if u.trouble == "" && u.stall != nil {
				u.trouble = stillSays
			}
		}),
		give: time.AfterFunc(limit, func() { cut(errStalled) }),
	}
	u.mu.Lock()
	u.stall = s
	u.mu.Unlock()
	return func() {
		s.say.Stop()
		s.give.Stop()
		u.mu.Lock()
		u.stall = nil
		u.mu.Unlock()
	}
}

// progressed takes in that the run goes on.
func (u *unit) progressed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stall == nil {
		return
	}
	u.stall.say.Reset(u.e.t.Stalled / stillPart)
	u.stall.give.Reset(u.e.t.Stalled)
	if u.trouble == stillSays {
		u.trouble = ""
	}
}
