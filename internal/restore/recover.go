package restore

import (
	"slices"

	"staithe/internal/station"
)

// Recover tells of the restores that an earlier server was cut off in, and goes
// on with those that had begun to change a home, or to be undone; of one home in
// the order in which they were begun. It returns at once. What cannot be read or
// removed is logged: it is no reason not to serve.
func (m *Manager) Recover() {
	list, err := m.records.all()
	if err != nil {
		m.o.Log.Error("some restores cannot be read", "err", err)
	}
	slices.SortStableFunc(list, func(a, b record) int { return a.Restore.Started.Compare(b.Restore.Started) })
	placing := map[station.ID]bool{}
	open := map[station.ID][]*job{}
	for _, r := range list {
		j := &job{ws: r.Workstation, user: r.Workstation.User, rec: r}
		switch {
		case r.Phase == phaseUndoing:
			open[j.ws.ID] = append(open[j.ws.ID], j)
		case r.Restore.State != "running":
		case r.Phase == phaseFetching:
			m.ended(m.ctx, j, station.Errorf(station.ErrUnavailable, "cut_off",
				"The server ended while this was fetched. Nothing in the home was changed; start it again."))
		default:
			placing[station.ID(r.Restore.ID)] = true
			open[j.ws.ID] = append(open[j.ws.ID], j)
		}
	}
	for _, jobs := range open {
		m.resume(jobs)
	}
	ids, err := m.o.Volumes.AllStaged()
	if err != nil {
		m.o.Log.Error("what was fetched for restores cannot be listed", "err", err)
	}
	for _, id := range ids {
		if placing[id] {
			continue
		}
		if err := m.o.Volumes.Unstage(id); err != nil {
			m.o.Log.Error("what a restore fetched stays", "restore", id, "err", err)
		}
	}
}

// resume goes on with restores of one workstation, one after the other. More
// than one are open when how one ended could not be kept.
func (m *Manager) resume(jobs []*job) {
	if err := m.take(jobs[0]); err != nil {
		m.o.Log.Error("a restore is not gone on with", "restore", jobs[0].now().ID, "err", err)
		return
	}
	m.work.Go(func() {
		defer m.drop(jobs[0])
		for _, j := range jobs {
			m.mu.Lock()
			m.running[j.ws.ID] = j
			m.mu.Unlock()
			if j.phase() == phaseUndoing {
				_ = m.takeBack(m.ctx, j) // it logged what failed
				continue
			}
			m.ended(m.ctx, j, m.place(m.ctx, j))
		}
	})
}
