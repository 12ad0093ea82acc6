package restore

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"staithe/internal/files/filesapi"
	"staithe/internal/station"
	"staithe/internal/volume"
	"staithe/internal/volume/restic"
)

// Repository is a workstation's; restic.Repo is one.
type Repository interface {
	Look(ctx context.Context, snapshot, path string, each func(restic.Found) error) error
	Restore(ctx context.Context, q restic.RestoreRequest) (restic.Restored, error)
}

// Server is what a restore needs of the rest. Its methods are called at the same
// time.
type Server interface {
	// Workstation is a user's, with a home.
	Workstation(ctx context.Context, user station.ID) (station.Workstation, error)
	// Repository is where the workstation's snapshots are. The error says why
	// there is none, or wraps station.ErrNotFound: it is known not to have this one.
	Repository(ctx context.Context, ws station.Workstation, snapshot string) (Repository, error)
	// Helper reaches the home's files.
	Helper(ctx context.Context, user station.ID) (*filesapi.Client, error)
	// Reserve sets room aside in a user's home; see volume.Volumes.Reserve.
	Reserve(ctx context.Context, user station.ID, bytes, files int64) (*volume.Reservation, error)
	// LeftOut says whether snapshots leave a path (from the home's top) out by a
	// rule of the server's, or of the last snapshot's.
	LeftOut(ws station.Workstation, path string) bool
	// Before makes a snapshot because something is about to be replaced.
	Before(ctx context.Context, ws station.Workstation) error
}

// Options is what New takes; all must be given.
type Options struct {
	Data    string
	Server  Server
	Volumes *volume.Volumes
	Log     *slog.Logger
}

// Manager runs restores, one at a time for each workstation. Safe for concurrent
// use.
type Manager struct {
	o       Options
	records records
	ctx     context.Context // of all that runs
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu      sync.Mutex
	running map[station.ID]*job // by workstation

	keeping sync.Mutex
	unkept  map[string]record // how restores ended that could not be kept, by id
}

// New returns a manager. Recover comes next, Close last.
func New(o Options) (*Manager, error) {
	r, err := openRecords(o.Data)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Manager{o: o, records: r, ctx: ctx, stop: stop, running: map[station.ID]*job{}, unkept: map[string]record{}}, nil
}

// Close ends what runs, and waits for it. What was cut off is told by the next
// Recover, or goes on.
func (m *Manager) Close() {
	m.stop()
	m.work.Wait()
}

// job is a restore that runs.
type job struct {
	ws   station.Workstation
	user station.ID
	repo Repository

	mu  sync.Mutex
	rec record
}

// now is the restore as it is told.
func (j *job) now() station.Restore {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rec.Restore
}

func (j *job) phase() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rec.Phase
}

func (j *job) change(do func(*record)) record {
	j.mu.Lock()
	defer j.mu.Unlock()
	do(&j.rec)
	return j.rec
}

// Start begins a restore, which goes on when ctx ends. The error wraps
// station.ErrConflict while another of the workstation runs.
func (m *Manager) Start(ctx context.Context, user station.ID, snapshot string, q station.RestoreRequest) (station.Restore, error) {
	if err := checkRequest(snapshot, q); err != nil {
		return station.Restore{}, err
	}
	ws, err := m.o.Server.Workstation(ctx, user)
	if err != nil {
		return station.Restore{}, err
	}
	repo, err := m.o.Server.Repository(ctx, ws, snapshot)
	if err != nil {
		return station.Restore{}, err
	}
	j := &job{ws: ws, user: user, repo: repo, rec: record{Workstation: ws, Phase: phaseFetching, Restore: station.Restore{
		ID: string(station.NewID()), Snapshot: snapshot, Request: q, State: "running", Started: time.Now().UTC()}}}
	if err := m.take(j); err != nil {
		return station.Restore{}, err
	}
	if err := m.records.keep(j.now(), j.rec); err != nil {
		m.drop(j)
		return station.Restore{}, err
	}
	m.work.Go(func() {
		defer m.drop(j)
		m.run(m.ctx, j)
	})
	return j.now(), nil
}

// take makes j the one of its workstation.
func (m *Manager) take(j *job) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running[j.ws.ID] != nil {
		return station.Errorf(station.ErrConflict, "restore_running", "A restore of this home is under way; wait until it is done.")
	}
	m.running[j.ws.ID] = j
	return nil
}

func (m *Manager) drop(j *job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.running, j.ws.ID)
}

// Running says whether a restore of a workstation is under way.
func (m *Manager) Running(ws station.ID) bool { return m.job(ws) != nil }

func (m *Manager) job(ws station.ID) *job {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running[ws]
}

// List is a user's restores, the newest first.
func (m *Manager) List(ctx context.Context, user station.ID) ([]station.Restore, error) {
	ws, err := m.o.Server.Workstation(ctx, user)
	if err != nil {
		return nil, err
	}
	list, err := m.kept(ws.ID)
	if err != nil {
		return nil, err
	}
	out := make([]station.Restore, 0, len(list))
	j := m.job(ws.ID)
	for _, r := range list {
		if j != nil && j.now().ID == r.Restore.ID {
			r.Restore = j.now()
		}
		out = append(out, r.Restore)
	}
	slices.SortStableFunc(out, func(a, b station.Restore) int { return b.Started.Compare(a.Started) })
	return out, nil
}

// Get is one of a user's restores.
func (m *Manager) Get(ctx context.Context, user station.ID, id string) (station.Restore, error) {
	list, err := m.List(ctx, user)
	if err != nil {
		return station.Restore{}, err
	}
	for _, r := range list {
		if r.ID == id {
			return r, nil
		}
	}
	return station.Restore{}, noRestore()
}

func noRestore() error {
	return station.Errorf(station.ErrNotFound, "no_restore", "There is no such restore; list them.")
}
