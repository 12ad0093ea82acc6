package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"staithe/internal/restore"
	"staithe/internal/station"
	"staithe/internal/volume"
	"staithe/internal/volume/backup"
	"staithe/internal/volume/restic"
)

// beforeLimit bounds the snapshot before something is replaced: a store that does
// not answer must not keep people from their files, and what is replaced goes to
// the trash all the same.
const beforeLimit = 2 * time.Minute

// restoring is restore.Server.
type restoring struct {
	*homeFiles
	engine *backup.Engine
}

func openRestores(data string, files *homeFiles, engine *backup.Engine, volumes *volume.Volumes, log *slog.Logger) (*restore.Manager, error) {
	return restore.New(restore.Options{Data: data, Server: &restoring{files, engine}, Volumes: volumes, Log: log})
}

func (r *restoring) Workstation(ctx context.Context, user station.ID) (station.Workstation, error) {
	at, err := r.fleet.HomePlace(ctx, user)
	return at.Workstation, err
}

func (r *restoring) Repository(_ context.Context, ws station.Workstation, snapshot string) (restore.Repository, error) {
	list, err := r.engine.Snapshots(ws)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(list, func(s station.Snapshot) bool { return strings.HasPrefix(snapshot, s.ID) }) {
		return nil, restore.NoSnapshot()
	}
	return keptHome{r.engine, ws}, nil
}

func (r *restoring) LeftOut(ws station.Workstation, path string) bool {
	return r.engine.LeftOut(ws, path)
}

func (r *restoring) Before(ctx context.Context, ws station.Workstation) error {
	ctx, cancel := context.WithTimeout(ctx, beforeLimit)
	defer cancel()
	_, err := r.engine.Wait(ctx, ws, "before-restore")
	return err
}

// keptHome is a workstation's repository, in turn with what else works on it.
type keptHome struct {
	engine *backup.Engine
	ws     station.Workstation
}

func (k keptHome) Look(ctx context.Context, snapshot, path string, each func(restic.Found) error) error {
	return k.engine.With(ctx, k.ws, "", func(r *restic.Repo) error { return r.Look(ctx, snapshot, path, each) })
}

func (k keptHome) Restore(ctx context.Context, q restic.RestoreRequest) (done restic.Restored, err error) {
	err = k.engine.With(ctx, k.ws, "restore", func(r *restic.Repo) error {
		done, err = r.Restore(ctx, q)
		return err
	})
	return done, err
}
