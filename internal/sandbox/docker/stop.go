package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"staithe/internal/hostproc"
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
	for {
		if err := r.removeContainer(ctx, session, folder); err != nil {
			return err
		}
		err := os.RemoveAll(r.path(session))
		if !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
		// Something writes there still: a start that was cut off goes on in a busy
		// service, and the container is there only now.
		if pause(ctx) != nil {
			return err
		}
	}
}

// removeContainer removes the container, and waits for its processes.
func (r *Runtime) removeContainer(ctx context.Context, session station.ID, folder bool) error {
	guest, _ := r.read(session) // without it there is nothing more to wait for
	id := ""                    // of the container, so far as the service says it
	if c, err := r.api.ContainerInspect(ctx, r.name(session), client.ContainerInspectOptions{}); err == nil {
		id = c.Container.ID
	}
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
	if err := awaitHelpers(id); err != nil {
		r.log.Warn("a container is gone, and a process of the service for it still there", "session", session, "err", err)
	}
	return nil
}

// helperLimit bounds the wait for what a service ran beside a container.
const helperLimit = 5 * time.Second

// awaitHelpers waits for the processes that a service runs beside a container
// (conmon, a shim), which name it in their arguments and end a moment after it.
// What only looks like one makes it wait in vain, and nothing worse.
func awaitHelpers(container string) error {
	if len(container) < 64 {
		return nil // not an id that nothing else has
	}
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, path := range paths {
		args, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(args, []byte(container)) {
			continue // ended meanwhile, or another's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if p, err := hostproc.Note(pid); err == nil { // else it has ended
			if err := p.Wait(helperLimit); err != nil {
				return fmt.Errorf("process %d: %w", pid, err)
			}
		}
	}
	return nil
}

// pauseTries is how often a pause is asked for: with cgroups v1 runc gives up on
// processes that are busy forking or on a busy machine, and thaws them again.
const pauseTries = 5

func (r *Runtime) pauseContainer(ctx context.Context, session station.ID) error {
	for try := 1; ; try++ {
		_, err := r.api.ContainerPause(ctx, r.name(session), client.ContainerPauseOptions{})
		if !errdefs.IsInternal(err) || try == pauseTries || pause(ctx) != nil {
			return err
		}
	}
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
	if err != nil {
		return err
	}
	m, err := r.mode(ctx)
	switch {
	case err != nil:
		return err
	case !info.Running:
		return sandbox.NoGuest(station.ErrNotFound, errors.New("it does not run"))
	case info.Frozen == frozen:
		return nil
	case m.old:
		return sandbox.ErrNoFreeze
	case frozen:
		err = r.pauseContainer(ctx, session)
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
