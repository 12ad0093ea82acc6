package fleet

import (
	"context"
	"fmt"

	"staithe/internal/station"
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
