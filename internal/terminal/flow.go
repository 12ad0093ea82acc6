package terminal

import "time"

// Item is what Next found: bytes in the caller's buffer, or one event. The zero
// Item means that there is nothing to send now.
type Item struct {
	N      int
	Size   *SizeEvent
	Resync *ResyncEvent
	Exit   *ExitEvent
}

// Next takes the next thing to send to the client: at most len(p) bytes of
// output into p, or an event, in their order in the stream. It never blocks;
// the client's Notify says when to look again.
func (a *Attachment) Next(p []byte) Item {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if !a.gone && a.behind() {
		t.mu.Unlock()
		a.redraw()
		t.mu.Lock()
	}
	if a.gone {
		return Item{}
	}
	if s := a.resized; s != nil {
		a.resized = nil
		return Item{Size: s}
	}
	if r := a.resync; r != nil {
		a.resync = nil
		return Item{Resync: r}
	}
	if len(a.snap) > 0 {
		return Item{N: a.nextSnapshot(p)}
	}
	if s := t.sizes.from(a.sized); s != nil && s.Offset <= a.cursor {
		a.sized++
		return Item{Size: s}
	}
	if n := a.nextOutput(p); n > 0 {
		return Item{N: n}
	}
	if t.exit != nil && a.cursor >= t.exitOffset && !a.exitTold {
		a.exitTold = true
		return Item{Exit: &ExitEvent{*t.exit, t.exitOffset}}
	}
	return Item{}
}

func (a *Attachment) nextSnapshot(p []byte) int {
	room := Window - (a.snapSent - a.snapAcked)
	n := copy(p[:max(0, min(int64(len(p)), room))], a.snap)
	a.snap = a.snap[n:]
	a.snapSent += int64(n)
	a.waiting = time.Time{}
	if len(a.snap) == 0 {
		a.snap = nil
	}
	return n
}

// nextOutput copies stream bytes within the credit, up to the next size change.
func (a *Attachment) nextOutput(p []byte) int {
	room := Window - (a.cursor - a.acked)
	if s := a.t.sizes.from(a.sized); s != nil {
		room = min(room, s.Offset-a.cursor)
	}
	if room <= 0 {
		return 0
	}
	n, ok := a.t.log.ReadAt(p[:min(int64(len(p)), room)], a.cursor)
	if !ok || n == 0 {
		return 0 // overwritten this moment: the next call resyncs
	}
	before := a.t.unsent(a)
	if a.cursor == a.acked {
		a.lastAck = time.Now() // bytes are outstanding from now on
	}
	a.cursor += int64(n)
	a.waiting = time.Time{}
	if before >= unsentCap {
		a.t.wakeReader()
	}
	return n
}

func (t *Terminal) unsent(a *Attachment) int64 {
	_, end := t.log.Bounds()
	return end - a.cursor
}

// behind reports whether the client gets a redraw instead of its next bytes:
// they are gone, or a size of theirs is, or it is live and lags. A client that has not drawn one redraw
// yet gets no other: each comes with credit of its own. The caller holds t.mu.
func (a *Attachment) behind() bool {
	if a.resync != nil || len(a.snap) > 0 || a.snapAcked < a.snapSent {
		return false
	}
	start, end := a.t.log.Bounds()
	return a.cursor < start || a.sized < a.t.sizes.first || a.live && end-a.cursor > Window && a.cursor-a.acked >= Window
}

// redraw queues a redraw of the screen as it is now.
func (a *Attachment) redraw() {
	t := a.t
	t.appending.Lock() // before t.mu, and so that no size changes in between
	defer t.appending.Unlock()
	// Not the scrollback: what a client missed of it, it may ask for.
	snap, offset := t.goingOn(t.screen.vt.Screen())
	t.mu.Lock()
	defer t.mu.Unlock()
	a.skipTo(snap, offset)
}

// skipTo queues a redraw that stands at offset. The client has caught up by it.
// The caller holds t.mu.
func (a *Attachment) skipTo(snap []byte, offset int64) {
	a.snap, a.snapAt, a.snapSent, a.snapAcked = snap, offset, 0, 0
	a.cursor, a.acked, a.lastAck, a.stalled = offset, offset, time.Now(), false
	a.resync = &ResyncEvent{Offset: offset, SnapshotBytes: int64(len(snap)), Why: "lagging"}
	a.resized, a.sized = &SizeEvent{a.t.cols, a.t.rows, offset}, a.t.sizes.end()
}

// Pending is how many bytes wait to be sent to the client, credit aside: what
// the sender sorts its channels by.
func (a *Attachment) Pending() int64 {
	_, end := a.t.log.Bounds()
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	return end - a.cursor + int64(len(a.snap))
}

// Ack notes that the client has drawn output up to offset, or, of a snapshot,
// its first offset bytes. Offsets beyond what was sent are cut to it.
func (a *Attachment) Ack(offset int64, snapshot bool) {
	t := a.t
	now := time.Now()
	_, end := t.log.Bounds()
	t.mu.Lock()
	if snapshot {
		a.snapAcked = max(a.snapAcked, min(offset, a.snapSent))
	} else {
		a.acked = max(a.acked, min(offset, a.cursor))
		if a.acked > a.snapAt {
			a.snapAcked = a.snapSent // what came before is drawn too
		}
		if a.stalled && end-a.cursor < unsentCap {
			a.stalled = false // it has caught up
		}
	}
	a.lastAck = now
	t.mu.Unlock()
	a.notify()
	t.wakeReader()
}

// holds says whether the client holds the PTY back, and for how long at most
// without an ack. The caller holds t.mu.
func (a *Attachment) holds(now time.Time, end int64) (bool, time.Duration) {
	if a.live || a.stalled {
		return false, 0
	}
	since := a.lastAck
	if a.cursor == a.acked && a.snapSent == a.snapAcked {
		// It owes no ack. But its link may take nothing.
		if end-a.cursor < unsentCap {
			return true, stallAfter
		}
		if a.waiting.IsZero() {
			a.waiting = now
		}
		since = a.waiting
	}
	left := since.Add(stallAfter).Sub(now)
	if left <= 0 {
		a.stalled = true
		return false, 0
	}
	return true, left
}
