package volume

import (
	"context"
	"fmt"
	"time"
)

// The disk under the homes, as a whole.
const (
	mostReserve      = 2 << 30
	mostReserveFiles = 64 << 10
	// fastest is what a disk may be filled with in a second, bytes and inodes:
	// looks come often enough that not half of the room goes between two.
	fastest      = 4 << 30
	fastestFiles = 1 << 20
	lookAtMost   = time.Second
	lookAtLeast  = 20 * time.Millisecond
	// enough is how many reserves must be free for the disk to have room again.
	enough = 1.25
	// listUsual and listDanger are how often the sessions are listed.
	listUsual  = 2 * time.Second
	listDanger = 100 * time.Millisecond
	// unseenShare is how much of the reserve must be gone, and be in no home, for
	// the sandboxes' counters to be asked who has it.
	unseenShare = 1.0 / 16
	// markEvery is over what time the fall of the free room is seen.
	markEvery = time.Second
)

// reserve is the room that is the server's.
type reserve struct{ bytes, files int64 }

// reserveOf is the reserve of a disk; asked is negative for the default. Files
// go with the share of bytes.
func reserveOf(sp Space, asked int64) reserve {
	bytes := min(sp.Size/20, mostReserve)
	if asked >= 0 {
		bytes = min(asked, sp.Size/2)
	}
	if bytes == 0 {
		return reserve{}
	}
	return reserve{bytes: bytes, files: min(sp.Files/20, mostReserveFiles)}
}

// share is how much of the reserve is there, of bytes or inodes, whichever is
// less; 1 and more is enough.
func (r reserve) share(sp Space) float64 {
	share := 2.0
	if r.bytes > 0 {
		share = min(share, float64(sp.Free)/float64(r.bytes))
	}
	if r.files > 0 && sp.Files > 0 {
		share = min(share, float64(sp.FreeFiles)/float64(r.files))
	}
	return share
}

// diskState is what is known of the disk.
type diskState struct {
	room    Space
	share   float64 // of the reserve that is free
	mark    Space   // the room some time ago,
	marked  time.Time
	falling bool // since when it fell noticeably
	listed  time.Time
	asked   bool  // to list them soon
	from    Space // the room when it became low, or somebody was stopped last
	stopped bool  // somebody was, since it became low
	// In the danger all homes are measured, and again, and again: round is when
	// the present round began, rounds how many were ended.
	round  time.Time
	rounds int
}

// every is how long the next look may wait.
func (d *diskState) every(r reserve) time.Duration {
	wait := time.Duration(float64(d.room.Free) / fastest * float64(time.Second))
	if r.files > 0 {
		wait = min(wait, time.Duration(float64(d.room.FreeFiles)/fastestFiles*float64(time.Second)))
	}
	return min(max(wait, lookAtLeast), lookAtMost)
}

// look takes in how much room there is.
func (g *Guard) look(sp Space, now time.Time) {
	d := &g.disk
	was := d.room
	d.room, d.share = sp, g.reserve.share(sp)
	lost, lostFiles := d.mark.Free-sp.Free, d.mark.FreeFiles-sp.FreeFiles
	fell := lost >= max(64<<10, g.reserve.bytes/512) || lostFiles >= max(16, g.reserve.files/512)
	if fell || now.Sub(d.marked) >= markEvery {
		d.falling, d.mark, d.marked = fell, sp, now
	}
	switch low := g.low.Load(); {
	case !low && d.share < 1:
		d.round, d.rounds = now, 0
		g.low.Store(true)
		d.stopped = false
		g.account(was)
		g.log.Warn("the disk is almost full: what takes more room is refused, sessions that fill it are stopped",
			"free", size(sp.Free), "free_files", sp.FreeFiles, "reserve", size(g.reserve.bytes))
	case low && d.share >= enough:
		g.low.Store(false)
		g.log.Info("the disk has room again", "free", size(sp.Free), "free_files", sp.FreeFiles)
	}
}

// critical is when hardly anything is left.
func (g *Guard) critical() bool { return g.disk.share < 0.25 }

// danger is when somebody must be stopped now.
func (g *Guard) danger() bool { return g.low.Load() && (g.disk.falling || g.critical()) }

// wanted says whether the danger asks for a home's measurement.
func (g *Guard) wanted(h *watched) bool {
	return g.danger() && h.now.At.Before(g.disk.round) && !g.allStopped(h)
}

// dangerRest is how little walks rest in the danger: less while the culprit is
// not found, more on a disk that is simply full.
func (g *Guard) dangerRest() int {
	if g.disk.falling || g.disk.rounds == 0 {
		return restDanger
	}
	return restUrgent
}

func (g *Guard) listEvery() time.Duration {
	if g.danger() || g.disk.asked {
		return listDanger // no more often, however many come and go
	}
	return listUsual
}

// protect stops, while the disk is low, whoever fills it: the home that grew
// most in the danger; or, when what the disk lost is in no home, the session that
// wrote most; or, when the disk was filled before anybody was seen growing, the
// home that grew most since there was room. Then it gives the ballast away.
func (g *Guard) protect(ctx context.Context, now time.Time) {
	if !g.danger() {
		return
	}
	var fast, most *watched
	var fastBy, mostBy float64
	complete := true
	for _, h := range g.homes {
		if g.allStopped(h) {
			continue
		}
		if g.wanted(h) {
			complete = false
			continue
		}
		if by := g.growth(h.base, h.now); by > fastBy {
			fast, fastBy = h, by
		}
		if by := g.growth(h.before, h.now); by > mostBy {
			most, mostBy = h, by
		}
	}
	if fast != nil {
		g.stop(ctx, fast)
	} else if s := g.hidden(); complete && s != nil {
		g.brakeAll(ctx, []*writer{s}, writesNotice(s.since-s.base))
		g.stoppedOne()
	} else if complete && g.disk.rounds == 0 && g.critical() && most != nil {
		g.stop(ctx, most)
	}
	// Not before somebody was stopped, or the disk falls no more: else who fills
	// it takes the ballast too.
	if g.critical() && complete && (g.disk.stopped || !g.disk.falling) {
		g.failed(ctx, "give the ballast away", g.ballast.drop())
	}
	if complete {
		g.disk.round = now
		g.disk.rounds++
	}
}

// stop brakes a home for the disk's sake.
func (g *Guard) stop(ctx context.Context, h *watched) {
	g.brake(ctx, h, diskNotice(h.now))
	h.base = h.now
	g.stoppedOne()
}

func (g *Guard) stoppedOne() {
	g.disk.stopped = true
	g.account(g.disk.room)
}

// account begins anew, from so much room, to count what the disk loses and who
// wrote it.
func (g *Guard) account(from Space) {
	g.disk.from = from
	for _, s := range g.sessions {
		s.base = s.since
	}
}

// unseen is what the disk lost that no home grew by, as a share of the reserve:
// files that were deleted and are still open, or that are outside of the homes.
func (g *Guard) unseen() float64 {
	lost := g.disk.from.Free - g.disk.room.Free
	for _, h := range g.homes {
		from := h.base
		if g.disk.rounds == 0 { // the base is only being measured
			from = h.before
		}
		if !from.At.IsZero() {
			lost -= max(h.now.Bytes-from.Bytes, 0)
		}
	}
	return float64(lost) / float64(max(g.reserve.bytes, 1))
}

// hidden is the session that wrote most by its sandbox's counters, when much of
// what the disk lost is in no home; nil when there is none, or counters say
// nothing.
func (g *Guard) hidden() (most *writer) {
	if g.unseen() < unseenShare {
		return nil
	}
	for _, s := range g.sessions {
		if s.seen && !s.Frozen && s.since-s.base >= wroteNoticeably && (most == nil || s.since-s.base > most.since-most.base) {
			most = s
		}
	}
	return most
}

// allStopped says whether none of a home's sessions can write.
func (g *Guard) allStopped(h *watched) bool {
	for _, id := range h.sessions {
		if !g.sessions[id].Frozen {
			return false
		}
	}
	return true
}

// growth is by how much a home grew, as a share of the reserve; 0 when that is
// too little to stop anybody for.
func (g *Guard) growth(from, to Usage) float64 {
	if from.At.IsZero() {
		return 0
	}
	bytes, files := to.Bytes-from.Bytes, to.Files-from.Files
	share := 0.0
	if bytes >= max(grewNoticeably, g.reserve.bytes/64) {
		share = float64(bytes) / float64(g.reserve.bytes)
	}
	if g.reserve.files > 0 && files >= max(grewNoticeablyFiles, g.reserve.files/64) {
		share = max(share, float64(files)/float64(g.reserve.files))
	}
	return share
}

// recover undoes, once the disk has room, what was done without.
func (g *Guard) recover(ctx context.Context) {
	if g.disk.share < enough {
		return
	}
	if float64(g.disk.room.Free) >= enough*float64(g.reserve.bytes)+float64(g.ballast.size) {
		g.failed(ctx, "lay its ballast down", g.ballast.lay())
	}
	for _, h := range g.homes {
		g.release(ctx, h, codeDiskFull)
	}
}

// stopIt is how a person ends the programs of a session that was frozen.
const stopIt = "choose “Stop its programs” for this session (sleep, with stop) and wake it"

func writesNotice(wrote int64) Notice {
	return Notice{codeDiskFull, fmt.Sprintf("Paused: the server's disk is almost full, and this session wrote most of late (%s), but not into files of its home: "+
		"into deleted files that a program still has open, or outside of the home. It goes on by itself when there is room again. "+
		"To give that room back, "+stopIt+".", size(wrote))}
}

func diskNotice(u Usage) Notice {
	return Notice{codeDiskFull, fmt.Sprintf("Paused: the server's disk is almost full, and this session's home grew most (it holds %s in %d files). "+
		"It goes on by itself when there is room again. Delete files from another session of yours; or wake this one and delete some now; or, if a program "+
		"in it would write on, "+stopIt+".", size(u.Bytes), u.Files)}
}
