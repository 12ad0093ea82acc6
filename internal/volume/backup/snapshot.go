package backup

import (
	"context"
	"errors"
	"slices"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// errStalled is why a run that makes no progress is given up.
var errStalled = station.Errorf(station.ErrUnavailable, "backup_stalled",
	"A snapshot made no progress for long and was given up; the store is very slow, or something in the home cannot be read.")

// snapshot makes one, and sees to it that it is there.
func (u *unit) snapshot(ctx context.Context) {
	slot, err := u.e.slot(ctx)
	if err != nil {
		return
	}
	defer slot.release()
	u.turn.RLock()
	defer u.turn.RUnlock()
	begin := time.Now()
	u.mu.Lock()
	u.covering, u.pend = u.pend, pending{}
	wishes := u.asked
	u.asked = nil
	u.mu.Unlock()
	sn, err := u.make(ctx, begin, tags(wishes), slot)
	u.mu.Lock()
	u.busy, u.done = "", restic.Progress{}
	if err != nil {
		u.pend.merge(u.covering)
	} else {
		u.rec.Safe = begin
		u.rec.Forgotten++
		u.worked()
		u.keep()
	}
	u.covering = pending{}
	u.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		u.failed(err)
	}
	if err != nil && ctx.Err() != nil {
		err = errStopped
	}
	for _, w := range wishes {
		w.done <- result{sn, err}
	}
}

// tags are the reasons of a snapshot.
func tags(wishes []asked) []string {
	var list []string
	for _, w := range wishes {
		if !slices.Contains(list, w.tag) {
			list = append(list, w.tag)
		}
	}
	if list == nil {
		list = []string{"auto"}
	}
	return list
}

func (u *unit) saysBusy(what string) {
	u.mu.Lock()
	u.busy = what
	u.mu.Unlock()
}

// make makes a snapshot of what there is from begin on, and verifies it.
func (u *unit) make(ctx context.Context, begin time.Time, tags []string, slot *slot) (station.Snapshot, error) {
	u.saysBusy("snapshot")
	var none station.Snapshot
	if err := u.compare(ctx); err != nil {
		return none, err
	}
	p, err := u.from.prepare(ctx)
	if err != nil {
		return none, err
	}
	defer p.done()
	parent := u.parent()
	var sum restic.Summary
	err = u.locked(ctx, func() (err error) {
		sum, err = u.backup(ctx, begin, parent, tags, p, slot)
		return err
	})
	if restic.CodeOf(err) == restic.CodeNoRepository {
		u.vanished()
		if err = u.repo.Init(ctx); err == nil {
			parent = ""
			sum, err = u.backup(ctx, begin, "", tags, p, slot)
		}
	}
	if err != nil {
		return none, err
	}
	sn := station.Snapshot{ID: sum.ID, At: begin, Files: sum.Files, Bytes: sum.Bytes, Added: sum.Added, Changed: sum.New + sum.Changed, Tags: tags}
	u.saysBusy("verify")
	verr := u.verify(ctx, parent, sum.ID)
	if verr == nil {
		sn.Verified = time.Now()
	}
	u.mu.Lock()
	u.rec.Snapshots = append(u.rec.Snapshots, sn)
	u.rec.Left = leftOut(p.left, sum)
	u.keep()
	u.mu.Unlock()
	return sn, verr
}

// backup runs restic, and gives it up when it stands still.
func (u *unit) backup(ctx context.Context, begin time.Time, parent string, tags []string, p prepared, slot *slot) (restic.Summary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(u.e.t.Stalled, func() { cancel(errStalled) })
	defer stalled.Stop()
	// One that stands still does not keep others from their turn.
	idle := time.AfterFunc(slotPatience, slot.release)
	defer idle.Stop()
	var last restic.Progress
	return u.repo.Backup(ctx, restic.BackupRequest{
		Source: p.folder, Parent: parent, Of: string(u.id), At: begin, Tags: tags, Excludes: p.excludes, Overlays: p.overlays,
		Retrying: func(sentence string) {
			u.mu.Lock()
			u.trouble = sentence
			u.mu.Unlock()
		},
	}, func(now restic.Progress) {
		if now != last {
			last = now
			stalled.Reset(u.e.t.Stalled)
			idle.Reset(slotPatience)
		}
		u.mu.Lock()
		u.done = now
		u.mu.Unlock()
	})
}

// parent is the snapshot that the next is compared with: the last verified one.
func (u *unit) parent() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range slices.Backward(u.rec.Snapshots) {
		if !s.Verified.IsZero() {
			return s.ID
		}
	}
	return ""
}

// compare sees, once after a start, whether the repository has what the record
// says.
func (u *unit) compare(ctx context.Context) error {
	u.mu.Lock()
	compared := u.compared
	u.mu.Unlock()
	if compared {
		return nil
	}
	var list []restic.Snapshot
	err := u.locked(ctx, func() (err error) {
		list, err = u.repo.Snapshots(ctx)
		return err
	})
	switch {
	case restic.CodeOf(err) == restic.CodeNoRepository:
		u.vanished()
		if err := u.repo.Init(ctx); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		u.take(list)
	}
	u.mu.Lock()
	u.compared = true
	u.mu.Unlock()
	return nil
}

// vanished takes in that there is no repository.
func (u *unit) vanished() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.rec.Snapshots) > 0 {
		u.log.Error("the repository is not there any more; another is made", "place", u.e.place())
	}
	left := u.rec.Left
	u.rec = u.newRecord()
	u.rec.Left = left
	u.keep()
}

// take makes the record's list what the repository has.
func (u *unit) take(list []restic.Snapshot) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := map[string]station.Snapshot{}
	for _, s := range u.rec.Snapshots {
		known[s.ID] = s
	}
	u.rec.Snapshots = nil
	var safe time.Time
	for _, s := range list {
		if len(s.Paths) != 1 || s.Paths[0] != restic.Top {
			continue // somebody else's
		}
		sn, ok := known[s.ID]
		if !ok {
			sn = station.Snapshot{ID: s.ID, At: s.At, Tags: slices.Concat(s.Tags, []string{})}
		}
		u.rec.Snapshots = append(u.rec.Snapshots, sn)
		if !sn.Verified.IsZero() && sn.At.After(safe) {
			safe = sn.At
		}
	}
	slices.SortStableFunc(u.rec.Snapshots, func(a, b station.Snapshot) int { return a.At.Compare(b.At) })
	if safe.Before(u.rec.Safe) {
		u.rec.Safe = safe
	}
	u.keep()
}

// leftOut is what the snapshot does not hold: by rule, and what could not be read.
func leftOut(rules []station.Left, sum restic.Summary) []station.Left {
	const most = 20
	list := slices.Clone(rules)
	more := sum.UnreadMore
	for _, f := range sum.Unread {
		switch {
		case f.Gone: // removed meanwhile: that is a change, and counts as one
		case len(list) >= len(rules)+most:
			more++
		default:
			list = append(list, station.Left{Rule: f.Path, Why: "It could not be read: " + f.Why + ".", Files: 1})
		}
	}
	if more > 0 {
		list = append(list, station.Left{Rule: "…", Why: "More files could not be read.", Files: more})
	}
	return list
}

// slotPatience is how long a run may stand still before another may begin.
const slotPatience = 30 * time.Second

// slot is a place among those that run at the same time. It is given back once.
type slot struct {
	once chan struct{}
	to   chan struct{}
}

func (e *Engine) slot(ctx context.Context) (*slot, error) {
	select {
	case e.slots <- struct{}{}:
		s := &slot{once: make(chan struct{}, 1), to: e.slots}
		s.once <- struct{}{}
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *slot) release() {
	select {
	case <-s.once:
		<-s.to
	default:
	}
}

var errNotWatched = errors.New("there is nothing to watch with")
