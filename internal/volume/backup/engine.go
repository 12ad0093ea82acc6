package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// Changes tells what changes in a home.
type Changes interface {
	// Next waits until something changed. paths are from the home's top; lost says
	// that there is more that is not known.
	Next(ctx context.Context) (paths []string, lost bool, err error)
	// Late is about how late that may be; 0: it is at once. It may change: Next tells
	// of something lost when it is no longer 0.
	Late() time.Duration
	Close() error
}

// Options are the parts of an Engine. Data, Host, Log are required, the others
// as said.
type Options struct {
	Data     string // the data directory
	Host     string // this server's name, different from all that share a bucket
	Program  string // restic; empty: Off has to say why
	Launcher string // staithe-backup
	// Off says why there are no backups, and what to do; empty: there are.
	Off    string
	Bucket restic.Bucket // none: in the data directory
	Keep   restic.Policy
	Log    *slog.Logger
	// Homes lists the workstations whose homes are to be kept. An error beside a list
	// says that there may be more.
	Homes func(ctx context.Context) ([]station.Workstation, error)
	// Home is where a workstation's home is.
	Home func(station.Workstation) string
	// Watch hears a home. It returns when nothing is missed any more. nil, or an
	// error: the home counts as changed every now and then.
	Watch func(ctx context.Context, ws station.Workstation, home string) (Changes, error)
	// ForeignLocks says that locks of programs in the workstation's sandboxes cannot
	// be seen from outside, so that databases in use are copied with more care; nil:
	// they always can.
	ForeignLocks func(ctx context.Context, ws station.Workstation) bool
	// Server prepares a folder with what the server itself has to keep; done is
	// called when it was read. nil: nothing is.
	Server func(ctx context.Context) (folder string, done func(), err error)

	// For tests.
	Timing Timing
}

// Timing is when things are done. Zero fields have the usual values.
type Timing struct {
	Quiet time.Duration // without a change, after one, until a snapshot; 5 s
	// Latest is from a change to the beginning of a snapshot; 30 s. It is less by
	// what the last took, with its wait for a place, but not less than a sixth.
	Latest   time.Duration
	Blind    time.Duration // between snapshots of a home that cannot be watched; 25 s
	Retry    time.Duration // after the first failure, doubled by each further one; 2 s
	RetryMax time.Duration // 5 min
	Scrub    time.Duration // between two looks at the whole repository; a week
	Prune    time.Duration // a day
	Forget   int           // snapshots between two times of forgetting old ones; 20
	List     time.Duration // between two looks for new homes; 15 s
	Stalled  time.Duration // without progress, after which a run is given up; 15 min
	Hold     time.Duration // of a run, after which it counts as slow; 60 s
	Tidy     time.Duration // after forgetting or pruning did not come to its end; 5 min
	Again    time.Duration // after a look at the whole repository that failed, until all of it is read; an hour
	Damaged  time.Duration // after that found damage; a day
	Turn     time.Duration // of a slow run, after which it makes room for one that waits; 2 h
}

func (t Timing) withDefaults() Timing {
	return Timing{
		Quiet: cmp.Or(t.Quiet, 5*time.Second), Latest: cmp.Or(t.Latest, 30*time.Second), Blind: cmp.Or(t.Blind, 25*time.Second),
		Retry: cmp.Or(t.Retry, 2*time.Second), RetryMax: cmp.Or(t.RetryMax, 5*time.Minute), Scrub: cmp.Or(t.Scrub, 7*24*time.Hour),
		Prune: cmp.Or(t.Prune, 24*time.Hour), Forget: cmp.Or(t.Forget, 20), List: cmp.Or(t.List, 15*time.Second), Stalled: cmp.Or(t.Stalled, 15*time.Minute),
		Hold: cmp.Or(t.Hold, time.Minute), Turn: cmp.Or(t.Turn, 2*time.Hour),
		Tidy: cmp.Or(t.Tidy, 5*time.Minute), Again: cmp.Or(t.Again, time.Hour), Damaged: cmp.Or(t.Damaged, 24*time.Hour),
	}
}

// Engine keeps the homes of a server. Its methods can be called at the same time.
type Engine struct {
	o   Options
	t   Timing
	key string
	// The places for runs: of homes, of those that are long, of the server's own, of
	// looks at whole repositories.
	quick, slow, own, scrubs *pool
	reads                    *pool // places of people who look around

	mu     sync.Mutex
	units  map[station.ID]*unit
	server *unit
	ctx    context.Context // while Run runs
	work   sync.WaitGroup
}

// The folders in the data directory.
const (
	reposDir = "backups"      // repositories, where there is no bucket
	workDir  = "backup-work"  // caches and what is under way; can be removed while no server runs
	stateDir = "backup-state" // what is known of each
)

// serverID is the server's own place among the workstations'.
const serverID station.ID = "server"

// New makes the folders and the key. Nothing runs yet.
func New(o Options) (*Engine, error) {
	if o.Data == "" || o.Host == "" || o.Log == nil || o.Homes == nil || o.Home == nil {
		return nil, errors.New("backup: a required part is missing")
	}
	if o.Off == "" && (o.Program == "" || o.Launcher == "") {
		return nil, errors.New("backup: the programs are missing")
	}
	e := &Engine{o: o, t: o.Timing.withDefaults(), units: map[station.ID]*unit{},
		reads: newPool(readsAtOnce), quick: newPool(quickRuns), slow: newPool(slowRuns), own: newPool(serverRuns), scrubs: newPool(scrubRuns)}
	if o.Off != "" {
		return e, nil
	}
	for _, d := range []string{reposDir, workDir, stateDir} {
		if err := os.MkdirAll(filepath.Join(o.Data, d), 0o700); err != nil {
			return nil, fmt.Errorf("make the backups' folders: %w", err)
		}
	}
	var err error
	if e.key, err = Key(o.Data); err != nil {
		return nil, err
	}
	if o.Server != nil {
		e.server, err = e.newUnit(serverID, &serverSource{o.Server})
	}
	return e, err
}

// Run makes snapshots until ctx ends, and returns when nothing of it runs any
// more.
func (e *Engine) Run(ctx context.Context) {
	if e.o.Off != "" {
		return
	}
	e.mu.Lock()
	e.ctx = ctx
	if e.server != nil {
		e.start(e.server)
	}
	e.mu.Unlock()
	defer e.work.Wait()
	tick := time.NewTicker(e.t.List)
	defer tick.Stop()
	for failing := ""; ; {
		now := ""
		if err := e.look(ctx); err != nil {
			now = err.Error()
		}
		if now != failing && now != "" && ctx.Err() == nil {
			e.o.Log.Error("backups: not all homes can be looked at; the others go on", "err", now)
		}
		failing = now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look starts units of new homes and ends those of removed ones, whose
// repositories stay. One that is in trouble keeps no other from its own; as long as
// not all are known none is taken for removed.
func (e *Engine) look(ctx context.Context) error {
	list, err := e.o.Homes(ctx)
	there := map[station.ID]bool{}
	errs := []error{err}
	for _, ws := range list {
		there[ws.ID] = true
		if _, err := e.unit(ws); err != nil {
			errs = append(errs, fmt.Errorf("workstation %q: %w", ws.ID, err))
		}
	}
	if err != nil {
		return errors.Join(errs...)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, u := range e.units {
		if !there[id] && u.stop != nil {
			u.stop()
			delete(e.units, id)
		}
	}
	return errors.Join(errs...)
}

// unit is a workstation's, which runs while the engine does.
func (e *Engine) unit(ws station.Workstation) (*unit, error) {
	if !ws.ID.Valid() {
		return nil, station.Errorf(station.ErrNotFound, "no_workstation", "There is no such workstation.")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	u := e.units[ws.ID]
	if u == nil {
		var err error
		if u, err = e.newUnit(ws.ID, &homeSource{engine: e, ws: ws}); err != nil {
			return nil, err
		}
		e.units[ws.ID] = u
	}
	if u.stop == nil && e.ctx != nil && e.ctx.Err() == nil {
		e.start(u)
	}
	return u, nil
}

// start runs a unit. The caller holds the lock.
func (e *Engine) start(u *unit) {
	var ctx context.Context
	ctx, u.stop = context.WithCancel(e.ctx)
	e.work.Go(func() { u.run(ctx) })
}

// off is the error where there are no backups.
func (e *Engine) off() error {
	if e.o.Off == "" {
		return nil
	}
	return station.Errorf(station.ErrUnavailable, "backups_off", "%s", e.o.Off)
}

// State says how safe a workstation's home is.
func (e *Engine) State(ws station.Workstation) (station.BackupState, error) {
	if e.o.Off != "" {
		return station.BackupState{Off: e.o.Off, Place: e.place(), Pending: -1, Left: []station.Left{}}, nil
	}
	u, err := e.unit(ws)
	if err != nil {
		return station.BackupState{}, err
	}
	return u.state(), nil
}

// ServerState says so of the server's own.
func (e *Engine) ServerState() station.BackupState {
	if e.o.Off != "" || e.server == nil {
		return station.BackupState{Off: cmp.Or(e.o.Off, "The server's own data is not kept."), Place: e.place(), Pending: -1, Left: []station.Left{}}
	}
	return e.server.state()
}

// ServerChanged says that there is something new of the server's own.
func (e *Engine) ServerChanged() {
	if e.server != nil {
		e.server.changed(time.Now(), []string{"database"}, false)
	}
}

// Snapshots lists a workstation's, newest first, as they are known: the
// repository is not asked.
func (e *Engine) Snapshots(ws station.Workstation) ([]station.Snapshot, error) {
	if e.o.Off != "" {
		return []station.Snapshot{}, nil
	}
	u, err := e.unit(ws)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	list := slices.Clone(u.rec.Snapshots)
	slices.Reverse(list)
	if list == nil {
		list = []station.Snapshot{}
	}
	return list, nil
}

// Now asks for a snapshot, with a tag that says why, and does not wait.
func (e *Engine) Now(ws station.Workstation, tag string) error {
	_, err := e.ask(ws, tag)
	return err
}

// Wait asks for a snapshot and waits until it is verified.
func (e *Engine) Wait(ctx context.Context, ws station.Workstation, tag string) (station.Snapshot, error) {
	done, err := e.ask(ws, tag)
	if err != nil {
		return station.Snapshot{}, err
	}
	select {
	case r := <-done:
		return r.snapshot, r.err
	case <-ctx.Done():
		return station.Snapshot{}, ctx.Err()
	}
}

func (e *Engine) ask(ws station.Workstation, tag string) (<-chan result, error) {
	if err := e.off(); err != nil {
		return nil, err
	}
	u, err := e.unit(ws)
	if err != nil {
		return nil, err
	}
	return u.ask(tag), nil
}

// With runs something on a workstation's repository while it is not pruned. busy
// is what the state says meanwhile, such as "restore"; "": somebody looks around,
// which only so many can at the same time, as each run of restic takes memory:
// others wait for a time.
func (e *Engine) With(ctx context.Context, ws station.Workstation, busy string, do func(*restic.Repo) error) error {
	if err := e.off(); err != nil {
		return err
	}
	u, err := e.unit(ws)
	if err != nil {
		return err
	}
	if busy == "" {
		leave, err := e.enter(ctx, u)
		if err != nil {
			return err
		}
		defer leave()
	}
	return u.with(ctx, busy, do)
}

// WithServer is With of the server's own repository.
func (e *Engine) WithServer(ctx context.Context, do func(*restic.Repo) error) error {
	if err := e.off(); err != nil {
		return err
	}
	if e.server == nil {
		return station.Errorf(station.ErrNotFound, "no_server_backup", "The server's own data is not kept.")
	}
	return e.server.with(ctx, "", do)
}

// place is where backups go, in words.
func (e *Engine) place() string {
	if e.o.Bucket.Name != "" {
		return e.o.Bucket.String()
	}
	return ownDisk
}

// ownDisk is where backups are without a bucket. People of the workstation need
// not know the server's folders.
const ownDisk = "this server's own disk"
