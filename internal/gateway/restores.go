package gateway

import (
	"context"
	"net/http"

	"staithe/internal/station"
)

// Restores has things of a home's snapshots back; internal/restore is one.
// Another user's restore is station.ErrNotFound.
type Restores interface {
	Preview(ctx context.Context, user station.ID, snapshot string, q station.RestoreRequest) (station.RestorePreview, error)
	Start(ctx context.Context, user station.ID, snapshot string, q station.RestoreRequest) (station.Restore, error)
	List(ctx context.Context, user station.ID) ([]station.Restore, error)
	Get(ctx context.Context, user station.ID, id string) (station.Restore, error)
	Undo(ctx context.Context, user station.ID, id string) (station.Restore, error)
}

const backupsPath = "/workstation/backups"

// restoreRoutes are the operations on restores.
func (g *Gateway) restoreRoutes(a api) {
	post(a, backupsPath+"/{snapshot}/preview", "preview-restore", "What a restore would do; nothing is done", homeFiles, http.StatusOK, g.previewRestore, http.StatusConflict)
	post(a, backupsPath+"/{snapshot}/restores", "start-restore", "Have something back; one at a time", homeFiles, http.StatusAccepted, g.startRestore, http.StatusConflict)
	get(a, "/workstation/restores", "list-restores", "The restores, newest first", homeFiles, g.listRestores, http.StatusNotFound)
	get(a, "/workstation/restores/{id}", "get-restore", "How a restore is; one that runs has progress", homeFiles, g.getRestore)
	post(a, "/workstation/restores/{id}/undo", "undo-restore", "Take a restore back", homeFiles, http.StatusOK, g.undoRestore, http.StatusConflict, http.StatusGone)
}

// restoring is the restores, or why there are none.
func (g *Gateway) restoring() (Restores, error) {
	if g.restores == nil {
		return nil, station.Errorf(station.ErrUnavailable, "no_backups", "This server makes no backups.")
	}
	return g.restores, nil
}

type restoreInput struct {
	Snapshot string `path:"snapshot" maxLength:"64" doc:"The snapshot's id"`
	Body     station.RestoreRequest
}

// RestoreRef names a restore.
type RestoreRef struct {
	ID string `path:"id" maxLength:"64"`
}

func (g *Gateway) previewRestore(ctx context.Context, c caller, in *restoreInput) (*output[station.RestorePreview], error) {
	r, err := g.restoring()
	if err != nil {
		return nil, err
	}
	return answer(r.Preview(ctx, c.User.ID, in.Snapshot, in.Body))
}

func (g *Gateway) startRestore(ctx context.Context, c caller, in *restoreInput) (*output[station.Restore], error) {
	r, err := g.restoring()
	if err != nil {
		return nil, err
	}
	return answer(r.Start(ctx, c.User.ID, in.Snapshot, in.Body))
}

func (g *Gateway) listRestores(ctx context.Context, c caller, _ *nothing) (*output[[]station.Restore], error) {
	r, err := g.restoring()
	if err != nil {
		return nil, err
	}
	return answer(r.List(ctx, c.User.ID))
}

func (g *Gateway) getRestore(ctx context.Context, c caller, in *RestoreRef) (*output[station.Restore], error) {
	r, err := g.restoring()
	if err != nil {
		return nil, err
	}
	return answer(r.Get(ctx, c.User.ID, in.ID))
}

// undoRestore goes on when its caller is gone: half an undo helps nobody.
func (g *Gateway) undoRestore(ctx context.Context, c caller, in *RestoreRef) (*output[station.Restore], error) {
	r, err := g.restoring()
	if err != nil {
		return nil, err
	}
	return answer(r.Undo(context.WithoutCancel(ctx), c.User.ID, in.ID))
}
