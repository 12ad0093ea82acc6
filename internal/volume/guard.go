package volume

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"staithe/internal/station"
)

// Writer is a session whose sandbox is there and can write into a home.
type Writer struct {
	Session     station.ID
	Workstation station.Workstation
	Written     int64  // bytes to disks since the sandbox's start; -1: not known
	Frozen      bool   // for whatever reason
	Braked      string // when frozen: the code of what its person was told last
}

// Host is what a Guard needs of who runs the sessions. The methods are called
// one at a time.
type Host interface {
	// Writers lists every session whose sandbox is there.
	Writers(ctx context.Context) ([]Writer, error)
	// Brake stops a session from writing: frozen, or ended where there is no
	// freezing. Its person is told why.
	Brake(ctx context.Context, session station.ID, notice Notice) error
	// Release ends a brake: there is room again.
	Release(ctx context.Context, session station.ID) error
	// Notify tells a session's person something.
	Notify(ctx context.Context, session station.ID, notice Notice) error
}

// Notice is what a person is told.
type Notice struct {
	Code string // stable: home_filling, home_full, disk_full
	Text string // what happened and what to do, in sentences
}

// GuardOptions are the parts of a guard. All but Reserve are required.
type GuardOptions struct {
	Volumes *Volumes
	Host    Host
	Log     *slog.Logger
	Reserve int64 // bytes of the disk kept free; negative: the smaller of 5 % and 2 GiB
}

// Guard keeps the disk from being filled. Twice it looks: at each home, whose
// limit it keeps where the kernel does not, and at the whole file system, whose
// last room is the server's own. Who writes past either is braked (frozen) and
// told; who only reads, or writes little, goes on. Low and Changed may be called
// by anyone; Run runs once.
type Guard struct {
	v       *Volumes
	host    Host
	log     *slog.Logger
	reserve reserve
	ballast *ballast
	space   func() (Space, error)

	low     atomic.Bool
	changed chan struct{} // holds one: list the sessions now

	// The rest is Run's own.
	homes    map[station.ID]*watched
	sessions map[station.ID]*writer
	disk     diskState
	walk     walkState
	failing  map[string]bool // what is said to fail already
}

// watched is a home that has a sandbox on it.
type watched struct {
	ws       station.Workstation
	sessions []station.ID
	now      Usage // the last measurement; At is zero before the first
	before   Usage // the last one while the disk had room
	freeAt   Space // the disk at the last measurement
	wroteAt  int64 // what its sessions had written by then
	base     Usage // the first one while the disk is low
	told     int   // 0, tellAt, 100: what its people were told
	full     bool  // at its limit
	slack    room  // what it may grow by while full
	ceiling  room  // and so up to here
	settling bool  // those who wrote were stopped: what they wrote until they stood still is held against nobody
	soon     bool  // measure at the next chance
}

// room is so many bytes and inodes.
type room struct{ bytes, files int64 }

// writer is one sandbox.
type writer struct {
	Writer
	since  int64  // written at the last look
	base   int64  // written when the disk became low, or somebody was stopped last
	recent int64  // written lately
	seen   bool   // in the last list
	braked string // the notice's code it was braked with; empty: it was not
}

const (
	// tellAt is the share of a limit, in percent, at which people are told, and
	// tellAgain the one under which they may be told again.
	tellAt, tellAgain = 90, 85
	// grewNoticeably is what a home must have grown by to be taken as growing.
	grewNoticeably      = 256 << 10
	grewNoticeablyFiles = 64
	// wroteNoticeably is what makes a session one that writes.
	wroteNoticeably = 1 << 20
)

// NewGuard returns a guard, which does nothing yet. The homes' limits are
// those of SetQuota.
func NewGuard(o GuardOptions) (*Guard, error) {
	if o.Volumes == nil || o.Host == nil || o.Log == nil {
		return nil, errors.New("guard: a required part is missing")
	}
	g := &Guard{
		v: o.Volumes, host: o.Host, log: o.Log, space: o.Volumes.Space,
		homes: map[station.ID]*watched{}, sessions: map[station.ID]*writer{}, failing: map[string]bool{},
		walk: walkState{done: make(chan walked, 1)}, changed: make(chan struct{}, 1),
	}
	sp, err := g.space()
	if err != nil {
		return nil, err
	}
	g.reserve = reserveOf(sp, o.Reserve)
	g.ballast = newBallast(o.Volumes.root, g.reserve.bytes/2)
	g.disk.room = sp
	return g, nil
}

// Low says whether the disk is under its reserve. What takes more room is then
// refused; the error to refuse with wraps station.ErrNoSpace.
func (g *Guard) Low() error {
	if !g.low.Load() {
		return nil
	}
	return station.Errorf(station.ErrNoSpace, "disk_low",
		"The server's disk is almost full; delete files you do not need, or ask the administrator for room, and try again.")
}

// Reserve is how many bytes of the disk are the server's own.
func (g *Guard) Reserve() int64 { return g.reserve.bytes }

// Run guards until ctx ends, and returns when nothing of it runs any more. What
// it braked stays braked: a server that starts again finds room, or not.
func (g *Guard) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			if g.walk.running {
				<-g.walk.done
			}
			return
		case w := <-g.walk.done:
			g.took(ctx, w)
		case <-g.changed:
			g.disk.asked = true
		case <-timer.C:
		}
		timer.Reset(g.tick(ctx))
	}
}

// Changed says that a session was started. Its home is looked at now: a bomb
// fills a disk sooner than the next look comes, and nobody would know how much the
// home held before.
func (g *Guard) Changed() {
	select {
	case g.changed <- struct{}{}:
	default: // as good as said
	}
}

// tick looks at everything once and returns when to look again.
func (g *Guard) tick(ctx context.Context) time.Duration {
	now := time.Now()
	sp, err := g.space()
	if g.failed(ctx, "look at the disk's room", err) {
		return time.Second
	}
	g.look(sp, now)
	if now.Sub(g.disk.listed) >= g.listEvery() {
		g.disk.listed, g.disk.asked = now, false
		list, err := g.host.Writers(ctx)
		if g.failed(ctx, "list the running sessions", err) {
			return time.Second
		}
		g.list(ctx, list)
	}
	if g.low.Load() {
		g.protect(ctx, now)
	} else {
		g.recover(ctx)
	}
	g.startWalk(ctx, now)
	if g.disk.asked {
		return min(listDanger, g.disk.every(g.reserve))
	}
	return g.disk.every(g.reserve)
}

// list takes in which sandboxes there are now.
func (g *Guard) list(ctx context.Context, list []Writer) {
	for _, h := range g.homes {
		h.sessions = h.sessions[:0]
	}
	for _, w := range g.sessions {
		w.seen = false
	}
	for _, w := range list {
		s := g.sessions[w.Session]
		if s == nil {
			s = &writer{since: max(w.Written, 0), base: max(w.Written, 0)}
			if IsBrake(w.Braked) {
				s.braked = w.Braked // by an earlier server
			}
			g.sessions[w.Session] = s
		}
		if w.Written >= 0 {
			if w.Written < s.since {
				// Another sandbox by now, or the counter of a program that ended is lost.
				s.since, s.base = w.Written, min(s.base, w.Written)
			}
			// Half of what was recent fades with each look, so that a burst is
			// seen for some looks and an old one is not.
			s.recent = s.recent/2 + w.Written - s.since
			s.since = w.Written
		}
		s.Writer, s.seen = w, true
		h := g.homes[w.Workstation.ID]
		if h == nil {
			h = &watched{ws: w.Workstation, soon: true}
			g.homes[w.Workstation.ID] = h
		}
		h.sessions = append(h.sessions, w.Session)
		if s.braked != "" && !w.Frozen {
			g.woken(h, s)
		}
	}
	for id, s := range g.sessions {
		if !s.seen && s.braked == "" {
			delete(g.sessions, id)
		}
	}
	for id, h := range g.homes {
		if len(h.sessions) == 0 {
			delete(g.homes, id)
			continue
		}
		g.suspect(h)
		if u, err := g.kernelUsage(ctx, h); err == nil && !u.At.IsZero() {
			g.measured(ctx, h, u)
		}
	}
	for id, s := range g.sessions {
		if !s.seen && g.homes[s.Workstation.ID] == nil {
			delete(g.sessions, id)
		}
	}
}

// kernelUsage asks for what costs nothing to ask for.
func (g *Guard) kernelUsage(ctx context.Context, h *watched) (Usage, error) {
	if !g.v.kernelCounts(h.ws) {
		return Usage{}, nil
	}
	u, err := g.v.Measure(ctx, h.ws)
	g.failed(ctx, "ask for a home's project", err)
	return u, err
}

// wrote is what all of a home's sessions have written to disks.
func (g *Guard) wrote(h *watched) (n int64) {
	for _, id := range h.sessions {
		n += g.sessions[id].since
	}
	return n
}

// failed logs an error the first time in a row it happens.
func (g *Guard) failed(ctx context.Context, what string, err error) bool {
	if err == nil {
		delete(g.failing, what)
		return false
	}
	if !g.failing[what] && ctx.Err() == nil {
		g.log.Error("the disk's guard cannot "+what, "err", err)
	}
	g.failing[what] = true
	return true
}

// brake stops those sessions of a home that write: by the sandboxes' counters,
// or all where those say nothing.
func (g *Guard) brake(ctx context.Context, h *watched, notice Notice) {
	var writing, all []*writer
	for _, id := range h.sessions {
		s := g.sessions[id]
		if s.Frozen || s.braked != "" {
			continue
		}
		all = append(all, s)
		if s.recent >= wroteNoticeably {
			writing = append(writing, s)
		}
	}
	if len(writing) == 0 {
		writing = all
	}
	g.brakeAll(ctx, writing, notice)
}

// brakeAll stops sessions. Those for which there is no room to note it are frozen
// all the same; the ballast is theirs once all are, or another would take it.
func (g *Guard) brakeAll(ctx context.Context, list []*writer, notice Notice) {
	var again []*writer
	for _, s := range list {
		err := g.host.Brake(ctx, s.Session, notice)
		if errors.Is(err, station.ErrNoSpace) {
			again = append(again, s)
			continue
		}
		g.brakedOne(ctx, s, notice, err)
	}
	if len(again) == 0 {
		return
	}
	dropped := g.ballast.drop()
	for _, s := range again {
		g.brakedOne(ctx, s, notice, errors.Join(dropped, g.host.Brake(ctx, s.Session, notice)))
	}
}

// brakedOne takes in what came of a brake.
func (g *Guard) brakedOne(ctx context.Context, s *writer, notice Notice, err error) {
	if errors.Is(err, station.ErrNotFound) {
		return // ended by itself
	}
	if g.failed(ctx, "stop a session that fills the disk", err) {
		return
	}
	g.log.Warn("a session was stopped from writing", "session", s.Session, "why", notice.Code)
	s.braked, s.Frozen, s.recent = notice.Code, true, 0
}

// release ends the brakes of a home that were put for that reason.
func (g *Guard) release(ctx context.Context, h *watched, code string) {
	for _, s := range g.sessions {
		if s.braked != code || s.Workstation.ID != h.ws.ID {
			continue
		}
		err := g.host.Release(ctx, s.Session)
		if err != nil && !errors.Is(err, station.ErrNotFound) && g.failed(ctx, "let a session go on", err) {
			continue
		}
		s.braked, s.Frozen = "", false
	}
}

// tell tells all of a home's sessions.
func (g *Guard) tell(ctx context.Context, h *watched, notice Notice) {
	for _, id := range h.sessions {
		if g.sessions[id].braked != "" {
			continue // keeps what it was told
		}
		if err := g.host.Notify(ctx, id, notice); !errors.Is(err, station.ErrNotFound) {
			g.failed(ctx, "tell a session's person", err)
		}
	}
}
