package volume

import (
	"context"
	"fmt"
	"slices"
	"time"

	"staithe/internal/station"
)

// What walks may cost. One runs at a time. After one that took t the next waits
// for t times the rest, so that all together take at most that part of a core.
const (
	restUsual  = 49 // 2 % of a core
	restUrgent = 9  // 10 %: a home may be past its limit
	restDanger = 1  // 50 %: the disk is filling up, and nobody knows by whom
	// measureEvery is how often a home is measured of which nothing is suspected.
	measureEvery = 30 * time.Second
	// measureFullEvery is how often a full one is.
	measureFullEvery = 5 * time.Second
)

// walkState is the one walk at a time.
type walkState struct {
	running bool
	began   time.Time
	ended   time.Time
	cost    time.Duration
	done    chan walked
}

type walked struct {
	home  station.ID
	usage Usage
	err   error
}

// startWalk measures the home that needs it most, if one does and walks have
// not cost too much lately.
func (g *Guard) startWalk(ctx context.Context, now time.Time) {
	if g.walk.running {
		return
	}
	rested := now.Sub(g.walk.ended)
	var next *watched
	for _, h := range g.homes {
		if g.v.kernelCounts(h.ws) {
			continue
		}
		rest := restUsual
		switch {
		case g.wanted(h):
			rest = g.dangerRest()
		case h.soon:
			rest = restUrgent
		case h.full && now.Sub(h.now.At) >= measureFullEvery:
		case now.Sub(h.now.At) < measureEvery:
			continue
		}
		if rested < g.walk.cost*time.Duration(rest) {
			continue
		}
		if next == nil || h.soon && !next.soon || h.soon == next.soon && h.now.At.Before(next.now.At) {
			next = h
		}
	}
	if next == nil {
		return
	}
	g.walk.running, g.walk.began = true, now
	next.soon = false
	next.freeAt, next.wroteAt = g.disk.room, g.wrote(next)
	ws := next.ws
	go func() {
		u, err := g.v.Measure(ctx, ws)
		g.walk.done <- walked{ws.ID, u, err}
	}()
}

// took takes a walk's result in.
func (g *Guard) took(ctx context.Context, w walked) {
	g.walk.running, g.walk.ended = false, time.Now()
	g.walk.cost = g.walk.ended.Sub(g.walk.began)
	h := g.homes[w.home]
	if h == nil {
		return
	}
	if g.failed(ctx, "measure a home", w.err) {
		h.now.At = time.Now() // not again at once
		return
	}
	g.measured(ctx, h, w.usage)
}

// measured decides what a home's new measurement means.
func (g *Guard) measured(ctx context.Context, h *watched, u Usage) {
	old := h.now
	h.now = u
	switch low := g.low.Load(); {
	case !low:
		h.before, h.base = u, Usage{}
	case h.base.At.IsZero():
		h.base = u
	}
	percent := int(u.Share() * 100)
	switch {
	case percent >= 100 && h.told < 100:
		h.told = 100
		g.tell(ctx, h, fullNotice(u))
	case percent >= tellAt && h.told < tellAt:
		h.told = tellAt
		g.tell(ctx, h, fillingNotice(u))
	case percent < tellAgain:
		h.told = 0
	}
	if u.Enforced == EnforcedMeasured && u.Full() {
		g.keep(ctx, h, old)
		return
	}
	h.full, h.settling = false, false
	g.release(ctx, h, codeHomeFull)
}

// keep holds a full home to its limit: who makes it grow is braked. One that is
// full and grows no more has nobody braked, so that its person can clean up.
func (g *Guard) keep(ctx context.Context, h *watched, old Usage) {
	u := h.now
	if !h.full {
		h.full = true
		h.slack = room{grewNoticeably, grewNoticeablyFiles}
		h.ceiling = room{u.Bytes + h.slack.bytes, u.Files + h.slack.files}
		if old.At.IsZero() {
			return // it was so before; is it growing?
		}
		h.ceiling = room{old.Bytes + h.slack.bytes, old.Files + h.slack.files}
	}
	settles := h.settling && g.quiet(h)
	if h.settling = false; settles {
		h.ceiling = room{u.Bytes + h.slack.bytes, u.Files + h.slack.files}
		return
	}
	if u.Bytes >= max(h.ceiling.bytes, u.Limit) || u.Files >= max(h.ceiling.files, u.FileLimit) {
		stood := g.quiet(h)
		g.brake(ctx, h, brakedNotice(u))
		h.slack = room{grewNoticeably, grewNoticeablyFiles}
		h.ceiling = room{u.Bytes + h.slack.bytes, u.Files + h.slack.files}
		// Until those that were braked stood still they may have written more.
		if h.settling = !stood && g.quiet(h); h.settling {
			h.soon = true
		}
		return
	}
	h.ceiling.bytes = min(h.ceiling.bytes, u.Bytes+h.slack.bytes)
	h.ceiling.files = min(h.ceiling.files, u.Files+h.slack.files)
}

// quiet says whether nobody makes a home grow but the server for its person: each of its
// sessions is stopped, or known to write little.
func (g *Guard) quiet(h *watched) bool {
	return !slices.ContainsFunc(h.sessions, func(id station.ID) bool {
		s := g.sessions[id]
		return !s.Frozen && (s.Written < 0 || s.recent >= wroteNoticeably)
	})
}

// woken is when a person woke a session that was braked: they are let in to
// clean up, which takes a shell a little room, and braked again when it goes on
// growing.
func (g *Guard) woken(h *watched, s *writer) {
	if s.braked == codeHomeFull {
		h.slack = room{min(h.now.Limit/20+(1<<20), 64<<20), h.now.FileLimit/20 + grewNoticeablyFiles}
		h.ceiling = room{h.now.Bytes + h.slack.bytes, h.now.Files + h.slack.files}
	}
	s.braked, s.recent = "", 0
	h.base, h.soon = Usage{}, true
}

// suspect asks for a measurement when a home may have passed a watermark: what
// its sessions wrote, or what the disk lost, since it was measured is the most
// it can have grown by.
func (g *Guard) suspect(h *watched) {
	if h.now.At.IsZero() || h.now.Enforced != EnforcedMeasured {
		return
	}
	grown := h.freeAt.Free - g.disk.room.Free
	if wrote := g.wrote(h) - h.wroteAt; wrote > 0 {
		grown = max(grown, wrote)
	}
	files := h.freeAt.FreeFiles - g.disk.room.FreeFiles
	bytesMatter := grown >= max(grewNoticeably, h.now.Limit/100) && (h.now.Bytes+grown)*100 >= h.now.Limit*tellAt
	filesMatter := files >= max(grewNoticeablyFiles, h.now.FileLimit/100) && (h.now.Files+files)*100 >= h.now.FileLimit*tellAt
	// Of a full one it is as good to know that it has room again.
	freed := h.full && (-grown >= grewNoticeably || -files >= grewNoticeablyFiles)
	if bytesMatter || filesMatter || freed {
		h.soon = true
	}
}

const (
	codeHomeFilling = "home_filling"
	codeHomeFull    = "home_full"
	codeDiskFull    = "disk_full"
)

// IsBrake says whether a notice's code is that of a brake.
func IsBrake(code string) bool { return code == codeHomeFull || code == codeDiskFull }

func fillingNotice(u Usage) Notice {
	return Notice{codeHomeFilling, fmt.Sprintf("Your home is almost full: %s. Delete what you do not need; when it is full, %s.", held(u), consequence(u))}
}

func fullNotice(u Usage) Notice {
	return Notice{codeHomeFull, fmt.Sprintf("Your home is full: %s. Delete files; until then %s.", held(u), consequence(u))}
}

func brakedNotice(u Usage) Notice {
	return Notice{codeHomeFull, fmt.Sprintf("Paused: your home is full (%s) and this session went on writing. Delete files from another session of yours; "+
		"or wake this one and delete some now; or, if a program in it would write on, "+stopIt+".", held(u))}
}

func consequence(u Usage) string {
	if u.Enforced == EnforcedProject {
		return "writing fails with “Disk quota exceeded”"
	}
	return "sessions that go on writing are paused"
}

// held says how much of what limit is used, of bytes, or of files where those
// are nearer to theirs.
func held(u Usage) string {
	if u.FileLimit > 0 && u.Limit > 0 && float64(u.Files)/float64(u.FileLimit) > float64(u.Bytes)/float64(u.Limit) {
		return fmt.Sprintf("%d of %d files", u.Files, u.FileLimit)
	}
	return fmt.Sprintf("%s of %s", size(u.Bytes), size(u.Limit))
}

// size writes bytes for people.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.0f GiB", float64(n)/(1<<30))
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
}
