package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/files/keeper"
	"staithe/internal/files/watch"
	"staithe/internal/fleet"
	"staithe/internal/gateway"
	"staithe/internal/station"
	"staithe/internal/volume"
	"staithe/internal/volume/backup"
)

// filesIdle is how long a user's files helper lives without a request.
const filesIdle = 5 * time.Minute

// openFiles is the keeper of users' files helpers, with the embedded program.
func openFiles(data string, log *slog.Logger) (*keeper.Keeper, error) {
	path, err := installFiles(data)
	if err != nil {
		return nil, err
	}
	// The folder is named after what is in the program: a helper of another one,
	// left by an earlier server, is told from this one also where both are of the
	// same version.
	o := keeper.Options{Binary: path, Version: version + "-" + filepath.Base(filepath.Dir(path)), Idle: filesIdle}
	return keeper.Open(data, o, log)
}

// homeFiles reaches the helpers of users' homes.
type homeFiles struct {
	fleet  *fleet.Fleet
	keeper *keeper.Keeper
	git    gitOf
	watch  *watch.Watcher
}

// Helper is gateway.Files'.
func (h *homeFiles) Helper(ctx context.Context, user station.ID) (*filesapi.Client, error) {
	at, err := h.fleet.HomePlace(ctx, user)
	if err != nil {
		return nil, err
	}
	return h.keeper.Client(keeper.Home{Workstation: at.Workstation, Path: at.Path, Inside: at.Inside}), nil
}

// Reserve is gateway.Files'.
func (h *homeFiles) Reserve(ctx context.Context, user station.ID, bytes, files int64) (*volume.Reservation, error) {
	return h.fleet.ReserveHome(ctx, user, bytes, files)
}

// Watch is gateway.Files'.
func (h *homeFiles) Watch(ctx context.Context, user station.ID, below files.Path) (gateway.FileChanges, error) {
	at, err := h.fleet.HomePlace(ctx, user)
	if err != nil {
		return nil, err
	}
	s, err := h.watch.Watch(ctx, at.Workstation.ID, at.Path, below)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// backupChanges tells the engine of snapshots what changes.
type backupChanges struct{ *watch.Stream }

// Next is backup.Changes'.
func (c backupChanges) Next(ctx context.Context) (paths []string, lost bool, err error) {
	b, err := c.Stream.Next(ctx)
	for _, e := range b.Events {
		paths = append(paths, string(e.Path))
		if e.From != "" {
			paths = append(paths, string(e.From))
		}
	}
	return paths, b.Overflow, err
}

// Close is backup.Changes'.
func (c backupChanges) Close() error {
	c.Stream.Close()
	return nil
}

// watchFor is backup.Options.Watch.
func watchFor(w *watch.Watcher) func(context.Context, station.Workstation, string) (backup.Changes, error) {
	return func(ctx context.Context, ws station.Workstation, home string) (backup.Changes, error) {
		s, err := w.Watch(ctx, ws.ID, home, ".")
		if err != nil {
			return nil, err
		}
		return backupChanges{s}, nil
	}
}
