package fleet

import (
	"context"
	"errors"
	"fmt"

	"staithe/internal/station"
)

// CreateHome makes a fresh user's home. One that is there is left as it is.
func (f *Fleet) CreateHome(ctx context.Context, user station.ID) error {
	unlock, err := f.users.Lock(ctx, user)
	if err != nil {
		return err
	}
	defer unlock()
	return f.makeHome(ctx, user)
}

func (f *Fleet) makeHome(ctx context.Context, user station.ID) error {
	if _, err := f.enabled(ctx, user); err != nil {
		return err
	}
	ws, err := f.store.Workstation(ctx, user)
	if err != nil {
		return fmt.Errorf("find the user's workstation: %w", err)
	}
	if err := f.guard.Low(); err != nil {
		return err
	}
	there, err := f.volumes.Exists(ws)
	if err != nil {
		return err
	}
	if err := f.volumes.Create(ctx, ws); err != nil {
		return err
	}
	if !there && f.homeMade != nil {
		f.homeMade(user)
	}
	return nil
}

// enabled reads a user who may have something made. A request that was let in
// just before its user was disabled ends here.
func (f *Fleet) enabled(ctx context.Context, user station.ID) (station.User, error) {
	u, err := f.store.User(ctx, user)
	if err != nil {
		return u, fmt.Errorf("the session's user: %w", err)
	}
	if u.Disabled {
		return u, station.Errorf(station.ErrForbidden, "user_disabled", "This account is disabled; ask the administrator.")
	}
	return u, nil
}

// RemoveUser deletes all of a user's sessions and moves the home to the trash.
// Call it while the user is still in the store, but disabled, so that none
// comes after; calling it again is no error.
func (f *Fleet) RemoveUser(ctx context.Context, user station.ID) error {
	unlock, err := f.users.Lock(ctx, user)
	if err != nil {
		return err
	}
	defer unlock()
	sessions, err := f.store.Sessions(ctx, user)
	if err != nil {
		return fmt.Errorf("list the user's sessions: %w", err)
	}
	for _, s := range sessions {
		if err := f.Delete(ctx, user, string(s.ID)); err != nil && !errors.Is(err, station.ErrNotFound) {
			return fmt.Errorf("delete session %s: %w", s.ID, err)
		}
	}
	ws, err := f.store.Workstation(ctx, user)
	if errors.Is(err, station.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the user's workstation: %w", err)
	}
	// Once more after it: a request that was let in before could have started it anew.
	if err := f.endFiles(ctx, ws.ID); err != nil {
		return err
	}
	if err := f.volumes.Trash(ctx, ws, f.now()); err != nil {
		return err
	}
	return f.endFiles(ctx, ws.ID)
}
