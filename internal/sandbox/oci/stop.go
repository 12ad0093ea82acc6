package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"staithe/internal/hostproc"
	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Stop ends a sandbox; see sandbox.Runtime.
func (r *Runtime) Stop(ctx context.Context, session station.ID) error {
	return sandbox.StopInTurn(ctx, &r.locks, session, func(ctx context.Context) error { return r.destroy(ctx, session) })
}

// List finds every sandbox; see sandbox.Runtime. One that cannot be looked at
// hides no other.
func (r *Runtime) List(ctx context.Context) ([]sandbox.Info, error) {
	var out []sandbox.Info
	var errs []error
	ids, err := r.names()
	if err != nil {
		errs = append(errs, fmt.Errorf("%w: %w", sandbox.ErrUnknown, err))
	}
	for _, id := range ids {
		info, there, err := r.Find(ctx, id)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			errs = append(errs, err)
		} else if there {
			out = append(out, info)
		}
	}
	return out, errors.Join(errs...)
}

// Find looks for one sandbox; see sandbox.Runtime. It waits for no operation:
// one that hangs must not hide all sandboxes.
func (r *Runtime) Find(ctx context.Context, id station.ID) (info sandbox.Info, there bool, err error) {
	if !id.Valid() || !r.exists(id) {
		return info, false, nil
	}
	r.watchLog(id)
	r.boundLog(id)
	if unfinished(r.dir(id)) {
		r.adopt(ctx, id)
	}
	if info, err = r.find(ctx, id); err != nil {
		err = fmt.Errorf("%w: look at sandbox %s: %w", sandbox.ErrUnknown, id, err)
	}
	return info, true, err
}

// exists says whether anything of a sandbox is on disk.
func (r *Runtime) exists(id station.ID) bool {
	for _, path := range append(r.states(id), r.dir(id)) {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

// states are the folders in which engines may keep a sandbox's state.
func (r *Runtime) states(id station.ID) []string {
	var out []string
	for _, kind := range engineKinds {
		out = append(out, filepath.Join(r.stateRoot(kind), string(id)))
	}
	return out
}

// find says whether a sandbox runs.
func (r *Runtime) find(ctx context.Context, id station.ID) (sandbox.Info, error) {
	info := sandbox.Info{Session: id}
	rec, err := r.recordOf(ctx, id)
	if err != nil {
		return info, err
	}
	info.Runtime = string(rec.Kind)
	if rec.Alive() {
		info.Running, info.PID = true, rec.PID
		f, ok := r.cgroups.freezer(id)
		info.Frozen = ok && f.isOn()
	}
	return info, nil
}

// recordOf reads the sandbox's record, or makes it anew from the engine's state
// when a gateway died between the engine's run and the record. Without either
// it is zero.
func (r *Runtime) recordOf(ctx context.Context, id station.ID) (record, error) {
	if rec, err := readRecord(r.dir(id)); err == nil {
		return rec, nil
	}
	for _, kind := range engineKinds {
		if _, err := os.Lstat(filepath.Join(r.stateRoot(kind), string(id))); err != nil {
			continue
		}
		eng, thread, err := r.engineFor(ctx, kind)
		if err != nil {
			return record{}, err
		}
		pid, err := eng.state(ctx, thread, r.withCgroups(), r.engineRoot(kind, id), id)
		if err != nil {
			return record{}, err
		}
		if pid == 0 {
			continue
		}
		guest, err := hostproc.Note(pid)
		if err != nil {
			continue // it ended while we looked
		}
		return record{Process: guest, Kind: eng.kind, Engine: eng.path}, nil
	}
	return record{}, nil
}

// engineFor is the engine of a kind, which need not be the one for new
// sandboxes: the operator may have changed it since.
func (r *Runtime) engineFor(ctx context.Context, kind engineKind) (engine, *mountThread, error) {
	p, err := r.prepare(ctx)
	if err != nil {
		return engine{}, nil, err
	}
	if p.engine.kind == kind {
		return p.engine, p.thread, nil
	}
	eng, err := r.engines.find(string(kind))
	return eng, p.thread, err
}

func (r *Runtime) withCgroups() bool { return r.cgroups.layout != cgroupNone }

// destroy ends a sandbox and removes every trace. It does as much as it can
// even when parts are corrupt, and returns what still is not right. The caller
// holds the session's lock.
func (r *Runtime) destroy(ctx context.Context, id station.ID) error {
	if !r.exists(id) && len(r.cgroups.dirs(id)) == 0 {
		return nil
	}
	var errs []error
	if _, err := readRecord(r.dir(id)); err != nil { // a start, or its removal, that was cut off
		errs = append(errs, r.endEngines(id))
	}
	rec, err := r.recordOf(ctx, id)
	if err == nil && rec.PID > 1 {
		err = rec.KillThen(stopLimit, func() { r.release(id) })
	}
	errs = append(errs, err, r.killCgroups(id))
	for _, kind := range engineKinds {
		r.forget(ctx, kind, id)
	}
	r.oom.forget(id)
	for _, dir := range r.cgroups.dirs(id) {
		errs = append(errs, removeCgroup(dir))
	}
	if err := errors.Join(errs...); err != nil {
		return err // the folder stays: it is how List finds what is left
	}
	for _, path := range r.states(id) {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(append(errs, removeTree(ctx, r.dir(id)))...)
}

// forget lets the engine remove its own state. That it cannot is no error: the
// state may be corrupt, or be from before the machine was restarted, and all it
// names is removed by us as well.
func (r *Runtime) forget(ctx context.Context, kind engineKind, id station.ID) {
	if _, err := os.Lstat(filepath.Join(r.stateRoot(kind), string(id))); err != nil {
		return
	}
	state := r.engineRoot(kind, id)
	eng, thread, err := r.engineFor(ctx, kind)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, stopLimit)
		defer cancel()
		err = eng.run(ctx, thread, call{args: append(eng.globals(r.withCgroups(), state), "delete", "--force", string(id))})
	}
	if err != nil {
		r.log.Warn("the engine could not remove a sandbox; removing it by hand", "session", id, "err", err)
	}
}

// killCgroups ends what still runs in the session's cgroups, which can only be
// when neither record nor engine knew of it.
func (r *Runtime) killCgroups(id station.ID) error {
	deadline := time.Now().Add(stopLimit)
	for _, dir := range r.cgroups.dirs(id) {
		for pids := cgroupPIDs(dir); len(pids) > 0; pids = cgroupPIDs(dir) {
			left := time.Until(deadline)
			if left <= 0 {
				return fmt.Errorf("processes in %s do not end", dir)
			}
			for _, pid := range pids {
				p, err := hostproc.Note(pid)
				if err != nil {
					continue // ended meanwhile
				}
				if err := p.KillThen(left, func() { r.release(id) }); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
