package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"staithe/internal/keylock"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/hostbase"
	"staithe/internal/station"
)

// Options say how sandboxes are made.
type Options struct {
	Data   string       // the data directory
	Engine string       // name or path of the OCI runtime; empty: crun, else runc
	Log    *slog.Logger // required
}

// Runtime implements sandbox.Runtime. Make it with New; it is safe for
// concurrent use. One process at a time may use a data directory.
type Runtime struct {
	data   string
	engine string // as asked for
	log    *slog.Logger
	root   bool // this process is root: uid ranges, cgroups
	locks  keylock.Locks[station.ID]

	cgroups cgroups
	oom     oomWatch
	logs    logWatch
	homes   homes
	engines engineCache

	prepareMu sync.Mutex // held while preparing: an operation lock
	ready     *prepared  // nil until the first Prepare succeeded; guarded by prepareMu
}

var _ sandbox.Runtime = (*Runtime)(nil)

// prepared is what all sandboxes of a process share; it never changes once made.
type prepared struct {
	engine engine // the default
	base   string // name of the base, a folder under DATA/base
	rootfs string // as the engine sees it
	ids    idMapper
	shared *sharedSpec
	stage  string       // a folder that every uid reaches, with mounts for engines alone
	thread *mountThread // where engines are started; nil: anywhere (rootless)
}

// New returns a runtime over a data directory. It makes folders and looks for
// nothing yet: a missing engine shows in Prepare, Start and Preflight.
func New(o Options) (*Runtime, error) {
	if o.Log == nil {
		return nil, errors.New("oci: no logger")
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return nil, fmt.Errorf("oci: data directory: %w", err)
	}
	// Mount sources are compared with symlinks resolved by the kernel.
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, spaceOr(fmt.Errorf("oci: data directory: %w", err))
	}
	if data, err = filepath.EvalSymlinks(data); err != nil {
		return nil, fmt.Errorf("oci: data directory: %w", err)
	}
	r := &Runtime{data: data, engine: o.Engine, log: o.Log, root: os.Geteuid() == 0}
	r.cgroups = newCgroups(r.root)
	r.oom.log, r.oom.root = o.Log, r.root
	for _, dir := range []string{"base", "sandboxes", "run"} {
		if err := os.MkdirAll(filepath.Join(data, dir), 0o700); err != nil {
			return nil, spaceOr(fmt.Errorf("oci: data directory: %w", err))
		}
	}
	return r, nil
}

// Prepare does the work that all starts share: finds the engine, builds the
// base, works out uid maps. Start does it when it was not done; call it early
// so that the first person does not wait. A failure is tried again next time.
// Errors are as Start's.
func (r *Runtime) Prepare(ctx context.Context) error {
	_, err := r.prepare(ctx)
	return err
}

func (r *Runtime) prepare(ctx context.Context) (*prepared, error) {
	r.prepareMu.Lock()
	defer r.prepareMu.Unlock()
	if r.ready != nil {
		return r.ready, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	eng, err := r.engines.find(r.engine)
	if err != nil {
		return nil, err
	}
	if bad := firstFailed(Preflight(r.engine)); bad != nil {
		return nil, bad
	}
	ids, err := newIDMapper(r.root)
	if err != nil {
		return nil, err
	}
	base, err := hostbase.Ensure(filepath.Join(r.data, "base"), r.keepBase())
	if err != nil {
		return nil, spaceOr(fmt.Errorf("build the sandboxes' base file system: %w", err))
	}
	p := &prepared{engine: eng, base: base.Name, rootfs: base.Rootfs, ids: ids}
	if r.root {
		if p.thread, p.stage, err = r.privateMounts(r.cgroups.layout == cgroupHybrid, base.Rootfs); err != nil {
			return nil, fmt.Errorf("private mounts for the container runtime: %w", err)
		}
		p.rootfs = filepath.Join(p.stage, stagedRoot)
	}
	if p.shared, err = newSharedSpec(base, r.cgroups.layout != cgroupNone); err != nil {
		p.thread.close()
		return nil, fmt.Errorf("build the sandboxes' shared part: %w", err)
	}
	r.ready = p
	r.log.Info("sandboxes are made with", "engine", eng.path, "version", eng.version, "root", r.root, "cgroups", r.cgroups.layout)
	return p, nil
}

// Close frees what the runtime holds in this process. Sandboxes live on.
func (r *Runtime) Close() error {
	r.oom.close()
	r.logs.close()
	r.homes.close()
	r.prepareMu.Lock()
	defer r.prepareMu.Unlock()
	if r.ready != nil {
		r.ready.thread.close()
		r.ready = nil
	}
	return nil
}

// dir is the folder of one sandbox.
func (r *Runtime) dir(session station.ID) string {
	return filepath.Join(r.data, "sandboxes", string(session))
}

// stateRoot is where an engine of that kind keeps its state.
func (r *Runtime) stateRoot(kind engineKind) string {
	return filepath.Join(r.data, "run", "oci-"+string(kind))
}

// engineRoot is where an engine keeps one sandbox's state: runsc has no folder
// per sandbox of its own.
func (r *Runtime) engineRoot(kind engineKind, session station.ID) string {
	if kind == runsc {
		return filepath.Join(r.stateRoot(kind), string(session))
	}
	return r.stateRoot(kind)
}

// keepBase says which bases may be in use. When a sandbox has no readable
// record, or not all sandboxes can be found, any may be.
func (r *Runtime) keepBase() func(name string) bool {
	ids, err := r.names()
	used, all := map[string]bool{}, err != nil
	for _, id := range ids {
		rec, err := readRecord(r.dir(id))
		used[rec.Base] = true
		all = all || err != nil
	}
	return func(name string) bool { return all || used[name] }
}

// names finds every session of which there is a folder or engine state. With an
// error there may be more.
func (r *Runtime) names() ([]station.ID, error) {
	seen := map[station.ID]bool{}
	var out []station.ID
	var errs []error
	dirs := []string{filepath.Join(r.data, "sandboxes")}
	for _, kind := range engineKinds {
		dirs = append(dirs, r.stateRoot(kind))
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("look for sandboxes: %w", err))
		}
		for _, e := range entries {
			id := station.ID(e.Name())
			if id.Valid() && !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
	}
	return out, errors.Join(errs...)
}
