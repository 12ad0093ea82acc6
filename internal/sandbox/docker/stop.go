package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// stopLimit bounds a removal.
const stopLimit = 30 * time.Second

// Stop ends a sandbox; see sandbox.Runtime.
func (r *Runtime) Stop(ctx context.Context, session station.ID) error {
	return sandbox.StopInTurn(ctx, &r.locks, session, func(ctx context.Context) error { return r.destroy(ctx, session) })
}

// destroy removes the container and then the folder.
func (r *Runtime) destroy(ctx context.Context, session station.ID) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	folder := r.there(session)
	guest, _ := r.read(session) // without it there is nothing more to wait for
	// A paused container cannot take a signal on every version.
	_, _ = r.api.ContainerUnpause(ctx, r.name(session), client.ContainerUnpauseOptions{}) // not paused: not our worry
	for {
		_, err := r.api.ContainerRemove(ctx, r.name(session), client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if errdefs.IsNotFound(err) {
			break
		}
		switch {
		case err == nil, errdefs.IsConflict(err), errdefs.IsInternal(err):
			// Being removed already, or in the middle of a start: it passes.
		case !folder:
			return nil // there never was one that the service could know
		default:
			return r.down(err)
		}
		if pause(ctx) != nil {
			return r.down(errors.Join(errors.New("the container is not removed in time"), err))
		}
	}
	if err := guest.Kill(stopLimit); guest.PID > 1 && err != nil {
		return err
	}
	return os.RemoveAll(r.path(session))
}

// pause waits a moment before the service is asked again.
func pause(ctx context.Context) error {
	t := time.NewTimer(20 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Freeze pauses the container; see sandbox.Runtime.
func (r *Runtime) Freeze(ctx context.Context, session station.ID) error {
	return r.turn(ctx, session, true)
}

// Thaw ends a pause; see sandbox.Runtime.
func (r *Runtime) Thaw(ctx context.Context, session station.ID) error {
	err := r.turn(ctx, session, false)
	if errors.Is(err, station.ErrNotFound) {
		return nil
	}
	return err
}

func (r *Runtime) turn(ctx context.Context, session station.ID, frozen bool) error {
	if !session.Valid() || !r.there(session) {
		return sandbox.NoGuest(station.ErrNotFound, fmt.Errorf("session %q", session))
	}
	unlock, err := r.locks.Lock(ctx, session)
	if err != nil {
		return err
	}
	defer unlock()
	info, err := r.inspect(ctx, session)
	switch {
	case err != nil:
		return err
	case !info.Running:
		return sandbox.NoGuest(station.ErrNotFound, errors.New("it does not run"))
	case info.Frozen == frozen:
		return nil
	case frozen:
		_, err = r.api.ContainerPause(ctx, r.name(session), client.ContainerPauseOptions{})
	default:
		_, err = r.api.ContainerUnpause(ctx, r.name(session), client.ContainerUnpauseOptions{})
	}
	if errdefs.IsNotImplemented(err) {
		return sandbox.ErrNoFreeze
	}
	if err != nil {
		return r.down(err)
	}
	return nil
}
