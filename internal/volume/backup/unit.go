package backup

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/restic"
)

// unit keeps one home.
type unit struct {
	e    *Engine
	id   station.ID
	from source
	repo *restic.Repo
	// folders makes what the repository needs on this host, where it is not there.
	folders func() error
	log     *slog.Logger
	stop    context.CancelFunc // set while it runs; the engine's lock
	wake    chan struct{}      // holds one: look again what is to be done
	reads   *pool              // people who look around
	// turn is held for reading by what reads or adds, and for writing by what removes.
	turn sync.RWMutex

	mu              sync.Mutex
	rec             record
	pend            pending // changed since the present or last run began
	covering        pending // what the present run is to cover
	asked           []asked
	blind           bool      // the home cannot be watched, or changes are heard too late
	late            bool      // they are heard late
	watched         bool      // the first try to watch has been made
	compared        bool      // the record with the repository, since the start
	quick           bool      // its cheap key file was seen to, since the start
	quickAt         time.Time // not before
	busy            string
	reading         int    // how many With runs there are
	readBusy        string // what they say
	done            restic.Progress
	unread          unread
	trouble         string // of making snapshots
	logged          string // the trouble that the log has
	tidyTrouble     string
	failures        int
	retry           time.Time
	scrubbing       bool
	tidyAt, scrubAt time.Time     // not before
	unpruned        bool          // pruning was broken off
	fresh           bool          // a snapshot was made, and nothing tidied after it
	begun           bool          // a snapshot has begun since the start
	took            time.Duration // the last snapshot, with its wait for a place
	long            int           // how many long runs there were in a row
	stall           *stall        // while a snapshot is made
	// yield ends what removes: somebody waits.
	yield context.CancelFunc
}

// asked is a wish for a snapshot.
type asked struct {
	tag  string
	done chan result
}

type result struct {
	snapshot station.Snapshot
	err      error
}

// errStopped is what those hear who wait when the server ends.
var errStopped = station.Errorf(station.ErrUnavailable, "stopping", "The server is stopping; try again when it is back.")

func (e *Engine) newUnit(id station.ID, from source) (*unit, error) {
	o := RepoOptions{Data: e.o.Data, Host: e.o.Host, Program: e.o.Program, Launcher: e.o.Launcher, Key: e.key, Bucket: e.o.Bucket}
	repo, err := Repo(o, id)
	if err != nil {
		return nil, err
	}
	u := &unit{e: e, id: id, from: from, repo: repo, folders: func() error { return o.folders(id) }, log: e.o.Log.With("workstation", id), wake: make(chan struct{}, 1),
		reads: newPool(readsOfOne)}
	if u.rec, err = u.readRecord(); err != nil {
		return nil, err
	}
	u.pend.add(time.Now(), nil, true) // whatever changed while no server ran
	return u, nil
}

func (u *unit) work() string { return filepath.Join(u.e.o.Data, workDir, string(u.id)) }

// nudge has the unit look again.
func (u *unit) nudge() {
	select {
	case u.wake <- struct{}{}:
	default: // as good as done
	}
}

// changed takes in what changed.
func (u *unit) changed(now time.Time, paths []string, lost bool) {
	u.mu.Lock()
	had := u.pend.any()
	u.pend.add(now, paths, lost)
	waits := !had && u.pend.any()
	u.mu.Unlock()
	if waits {
		u.nudge()
	}
}

// ask wishes for a snapshot that begins after now.
func (u *unit) ask(tag string) <-chan result {
	a := asked{tag, make(chan result, 1)}
	u.mu.Lock()
	u.asked = append(u.asked, a)
	u.retry = time.Time{}
	if u.yield != nil {
		u.yield()
	}
	u.mu.Unlock()
	u.nudge()
	return a.done
}

// run works until ctx ends.
func (u *unit) run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	if err := sweep(filepath.Join(u.work(), "cache")); err != nil {
		u.log.Warn("what an earlier run left stays", "err", err)
	}
	work.Go(func() { u.watch(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		at, do := u.next(time.Now())
		if do == nil {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			u.mu.Lock()
			for _, a := range u.asked {
				a.done <- result{err: errStopped}
			}
			u.asked = nil
			u.mu.Unlock()
			return
		case <-u.wake:
		case <-timer.C:
			if at, do := u.next(time.Now()); do != nil && !time.Now().Before(at) {
				do(ctx)
			}
		}
	}
}

// next is what is to be done next, and when; nil: nothing.
func (u *unit) next(now time.Time) (at time.Time, do func(context.Context)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.asked) > 0 {
		return latest(now, u.retry), u.snapshot
	}
	if !u.watched {
		return time.Time{}, nil
	}
	earlier := func(t time.Time, what func(context.Context)) {
		if do == nil || t.Before(at) {
			at, do = t, what
		}
	}
	due := u.due()
	if t, ok := u.tidyDue(now, due); ok {
		earlier(t, u.tidy)
	}
	if len(u.rec.Snapshots) > 0 && !u.scrubbing {
		earlier(latest(latest(u.rec.Scrubbed.Add(u.e.t.Scrub), u.scrubAt), u.retry), u.scrub)
	}
	if !due.IsZero() {
		earlier(latest(due, u.retry), u.snapshot)
	}
	return at, do
}

// due is when a snapshot should begin for what is pending, so that it is verified
// within a minute also where that takes long; zero: there is no need. A home that
// is not heard has no quiet time to wait for. The caller holds the lock.
func (u *unit) due() time.Time {
	t := u.e.t
	t.Latest = max(t.Latest-u.took, t.Latest/6)
	if u.blind && u.from.wakes() {
		t.Quiet = 0
	}
	due := u.pend.due(t)
	if due.IsZero() {
		due = u.unread.again
	}
	if due.IsZero() && u.trouble != "" { // one that somebody asked for failed
		due = u.retry
	}
	return due
}

// tidyDue is when to tidy, which is while nothing is to be stored soon. In a home
// that is written to all the time that never is: so when it is overdue it is done
// after a snapshot all the same. The caller holds the lock.
func (u *unit) tidyDue(now, due time.Time) (time.Time, bool) {
	if u.scrubbing || u.rec.Damage != "" { // what seems to be of no use may be what is needed to mend it
		return time.Time{}, false
	}
	if !u.compared || !u.newestVerified(now) {
		return time.Time{}, false // the next snapshot comes first
	}
	at := u.tidyAt
	prune := u.rec.Forgotten > 0 || u.unpruned
	switch {
	case u.rec.Forgotten >= u.e.t.Forget:
	case prune:
		at = latest(at, u.rec.Pruned.Add(u.e.t.Prune))
	default:
		return time.Time{}, false
	}
	overdue := u.rec.Forgotten >= 2*u.e.t.Forget || prune && u.pruneOverdue(now)
	switch {
	case due.IsZero():
		return latest(latest(at, now), u.retry), true
	case u.trouble != "":
		return time.Time{}, false
	case overdue && u.fresh && !now.Before(at):
		return time.Time{}, true // before all that waits
	default:
		at = latest(at, now)
		return at, due.Sub(at) > yieldAfter
	}
}

// newestVerified says whether the newest snapshot counts. One that a killed server
// left behind does not, and the policy would keep it as its hour's, and not the one
// before it that does. Of those of one second, which is all that the repository knows
// of the time, it would keep any. One of the future, which a clock that was wrong left
// behind, says nothing of today. The caller holds the lock.
func (u *unit) newestVerified(now time.Time) bool {
	list := slices.DeleteFunc(slices.Clone(u.rec.Snapshots), func(s station.Snapshot) bool { return leftInTheFuture(s, now) })
	n := len(list)
	if n == 0 {
		return false
	}
	second := list[n-1].At.Truncate(time.Second)
	return !slices.ContainsFunc(list, func(s station.Snapshot) bool { return s.Verified.IsZero() && !s.At.Before(second) })
}

// leftInTheFuture says whether a snapshot does not count and is of a time to come. It
// is not removed for that: it may be the clock of today that is wrong.
func leftInTheFuture(s station.Snapshot, now time.Time) bool {
	return s.Verified.IsZero() && s.At.Sub(now) > clocksDiffer
}

// pruneOverdue says whether pruning was put off so long that it is to come to its
// end. The caller holds the lock.
func (u *unit) pruneOverdue(now time.Time) bool { return now.Sub(u.rec.Pruned) >= 2*u.e.t.Prune }

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// failed takes in that something did not work: it is tried again by itself.
func (u *unit) failed(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	wait := u.e.t.RetryMax
	if u.failures < 20 {
		wait = min(wait, u.e.t.Retry<<u.failures)
	}
	wait = wait*4/5 + time.Duration(rand.Int64N(int64(wait)*2/5+1))
	u.failures++
	u.retry = time.Now().Add(wait)
	sentence := sentenceOf(err)
	if u.logged != sentence { // what is said while restic tries again is not logged
		u.log.Error("a backup failed; it is tried again", "err", err)
	}
	u.trouble, u.logged = sentence, sentence
}

func sentenceOf(err error) string {
	var p *station.Problem
	if errors.As(err, &p) {
		return p.Sentence
	}
	return "Something went wrong; the server's log says what."
}

// worked ends what failed said.
func (u *unit) worked() {
	u.failures, u.retry = 0, time.Time{}
	if u.logged != "" {
		u.log.Info("backups work again")
	}
	u.trouble, u.logged = "", ""
}

// state is what can be said now.
func (u *unit) state() station.BackupState {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := station.BackupState{On: true, Place: u.e.place(), Safe: u.rec.Safe, Pending: count(&u.pend, &u.covering), Busy: u.busy,
		Scrubbed: u.rec.Scrubbed, Trouble: u.trouble, Left: slices.Clone(u.rec.Left)}
	if s.Pending >= 0 {
		s.Pending += u.unread.besides(&u.pend, &u.covering)
	}
	if u.blind && u.pend.any() || (u.blind || u.late) && u.from.wakes() {
		s.Pending = -1
	}
	if s.Busy == "" && u.scrubbing {
		s.Busy = "scrub"
	}
	if s.Busy == "" && u.reading > 0 {
		s.Busy = u.readBusy
	}
	if u.busy == "snapshot" {
		s.Done, s.Total = u.done.Bytes, u.done.TotalBytes
	}
	switch {
	case u.trouble != "":
		s.Retry = u.retry
	case u.rec.Damage != "":
		s.Trouble = u.rec.Damage
	case u.tidyTrouble != "":
		s.Trouble, s.Retry = u.tidyTrouble, u.tidyAt
	}
	if s.Left == nil {
		s.Left = []station.Left{}
	}
	return s
}

// with is Engine.With.
func (u *unit) with(ctx context.Context, busy string, do func(*restic.Repo) error) error {
	u.mu.Lock()
	u.reading++
	if busy != "" {
		u.readBusy = busy
	}
	if u.yield != nil {
		u.yield()
	}
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		if u.reading--; u.reading == 0 {
			u.readBusy = ""
		}
		u.mu.Unlock()
	}()
	u.turn.RLock()
	defer u.turn.RUnlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return u.locked(ctx, func() error { return do(u.repo) })
}

// locked does something, and when a lock is in its way, removes those of the dead
// and does it again.
func (u *unit) locked(ctx context.Context, do func() error) error {
	if err := u.folders(); err != nil { // a disk may have been changed, a folder removed
		return err
	}
	err := do()
	if restic.CodeOf(err) != restic.CodeLocked {
		return err
	}
	if uerr := u.repo.Unlock(ctx); uerr != nil {
		if restic.CodeOf(uerr) == restic.CodeBusy {
			return err
		}
		return uerr
	}
	return do()
}
