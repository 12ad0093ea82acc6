package restore

import (
	"context"
	"fmt"

	"staithe/internal/files"
	"staithe/internal/station"
)

// Undo takes a restore back: what it replaced is in its place again, and what it
// brought is in the trash. It goes on when ctx ends. What could not be taken back
// the trouble says; Undo again tries that again.
func (m *Manager) Undo(ctx context.Context, user station.ID, id string) (station.Restore, error) {
	j, err := m.undoable(ctx, user, id)
	if err != nil {
		return station.Restore{}, err
	}
	if j.now().State == "undone" {
		m.drop(j)
		return j.now(), nil
	}
	// It is known from here on that this was begun: the next server goes on with it.
	rec := j.change(func(r *record) { r.Phase = phaseUndoing })
	if err := m.keep(rec); err != nil {
		m.drop(j)
		return station.Restore{}, err
	}
	ended := make(chan error, 1)
	m.work.Go(func() {
		err := m.takeBack(m.ctx, j)
		m.drop(j) // first: who hears of the end can begin the next
		ended <- err
	})
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return j.now(), err
}

// undoable makes the job of undoing a restore, which is its workstation's one
// then, until it is dropped.
func (m *Manager) undoable(ctx context.Context, user station.ID, id string) (_ *job, err error) {
	if _, err := m.Get(ctx, user, id); err != nil {
		return nil, err
	}
	ws, err := m.o.Server.Workstation(ctx, user)
	if err != nil {
		return nil, err
	}
	j := &job{ws: ws, user: user}
	if err := m.take(j); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.drop(j)
		}
	}()
	list, err := m.kept(ws.ID)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.Restore.ID == id {
			j.change(func(rec *record) { *rec = r })
		}
	}
	switch now := j.now(); {
	case now.ID == "":
		return nil, noRestore()
	case now.State != "undone" && !now.Undo:
		return nil, station.Errorf(station.ErrConflict, "no_undo", "This restore changed nothing that could be undone.")
	}
	return j, nil
}

// takeBack undoes a restore whose record says so, and keeps how that went. Cut off
// by the server's end, the record stays, for Recover.
func (m *Manager) takeBack(ctx context.Context, j *job) error {
	id := j.now().ID
	var placed files.Placed
	err := m.ask(ctx, j.user, id, "undo", &placed)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		m.o.Log.Warn("an undo of a restore failed", "restore", id, "workstation", j.ws.ID, "err", err)
		var at files.Placed
		switch looked := m.ask(ctx, j.user, id, "look", &at); {
		case isCode(looked, "no_restore"): // its time has passed
			j.change(func(r *record) { r.Phase, r.Restore.Undo = phasePlacing, false })
		case looked == nil && at.Phase != files.PhaseUndoing: // it has not begun
			j.change(func(r *record) { r.Phase = phasePlacing })
		default:
			j.change(func(r *record) {
				r.Restore.State = "failed"
				r.Restore.Trouble = trouble(err) + " It may be taken back in part; undo it again to go on."
			})
		}
	} else {
		j.change(func(r *record) {
			r.Restore.State, r.Restore.Undo, r.Restore.Trouble = "undone", false, ""
			if placed.Failed > 0 {
				r.Restore.State, r.Restore.Undo = "failed", true
				r.Restore.Trouble = fmt.Sprintf("%d of %d could not be taken back; the first: %s", placed.Failed, placed.Failed+placed.Placed, placed.Why)
			}
			r.Phase = phasePlacing
		})
	}
	m.keepEnd(j.change(func(*record) {}))
	return err
}
