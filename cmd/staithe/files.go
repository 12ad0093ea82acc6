package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"staithe/internal/files/filesapi"
	"staithe/internal/files/keeper"
	"staithe/internal/fleet"
	"staithe/internal/station"
	"staithe/internal/volume"
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
