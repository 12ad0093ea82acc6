package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

const (
	batch      = 500     // paths that one run of restic fetches
	batches    = 20      // runs; for more, all below the path is fetched
	batchBytes = 1 << 20 // of paths in one run's arguments

	measureEvery = 500 * time.Millisecond
	slackBytes   = 64 << 20 // more than was listed, before a snapshot is taken for a bomb
	slackFiles   = 1000
)

// run does a restore to its end, and keeps how it ended.
func (m *Manager) run(ctx context.Context, j *job) {
	err := m.whole(ctx, j)
	m.ended(ctx, j, err)
}

// whole looks, fetches and places. What is replaced stays, in the trash; so there
// must be room for all that comes.
func (m *Manager) whole(ctx context.Context, j *job) error {
	now := j.now()
	if now.Request.Where == "in_place" {
		if err := m.o.Server.Before(ctx, j.ws); err != nil {
			// What is replaced goes to the trash all the same.
			m.o.Log.Warn("no snapshot could be made before a restore", "workstation", j.ws.ID, "err", err)
		}
	}
	l, err := m.look(ctx, j, now.Snapshot, now.Request, false)
	if err != nil {
		return err
	}
	defer l.close()
	room, err := m.o.Server.Reserve(ctx, j.user, l.bytes(), l.files())
	if err != nil {
		return err
	}
	defer room.Close()
	j.change(func(r *record) { r.Restore.Total = l.bytes() })
	if err := m.fetch(ctx, j, l); err != nil {
		return err
	}
	err = m.place(ctx, j)
	room.Wrote(l.bytes(), l.files())
	return err
}

// ended keeps how a restore ended. One that was cut off by the server's end stays
// as it is, for Recover.
func (m *Manager) ended(ctx context.Context, j *job, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	id := station.ID(j.now().ID)
	begun := err != nil && m.begun(ctx, j)
	rec := j.change(func(r *record) {
		r.Restore.Ended = time.Now().UTC()
		if err == nil {
			return
		}
		r.Restore.State, r.Restore.Trouble, r.Restore.Undo = "failed", trouble(err), begun
		if begun {
			r.Restore.Trouble += " Some of it may be in place; an undo takes that back."
		}
	})
	if err != nil {
		m.o.Log.Warn("a restore failed", "restore", id, "workstation", j.ws.ID, "err", err)
		if err := m.o.Volumes.Unstage(id); err != nil {
			m.o.Log.Error("what a restore fetched stays", "restore", id, "err", err)
		}
		if !begun && rec.Phase == phasePlacing {
			if err := m.ask(ctx, j.user, string(id), "forget", nil); err != nil {
				m.o.Log.Warn("what a restore fetched stays in the home", "restore", id, "err", err)
			}
		}
	}
	m.keepEnd(rec)
	m.tidy(ctx, j)
}

// begun says whether a restore that failed may have changed the home. When it is
// in the home, only the helper's own word counts that it has not.
func (m *Manager) begun(ctx context.Context, j *job) bool {
	id := j.now().ID
	if j.phase() != phasePlacing || m.o.Volumes.Staged(station.ID(id)) {
		return false
	}
	var at files.Placed
	err := m.ask(ctx, j.user, id, "look", &at)
	return !isCode(err, "no_restore") && (err != nil || at.Phase != files.PhasePrepared)
}

// trouble is what an error says to a person.
func trouble(err error) string {
	if p, ok := errors.AsType[*station.Problem](err); ok {
		return p.Sentence
	}
	return "It failed in a way that nobody foresaw; try again, and tell the administrator if it stays so."
}

// isCode says whether an error is the Problem of that code.
func isCode(err error, code string) bool {
	p, ok := errors.AsType[*station.Problem](err)
	return ok && p.Code == code
}

// tidy forgets the oldest restores of a workstation.
func (m *Manager) tidy(ctx context.Context, j *job) {
	list, err := m.kept(j.ws.ID)
	for _, old := range list[min(len(list), keptRecords):] {
		if ferr := m.ask(ctx, j.user, old.Restore.ID, "forget", nil); ferr != nil {
			err = errors.Join(err, ferr)
			continue
		}
		err = errors.Join(err, m.removeRecord(old))
	}
	if err != nil {
		m.o.Log.Warn("old restores stay", "workstation", j.ws.ID, "err", err)
	}
}

// fetch brings what differs into a folder that only the server reaches, and makes
// it ready to be placed.
func (m *Manager) fetch(ctx context.Context, j *job, l *looked) error {
	id := station.ID(j.now().ID)
	dir, err := m.o.Volumes.Stage(j.ws, id)
	if err != nil {
		return err
	}
	if err := m.restic(ctx, j, l, dir); err != nil {
		return err
	}
	return m.ready(ctx, j, l, dir)
}

// restic runs restic for all that is to be fetched, bounded by what was listed.
func (m *Manager) restic(ctx context.Context, j *job, l *looked, dir string) error {
	limit, names := l.bytes(), l.names
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		watch(ctx, dir, func(bytes, files int64) {
			j.change(func(r *record) { r.Restore.Done = min(bytes, r.Restore.Total) })
			if bytes > limit+slackBytes || files > names+slackFiles {
				cancel(station.Errorf(station.ErrConflict, "bad_snapshot",
					"The snapshot holds more than it says, so nothing of it was restored. Take another one."))
			}
		})
	}()
	var err error
	for _, paths := range l.runs {
		if err = ctx.Err(); err == nil {
			_, err = j.repo.Restore(ctx, restic.RestoreRequest{Snapshot: j.now().Snapshot, Into: dir, Paths: paths, Most: limit + slackBytes,
				Place: "the home, or on this server's disk"})
		}
		if err != nil {
			break
		}
	}
	cause := context.Cause(ctx)
	cancel(nil)
	<-watching
	if cause != nil {
		return cause
	}
	return err
}

// split makes runs of paths; false: there are too many.
func split(paths []string) (runs [][]string, ok bool) {
	size := 0
	for _, p := range paths {
		last := len(runs) - 1
		if last < 0 || len(runs[last]) == batch || size+len(p) > batchBytes {
			runs, size = append(runs, nil), 0
			last++
		}
		runs[last] = append(runs[last], p)
		size += 2 * (len(p) + 16)
	}
	return runs, len(runs) <= batches
}

// watch tells how much is in a folder that only the server reaches, until ctx
// ends.
func watch(ctx context.Context, dir string, tell func(bytes, files int64)) {
	every := measureEvery
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		began := time.Now()
		var bytes, n int64
		_ = measure(dir, func(info fs.FileInfo) { // what changes meanwhile is counted the next time
			n++
			if info.Mode().IsRegular() {
				bytes += info.Size()
			}
		})
		tell(bytes, n)
		every = max(measureEvery, 10*time.Since(began))
	}
}

// measure comes to all below a folder; names can be any bytes.
func measure(dir string, each func(fs.FileInfo)) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	infos, err := f.Readdir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, info := range infos {
		each(info)
		if info.IsDir() {
			err = errors.Join(err, measure(filepath.Join(dir, info.Name()), each))
		}
	}
	return err
}

// ready names what was fetched as the helper wants it, writes the plan, and
// makes all the user's.
func (m *Manager) ready(ctx context.Context, j *job, l *looked, dir string) error {
	now := j.now()
	tree := filepath.Join(dir, "tree")
	err := os.Rename(filepath.Join(dir, strings.TrimPrefix(restic.Top, "/")), tree)
	if errors.Is(err, fs.ErrNotExist) { // nothing had to be fetched
		err = os.Mkdir(tree, 0o700)
	}
	if err != nil {
		return fmt.Errorf("prepare what was fetched: %w", err)
	}
	if now.Request.Where == "beside" {
		if _, err := os.Lstat(filepath.Join(tree, string(l.path))); err != nil {
			return station.Errorf(station.ErrConflict, "bad_snapshot", "The snapshot does not give %q back; take another one.", l.path.String()).Because(err)
		}
	}
	plan, err := l.plan(now.Request, "from "+now.Started.Local().Format("2006-01-02 15.04"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "plan"), plan, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the restore's plan: %w", err)
	}
	removed, err := m.o.Volumes.Tame(ctx, j.ws, station.ID(now.ID))
	if removed > 0 {
		m.o.Log.Warn("devices or sockets of a snapshot were not restored", "restore", now.ID, "count", removed)
	}
	if err != nil {
		return err
	}
	rec := j.change(func(r *record) { r.Phase, r.Restore.Done = phasePlacing, r.Restore.Total })
	return m.records.keep(rec.Restore, rec)
}

// place moves what was fetched into the home, once, and has it put in place. It
// goes on where an earlier one was cut off.
func (m *Manager) place(ctx context.Context, j *job) error {
	id := j.now().ID
	if m.o.Volumes.Staged(station.ID(id)) {
		var at files.Placed
		if err := m.ask(ctx, j.user, id, "prepare", &at); err != nil {
			return err
		}
		if err := m.o.Volumes.Adopt(j.ws, station.ID(id), string(at.Into)); err != nil {
			return station.Errorf(station.ErrConflict, "no_staging",
				"What was fetched could not be moved into the home; see that ~/.local/share/staithe is a folder there, and try again.").Because(err)
		}
	}
	var placed files.Placed
	if err := m.ask(ctx, j.user, id, "place", &placed); err != nil {
		return err
	}
	j.change(func(r *record) {
		r.Restore.State, r.Restore.Undo = "done", true
		if placed.Into != "" {
			r.Restore.Into = placed.Into.String()
		}
		if placed.Failed > 0 {
			r.Restore.State = "failed"
			r.Restore.Trouble = fmt.Sprintf("%d of %d could not be put in place; the first: %s", placed.Failed, placed.Failed+placed.Placed, placed.Why)
		}
	})
	return nil
}

// asks is how often a helper is asked that ends meanwhile: what it does with a
// restore goes on where it was cut off.
const asks = 3

// ask has the helper do something with a restore.
func (m *Manager) ask(ctx context.Context, user station.ID, id, what string, out *files.Placed) error {
	for try := 1; ; try++ {
		helper, err := m.o.Server.Helper(ctx, user)
		if err != nil {
			return err
		}
		got, err := filesapi.Call[files.Placed](ctx, helper, http.MethodPost, filesapi.PathPlacing, nil, filesapi.Placing{ID: id, Do: what})
		if errors.Is(err, station.ErrUnavailable) && try < asks && ctx.Err() == nil {
			continue
		}
		if out != nil {
			*out = got
		}
		return err
	}
}
