package fleet

import (
	"context"
	"fmt"

	"staithe/internal/station"
	"staithe/internal/volume"
)

// Files is what has homes open besides sessions.
type Files interface {
	// End ends it for a workstation, as before its home is taken away. What is
	// not there is no error.
	End(ctx context.Context, workstation station.ID) error
}

func (f *Fleet) endFiles(ctx context.Context, workstation station.ID) error {
	if f.files == nil {
		return nil
	}
	if err := f.files.End(ctx, workstation); err != nil {
		return fmt.Errorf("end what has the home open: %w", err)
	}
	return nil
}

// Place is a home on the host.
type Place struct {
	Workstation station.Workstation
	Path        string // the folder on the host
	Inside      string // what it is called in sessions
}

func homeInside(user station.User) string { return "/home/" + user.Name }

// HomePlace says where a user's home is, and makes it where there is none yet. It
// takes no turn: what is done with the place is no matter of the fleet.
func (f *Fleet) HomePlace(ctx context.Context, user station.ID) (Place, error) {
	u, err := f.enabled(ctx, user)
	if err != nil {
		return Place{}, err
	}
	ws, err := f.store.Workstation(ctx, user)
	if err != nil {
		return Place{}, fmt.Errorf("find the user's workstation: %w", err)
	}
	there, err := f.volumes.Exists(ws)
	if err == nil && !there {
		err = f.CreateHome(ctx, user)
	}
	if err != nil {
		return Place{}, err
	}
	return Place{Workstation: ws, Path: f.volumes.Path(ws), Inside: homeInside(u)}, nil
}

// ReserveHome sets room for bytes in files aside in a user's home before they are
// written: so its limit is kept by who asks, also where the kernel keeps none,
// and the disk's last room stays the server's. The home must be there. Errors are
// as of volume.Volumes.Reserve.
func (f *Fleet) ReserveHome(ctx context.Context, user station.ID, bytes, files int64) (*volume.Reservation, error) {
	ws, err := f.store.Workstation(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("find the user's workstation: %w", err)
	}
	// While no session runs nobody else sets it.
	if err := f.limitHome(ctx, user); err != nil {
		return nil, err
	}
	return f.volumes.Reserve(ctx, ws, f.guard.Reserve(), bytes, files)
}
