package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/guestsock"
	"staithe/internal/station"
)

const (
	logName = "guest.log" // the engine's complaints are there, too

	// startLimit bounds an engine's run; a cold start takes 20 ms.
	startLimit = 30 * time.Second
	// stopLimit bounds each step of a removal.
	stopLimit = 15 * time.Second
)

// Start makes the sandbox and starts its guest; see sandbox.Runtime.
func (r *Runtime) Start(ctx context.Context, spec sandbox.Spec) error {
	if err := sandbox.CheckSpec(spec); err != nil {
		return err
	}
	p, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	eng, err := r.engineOf(p, spec.Runtime)
	if err != nil {
		return err
	}
	if err := r.checkBase(spec); err != nil {
		return err
	}
	unlock, err := r.locks.Lock(ctx, spec.Session)
	if err != nil {
		return err
	}
	defer unlock()
	info, err := r.find(ctx, spec.Session)
	if err != nil {
		return err
	}
	if info.Running && !unfinished(r.dir(spec.Session)) {
		return nil
	}
	if err := r.destroy(ctx, spec.Session); err != nil {
		return fmt.Errorf("remove what is left of the sandbox: %w", err)
	}
	err = r.create(ctx, p, eng, spec)
	if err == nil {
		err = r.finished(spec.Session)
	}
	if err != nil {
		err = r.explain(spec.Session, err)
		// The person may have gone; the rubble must go all the same.
		if e := r.destroy(context.WithoutCancel(ctx), spec.Session); e != nil {
			err = fmt.Errorf("%w; and its remains: %w", err, e)
		}
	}
	return err
}

// create makes everything on disk and runs the engine.
func (r *Runtime) create(ctx context.Context, p *prepared, eng engine, spec sandbox.Spec) error {
	limits := newBounds(spec.Limits)
	dir := r.dir(spec.Session)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if r.withCgroups() {
		var warm sync.WaitGroup
		defer warm.Wait()
		warm.Go(warmCgroups)
	}
	if eng.kind == runsc {
		return r.createGVisor(ctx, p, eng, spec, limits)
	}
	home, err := r.mountHome(ctx, p, spec)
	if err != nil {
		return err
	}
	homeDone := sync.OnceFunc(home.done)
	defer homeDone()
	root, err := r.mountRoot(p, spec)
	if err != nil {
		return err
	}
	rootDone := sync.OnceFunc(root.done)
	defer rootDone()
	if err := r.writeBundle(dir, spec, p, parts{limits: limits, home: home.source, root: root.path}); err != nil {
		return err
	}
	sock, err := guestsock.Listen(dir)
	if err != nil {
		return err
	}
	defer sock.Close()

	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	rec, err := r.launch(ctx, p, eng, spec, sock)
	if err != nil {
		return err
	}
	var unmounted sync.WaitGroup // the kernel takes its time for that
	defer unmounted.Wait()
	unmounted.Go(homeDone)
	unmounted.Go(rootDone)
	return r.finish(ctx, rec.PID, spec, limits)
}

// launch runs the engine, which gets those descriptors from 3 on, and notes the
// guest.
func (r *Runtime) launch(ctx context.Context, p *prepared, eng engine, spec sandbox.Spec, extra ...*os.File) (record, error) {
	dir := r.dir(spec.Session)
	log, err := os.OpenFile(filepath.Join(dir, logName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return record{}, err
	}
	defer log.Close()
	if !r.root {
		// The engine gives the file to the sandbox's root, another account than
		// ours. The folder lets nobody but us reach it.
		if err := log.Chmod(0o666); err != nil {
			return record{}, err
		}
	}
	args := append(eng.globals(r.withCgroups(), r.engineRoot(eng.kind, spec.Session)), eng.runArgs(dir, spec.Session)...)
	if err := eng.run(ctx, p.thread, call{args: args, log: log, extra: extra}); err != nil {
		return record{}, err
	}
	rec, err := newRecord(readPID(dir), eng, p.base)
	if err != nil {
		return record{}, fmt.Errorf("the guest ended at once: %w", err)
	}
	rec.UIDRange = &spec.UIDRange
	rec.Unenforced = r.unenforced(spec.Limits, spec.Base != "")
	return rec, rec.write(dir)
}

// finish does, beside the guest's start, what needs its namespaces. The guest
// does nothing before somebody dials it.
func (r *Runtime) finish(ctx context.Context, pid int, spec sandbox.Spec, limits bounds) error {
	if !r.cgroups.have[ctlPIDs] {
		if err := limitProcesses(pid, limits.pids); err != nil {
			return err
		}
	}
	r.oom.start()
	attached := make(chan error, 1)
	go func() {
		if spec.Attach == nil {
			attached <- nil
			return
		}
		attached <- spec.Attach(ctx, sandbox.NetNS{Path: fmt.Sprintf("/proc/%d/ns/net", pid), PID: pid})
	}()
	err := limitNamespace(ctx, pid, limits)
	if e := <-attached; e != nil {
		err = errors.Join(err, &attachError{e})
	}
	return err
}

// attachError is the network's failure, which is told as it is.
type attachError struct{ error }

func (e *attachError) Unwrap() error { return e.error }

// engineOf is the engine that a session's class asks for.
func (r *Runtime) engineOf(p *prepared, asked string) (engine, error) {
	if asked == "" || asked == string(p.engine.kind) {
		return p.engine, nil
	}
	if !slices.Contains(engineKinds, engineKind(asked)) {
		return engine{}, station.Errorf(station.ErrUnavailable, "no_runtime",
			"The container runtime %q is not one that this server's sandboxes are made with; the class may name crun, runc or runsc.", asked)
	}
	if bad := firstFailed([]sandbox.Check{checkEngine(asked, r.root)}); bad != nil {
		return engine{}, bad
	}
	return r.engines.find(asked)
}

// explain makes of a failed start a problem with a sentence. It is called while
// the sandbox's folder is still there.
func (r *Runtime) explain(session station.ID, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if i := (*imageError)(nil); errors.As(err, &i) {
		return i.problem()
	}
	if a := (*attachError)(nil); errors.As(err, &a) {
		return a.error
	}
	cause := err
	if said := r.said(session); said != "" {
		cause = fmt.Errorf("%w: %s", err, said)
	}
	if e := spaceOr(err); errors.Is(e, station.ErrNoSpace) {
		return e
	}
	if bad := firstFailed(Preflight(r.engine)); bad != nil {
		return bad
	}
	// An engine's ENOSPC can be the disk or a used-up limit of the kernel.
	if strings.Contains(strings.ToLower(cause.Error()), "no space left on device") && diskFull(r.data) {
		return noSpace(cause)
	}
	return station.Errorf(station.ErrUnavailable, "sandbox_failed",
		"The session's sandbox could not be started; try again, and if it stays so, run staithe doctor on the server.").Because(cause)
}

// said is the end of what the engine and the guest wrote, for the log.
func (r *Runtime) said(session station.ID) string {
	const enough = 2048
	f, err := os.Open(filepath.Join(r.dir(session), logName))
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > enough {
		_, _ = f.Seek(-enough, io.SeekEnd) // should it fail, the beginning is shown instead
	}
	b, _ := io.ReadAll(io.LimitReader(f, enough)) // what could be read is shown
	return strings.TrimSpace(string(b))
}

// spaceOr turns a full disk into the problem it is and leaves other errors.
func spaceOr(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return noSpace(err)
	}
	return err
}

func noSpace(cause error) error {
	return station.Errorf(station.ErrNoSpace, "disk_full",
		"The server's disk is full; free some space in its data directory and try again.").Because(cause)
}

func diskFull(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && (st.Bavail == 0 || st.Files > 0 && st.Ffree == 0)
}
