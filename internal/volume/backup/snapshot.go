package backup

import (
	"context"
	"errors"
	"slices"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// snapshot makes one, and sees to it that it is there.
func (u *unit) snapshot(run context.Context) {
	waited := time.Now()
	slot, err := u.slot(run)
	if err != nil {
		return
	}
	defer slot.release()
	u.turn.RLock()
	defer u.turn.RUnlock()
	ctx, cut := context.WithCancelCause(run)
	defer cut(nil)
	defer slot.mind(ctx, cut)()
	unminded := u.minded(cut)
	begin := time.Now()
	u.mu.Lock()
	u.covering, u.pend = u.pend, pending{}
	wishes := u.asked
	u.asked, u.begun = nil, true
	u.mu.Unlock()
	sn, err := u.make(ctx, begin, tags(wishes))
	unminded() // before what it said is taken back: what comes after says nothing
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if run.Err() == nil && errors.Is(err, errTurn) {
		u.putOff(wishes)
		return
	}
	u.mu.Lock()
	u.busy, u.done = "", restic.Progress{}
	if err != nil {
		u.pend.merge(u.covering)
	} else {
		u.rec.Safe = begin
		u.rec.Forgotten++
		u.fresh, u.took = true, time.Since(waited)
		u.worked()
		u.keep()
	}
	if time.Since(begin) < u.e.t.Hold {
		u.long = 0
	} else {
		u.long++
	}
	u.covering = pending{}
	u.mu.Unlock()
	if err != nil && run.Err() == nil {
		u.failed(err)
	}
	if err != nil && run.Err() != nil {
		err = errStopped
	}
	for _, w := range wishes {
		w.done <- result{sn, err}
	}
	if err == nil {
		u.quicken(ctx) // after what somebody may wait for
	}
}

// putOff takes in that a run was cut off for others: it is made again, in the
// queue of the long ones.
func (u *unit) putOff(wishes []asked) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy, u.done = "", restic.Progress{}
	u.pend.merge(u.covering)
	u.covering = pending{}
	u.asked = append(wishes, u.asked...)
	u.long = longRuns
	u.trouble = errTurn.Sentence
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
func (u *unit) make(ctx context.Context, begin time.Time, tags []string) (station.Snapshot, error) {
	u.saysBusy("snapshot")
	var none station.Snapshot
	if err := u.compare(ctx); err != nil {
		return none, err
	}
	u.progressed()
	p, err := u.from.prepare(ctx)
	if err != nil {
		return none, err
	}
	defer p.done()
	u.progressed()
	sum, parent, err := u.store(ctx, begin, tags, p)
	if err != nil {
		return none, err
	}
	sn := station.Snapshot{ID: sum.ID, At: begin, Files: sum.Files, Bytes: sum.Bytes, Added: sum.Added, Changed: sum.New + sum.Changed, Tags: tags}
	u.saysBusy("verify")
	u.progressed()
	verr := u.verify(ctx, p.folder, parent, sum.ID)
	if verr == nil {
		sn.Verified = time.Now()
	}
	u.mu.Lock()
	if verr != nil {
		u.rec.Unproved = append(u.rec.Unproved, sn.ID)
	}
	u.unread.took(time.Now(), sum, u.e.t)
	u.rec.Snapshots = append(u.rec.Snapshots, sn)
	u.rec.Left = leftOut(p.left, sum)
	if restic.CodeOf(verr) == restic.CodeNoSnapshot {
		u.compared = false // somebody else removes snapshots: see which there are
	}
	u.keep()
	u.mu.Unlock()
	return sn, verr
}

// store runs restic. A parent that somebody else removed, and a repository that is
// not there any more, are found out by that, and it is run again without.
func (u *unit) store(ctx context.Context, begin time.Time, tags []string, p prepared) (sum restic.Summary, parent string, err error) {
	try := func() error {
		parent = u.parent()
		return u.locked(ctx, func() (err error) {
			sum, err = u.backup(ctx, begin, parent, tags, p)
			return err
		})
	}
	err = try()
	switch restic.CodeOf(err) {
	case restic.CodeNoSnapshot:
		u.mu.Lock()
		u.compared = false
		u.mu.Unlock()
		if err = u.compare(ctx); err == nil {
			err = try()
		}
	case restic.CodeNoRepository:
		if err = u.begin(ctx); err == nil {
			err = try()
		}
	}
	return sum, parent, err
}

// backup runs restic once.
func (u *unit) backup(ctx context.Context, begin time.Time, parent string, tags []string, p prepared) (restic.Summary, error) {
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
			u.progressed()
		}
		u.mu.Lock()
		u.done = now
		u.mu.Unlock()
	})
}

// clocksDiffer is how far in the future a snapshot may be that counts as the last.
const clocksDiffer = time.Minute

// parent is the snapshot that the next is compared with: the last verified one. One
// that was made while the clock was wrong would be that for ever.
func (u *unit) parent() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for _, s := range slices.Backward(u.rec.Snapshots) {
		if !s.Verified.IsZero() && s.At.Sub(now) <= clocksDiffer {
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
		if err := u.begin(ctx); err != nil {
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

// begin makes the repository, in place of one that is gone or for the first time.
func (u *unit) begin(ctx context.Context) error {
	u.vanished()
	u.quick, u.quickAt = false, time.Time{}
	return u.repo.Init(ctx)
}

// quickenAgain is after how long it is tried again to make a cheap key file.
const quickenAgain = 6 * time.Hour

// quicken has the next runs cost less, once. Without it they do the same.
func (u *unit) quicken(ctx context.Context) {
	if u.quick || time.Now().Before(u.quickAt) {
		return
	}
	short, cancel := context.WithTimeoutCause(ctx, min(time.Minute, u.e.t.Stalled), errStalled) // others wait for the slot
	defer cancel()
	err := u.repo.Quicken(short)
	if ctx.Err() != nil {
		return
	}
	if u.quick = err == nil; err != nil {
		u.quickAt = time.Now().Add(quickenAgain)
		u.log.Warn("no cheap key file; each step of a snapshot costs half a second of processor time more", "error", err)
	}
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
	u.rec.Unproved = slices.DeleteFunc(u.rec.Unproved, func(id string) bool {
		return !slices.ContainsFunc(list, func(s restic.Snapshot) bool { return s.ID == id })
	})
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
			list = append(list, station.Left{Rule: f.Path, Why: "It could not be read: " + f.Why + ".", Files: 1, Failed: true})
		}
	}
	if more > 0 {
		list = append(list, station.Left{Rule: "…", Why: "More files could not be read.", Files: more, Failed: true})
	}
	return list
}

var errNotWatched = errors.New("there is nothing to watch with")
