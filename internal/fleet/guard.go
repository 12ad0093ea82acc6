package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/sandbox"
	"staithe/internal/station"
	"staithe/internal/volume"
)

const (
	// brakeLimit bounds one brake: others may have to be stopped as well.
	brakeLimit = 15 * time.Second
	// tellLimit bounds what a guest may take to show something.
	tellLimit = 2 * time.Second
)

// diskHost is the fleet as the disk's guard sees it. Its methods are called one
// at a time.
type diskHost struct {
	f      *Fleet
	limits map[station.ID]int64 // by user: what was set last
}

// Writers lists the sessions that this server runs and whose sandbox is there,
// and sees to it that each home has its limit.
func (h *diskHost) Writers(ctx context.Context) ([]volume.Writer, error) {
	records, err := h.f.store.AllSessions(ctx)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	homes := map[station.ID]station.Workstation{}
	var out []volume.Writer
	for _, s := range records {
		if !h.f.holds(s.ID, 0) || s.State != station.StateRunning && !s.Frozen {
			continue
		}
		ws, ok := homes[s.User]
		if !ok {
			if ws, err = h.f.store.Workstation(ctx, s.User); errors.Is(err, station.ErrNotFound) {
				continue
			} else if err != nil {
				return nil, fmt.Errorf("find the session's home: %w", err)
			}
			homes[s.User] = ws
			h.limit(ctx, s.User, ws, records)
		}
		w := volume.Writer{Session: s.ID, Workstation: ws, Written: -1, Frozen: s.Frozen}
		if s.Frozen {
			if braked(s) {
				w.Braked = s.Notice.Code
			}
		} else if u, err := h.f.runtime.Usage(ctx, s.ID); err == nil {
			w.Written = u.Write
		}
		out = append(out, w)
	}
	return out, nil
}

// limit sets a home's limit when it is another than before. One that cannot be
// set is logged: it blinds the guard to no other home.
func (h *diskHost) limit(ctx context.Context, user station.ID, ws station.Workstation, records []station.Session) {
	bytes := h.f.quota(user, records)
	if was, ok := h.limits[user]; ok && was == bytes {
		return
	}
	h.limits[user] = bytes
	h.f.setQuota(ctx, ws, bytes)
}

func (f *Fleet) setQuota(ctx context.Context, ws station.Workstation, bytes int64) {
	if err := f.volumes.SetQuota(ctx, ws, bytes); err != nil && ctx.Err() == nil {
		f.log.Error("cannot limit a home", "workstation", ws.ID, "err", err)
	}
}

// limitHome sets the limit of a user's home, before anything runs in it.
func (f *Fleet) limitHome(ctx context.Context, user station.ID) error {
	ws, err := f.store.Workstation(ctx, user)
	if err != nil {
		return fmt.Errorf("the session's workstation: %w", err)
	}
	records, err := f.store.Sessions(ctx, user)
	if err != nil {
		return fmt.Errorf("list the user's sessions: %w", err)
	}
	f.setQuota(ctx, ws, f.quota(user, records))
	return nil
}

// quota is what a user's home may hold: the most that the class of one of the
// user's sessions allows. 0 is no limit.
func (f *Fleet) quota(user station.ID, records []station.Session) int64 {
	var most int64
	for _, s := range records {
		if s.User != user {
			continue
		}
		c, ok := f.classes.find(s.Class)
		if ok && c.Disk == 0 {
			return 0
		}
		most = max(most, c.Disk)
	}
	if most == 0 {
		c, _ := f.classes.find(f.classes.usual)
		return c.Disk
	}
	return most
}

// braked says whether a session is frozen because of its disk, and not because
// its person or its rule put it to sleep: a brake is the reason, in the words of
// the notice.
func braked(s station.Session) bool {
	return s.Frozen && volume.IsBrake(s.Notice.Code) && s.Reason == s.Notice.Text
}

// Brake freezes a session that fills the disk, or ends it where there is no
// freezing. The freeze comes at once, whatever else is done with the session;
// the record follows, and may need room that is not there: the error then wraps
// station.ErrNoSpace, and calling again is right.
func (h *diskHost) Brake(ctx context.Context, session station.ID, n volume.Notice) error {
	f := h.f
	ctx, cancel := context.WithTimeout(ctx, brakeLimit)
	defer cancel()
	if err := f.runtime.Freeze(ctx, session); err != nil && !errors.Is(err, sandbox.ErrNoFreeze) {
		return fmt.Errorf("freeze the session: %w", err)
	}
	return f.operate(ctx, session, func(ctx context.Context, s station.Session) error { return f.brake(ctx, s, n) })
}

// brake is Brake with the session's turn taken.
func (f *Fleet) brake(ctx context.Context, s station.Session, n volume.Notice) error {
	notice := station.Notice{Code: n.Code, Text: n.Text, At: f.stamp().Truncate(time.Second)}
	if s.Frozen { // put to sleep meanwhile
		return f.store.SetNotice(ctx, s.ID, notice)
	}
	if s.State != station.StateRunning {
		return station.Errorf(station.ErrNotFound, "asleep", "The session does not run.")
	}
	// Once more: whoever had its turn before may have found a running session
	// frozen, and thawed it.
	err := f.runtime.Freeze(ctx, s.ID)
	if errors.Is(err, sandbox.ErrNoFreeze) {
		notice.Text += " (Sessions cannot be frozen on this server: it was stopped.)"
		if err := f.store.SetNotice(ctx, s.ID, notice); err != nil {
			return err
		}
		_, err := f.halt(ctx, s, n.Text)
		return err
	}
	if err != nil {
		return fmt.Errorf("freeze the session: %w", err)
	}
	if err := f.store.SetNotice(ctx, s.ID, notice); err != nil {
		return err
	}
	s.Notice, s.Frozen, s.SleptAt, s.ActiveAt = notice, true, f.stamp(), f.activeAt(s)
	if _, err := f.mark(ctx, s, station.StateAsleep, n.Text); err != nil {
		return err
	}
	f.ended(s.ID, false)
	return nil
}

// Release lets a session go on that was frozen by Brake. One that was ended,
// that somebody woke, or whose person put it to sleep, is left as it is.
func (h *diskHost) Release(ctx context.Context, session station.ID) error {
	ctx, cancel := context.WithTimeout(ctx, brakeLimit)
	defer cancel()
	return h.f.operate(ctx, session, func(ctx context.Context, s station.Session) error {
		if !braked(s) {
			return nil
		}
		_, there, err := h.f.thaw(ctx, s)
		if !there {
			return nil // Run finds out
		}
		return err
	})
}

// Notify tells a session's person something, in its record and in its tabs. It
// does not wait for the tabs: a guest that does not answer must not keep the
// guard from looking at the disk.
func (h *diskHost) Notify(ctx context.Context, session station.ID, n volume.Notice) error {
	f := h.f
	s, err := f.store.Session(ctx, session)
	if err != nil {
		return err
	}
	if err := f.store.SetNotice(ctx, session, station.Notice{Code: n.Code, Text: n.Text, At: f.stamp().Truncate(time.Second)}); err != nil || s.State != station.StateRunning {
		return err
	}
	f.watchers.Go(func() {
		ctx, cancel := context.WithTimeout(f.ending, tellLimit)
		defer cancel()
		if err := f.client(session).Notify(ctx, server(s, station.RoleOwner), guestapi.Notice{Code: n.Code, Text: n.Text}); err != nil && f.ending.Err() == nil {
			f.log.Warn("a session's tabs do not show what its person should know", "session", session, "err", err)
		}
	})
	return nil
}

// Home says what a user's home holds and may hold. Errors wrap
// station.ErrNotFound when there is none yet.
func (f *Fleet) Home(ctx context.Context, user station.ID) (station.Home, error) {
	ws, err := f.store.Workstation(ctx, user)
	if err != nil {
		return station.Home{}, err
	}
	u, err := f.volumes.Usage(ctx, ws)
	if err != nil {
		return station.Home{}, err
	}
	room, err := f.volumes.Space()
	if err != nil {
		return station.Home{}, err
	}
	free := max(room.Free-f.guard.Reserve(), 0)
	if u.Limit > 0 {
		free = min(free, max(u.Limit-u.Bytes, 0))
	}
	return station.Home{
		Bytes: u.Bytes, Files: u.Files, AtLeast: u.AtLeast, MeasuredAt: u.At.UTC().Truncate(time.Second),
		Quota: u.Limit, FileQuota: u.FileLimit, Enforced: u.Enforced,
		Free: free, DiskLow: f.guard.Low() != nil,
	}, nil
}
