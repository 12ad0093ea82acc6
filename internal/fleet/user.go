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
	ws, err := f.store.Workstation(ctx, user)
	if err != nil {
		return fmt.Errorf("find the user's workstation: %w", err)
	}
	return f.volumes.Create(ctx, ws)
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
	return f.volumes.Trash(ctx, ws, f.now())
}
