package terminal

import (
	"fmt"
	"slices"
	"time"

	"staithe/internal/station"
	"staithe/internal/vt"
)

// ClientKey is a client over reconnects: who, and the id it chose.
type ClientKey struct {
	Principal station.ID
	Client    string
}

// Join says how a client comes in.
type Join struct {
	Key        ClientKey
	Public     string // its id as others see it
	User, Name string
	Role       station.Role
	Cols, Rows int
	Epoch      string // with Offset: the life the offset belongs to
	Offset     *int64 // the next output byte wanted; nil: a snapshot
	Fresh      bool   // the terminal was born for this client: from byte 0
	Live       bool   // never holds the PTY back
	Scrollback int    // lines wanted in a snapshot
	Look
	// Notify is called, without locks and from any goroutine, whenever Next
	// may have something; it must not block.
	Notify func()
}

// Look is what queries are answered with while its client drives. The cell is in
// pixels.
type Look struct {
	Theme                 *Theme // nil: as before
	CellWidth, CellHeight int    // 0: as before
}

// Joined is what a client is told as it comes in.
type Joined struct {
	Resumed       bool // the stream goes on at Offset; else a snapshot comes first
	Offset        int64
	SnapshotBytes int64
	Head          int64 // the output's end now
	Cols, Rows    int   // the size at Offset; later ones come in their places
	InputOffset   int64 // input bytes of this client that were taken
}

// Attachment is one client on one terminal. Methods are safe for concurrent
// use, but Next has one caller at a time.
type Attachment struct {
	t      *Terminal
	Join   // as it came in; the size and the look are guarded by t.mu
	count  *counter
	fenced bool // guarded by t.input.mu: no byte is taken after it left
	notify func()

	// Guarded by t.mu.
	live      bool
	gone      bool
	stalled   bool  // a lossless client that holds nothing back for now
	cursor    int64 // next byte to send
	acked     int64
	lastAck   time.Time // or when bytes first were outstanding
	waiting   time.Time // since when a full load waits and none is outstanding; or zero
	snap      []byte    // snapshot bytes still to send
	snapAt    int64     // where the stream goes on after the snapshot
	snapSent  int64
	snapAcked int64
	sized     int // the number of the next size to tell
	resync    *ResyncEvent
	resized   *SizeEvent // the size of the redraw, which goes out before resync
	exitTold  bool
	seenAt    time.Time // last typed or attached
}

// SizeEvent: from Offset on, the terminal has this size.
type SizeEvent struct {
	Cols, Rows int
	Offset     int64
}

// ResyncEvent: the next SnapshotBytes are a redraw, then the stream goes on at
// Offset.
type ResyncEvent struct {
	Offset        int64
	SnapshotBytes int64
	Why           string
}

// ExitEvent: the process has ended and all its output was sent.
type ExitEvent struct {
	Exit
	Offset int64
}

// Attach lets a client in. A lossless client that was lost may come back for
// its next byte.
func (t *Terminal) Attach(j Join) (*Attachment, Joined) {
	now := time.Now()
	a := &Attachment{t: t, Join: j, notify: j.Notify, live: j.Live, lastAck: now, seenAt: now}
	out := Joined{InputOffset: t.input.join(a)}

	t.appending.Lock() // nothing is drawn, and no size changes, until it is in
	var resized bool
	t.mu.Lock()
	if t.driver == nil && j.Role.Allows(station.RoleWriter) {
		t.driver = a
		resized = t.setSize(j.Cols, j.Rows)
	}
	cols, rows, drives := t.cols, t.rows, t.driver == a
	t.mu.Unlock()
	if resized {
		t.screen.vt.Resize(cols, rows)
	}
	if drives {
		t.screen.look(j.Look)
	}
	_, out.Head = t.log.Bounds()
	if !a.resume(&out) {
		// Without t.mu: it takes milliseconds, and typing must not wait for it.
		a.snap, out.Offset = t.snapshot(j.Scrollback)
		out.SnapshotBytes = int64(len(a.snap))
		out.Cols, out.Rows, a.sized = cols, rows, t.sizes.end()
	}
	a.cursor, a.acked, a.snapAt = out.Offset, out.Offset, out.Offset
	t.mu.Lock()
	delete(t.lost, j.Key)
	t.clients = append(slices.Clip(slices.Clone(t.clients)), a)
	t.mu.Unlock()
	t.appending.Unlock()

	t.applySize(resized)
	t.changed()
	return a, out
}

// resume says whether the stream goes on where the client was, and from where at which
// size. The caller holds t.appending.
func (a *Attachment) resume(out *Joined) bool {
	t, from := a.t, a.Offset
	if a.Fresh {
		from = new(int64)
	} else if from == nil || a.Epoch != t.epoch {
		return false
	}
	if start, end := t.log.Bounds(); !a.Fresh && (*from < start || *from > end) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	size, next, clear := t.sizes.at(*from)
	if l, ok := t.lost[a.Key]; ok && l.cursor == *from {
		size, next, clear = t.sizes.from(l.sized-1), l.sized, true
	}
	if size == nil || !clear && !a.Fresh {
		return false
	}
	out.Resumed, out.Offset = true, *from
	out.Cols, out.Rows, a.sized = size.Cols, size.Rows, next
	return true
}

// Detach takes the client out because it asked: nothing is kept for it but its
// input counter.
func (a *Attachment) Detach() { a.leave(false) }

// Drop takes the client out because its link is gone: for a while its missing
// bytes are kept.
func (a *Attachment) Drop() { a.leave(true) }

func (a *Attachment) leave(lost bool) {
	t := a.t
	t.input.leave(a) // first: whoever reads the counter next reads its last value
	again := false
	resized := t.reshape(func() (resized bool) {
		if again = a.gone; again {
			return false
		}
		a.gone = true
		i := slices.Index(t.clients, a)
		t.clients = slices.Concat(t.clients[:i], t.clients[i+1:])
		if lost && !a.live && t.exit == nil {
			t.keepFor(a)
		}
		if t.driver == a {
			t.driver = nil
			if next := t.lastWriter(); next != nil {
				t.driver = next
				resized = t.setSize(next.Cols, next.Rows)
			}
		}
		return resized
	})
	if again {
		return
	}
	t.applySize(resized)
	t.wakeReader()
	t.changed()
}

// keepFor notes a lost client that may come back for its bytes, unless it is
// back already. The caller holds t.mu.
func (t *Terminal) keepFor(a *Attachment) {
	now := time.Now()
	for key, l := range t.lost {
		if !now.Before(l.until) {
			delete(t.lost, key)
		}
	}
	if !slices.ContainsFunc(t.clients, func(o *Attachment) bool { return o.Key == a.Key }) {
		t.lost[a.Key] = lostClient{acked: a.acked, until: now.Add(lostHold), cursor: a.cursor, sized: a.sized}
	}
}

// lastWriter is the writer seen last; nil when there is none.
func (t *Terminal) lastWriter() *Attachment {
	var last *Attachment
	for _, a := range t.clients {
		if a.Role.Allows(station.RoleWriter) && (last == nil || !a.seenAt.Before(last.seenAt)) {
			last = a
		}
	}
	return last
}

// Input takes bytes the client typed; it becomes the driver. It blocks when the
// program reads nothing and much is waiting already. The error wraps
// station.ErrForbidden for a viewer; nothing is counted then.
func (a *Attachment) Input(p []byte) error {
	if !a.Role.Allows(station.RoleWriter) {
		return station.Errorf(station.ErrForbidden, "forbidden", "You are watching this terminal; ask its owner for the right to type.")
	}
	a.drive(time.Now())
	a.t.input.take(a, p)
	return nil
}

// Drive makes the client the driver: its size rules, and its look. The error wraps
// station.ErrForbidden for a viewer.
func (a *Attachment) Drive(look Look) error {
	if !a.Role.Allows(station.RoleWriter) {
		return station.Errorf(station.ErrForbidden, "forbidden", "You are watching this terminal; ask its owner for the right to type.")
	}
	a.drive(time.Now())
	a.t.reshape(func() bool {
		if look.Theme != nil {
			a.Theme = look.Theme
		}
		if look.CellWidth > 0 && look.CellHeight > 0 {
			a.CellWidth, a.CellHeight = look.CellWidth, look.CellHeight
		}
		return false
	})
	return nil
}

func (a *Attachment) drive(now time.Time) {
	t := a.t
	t.mu.Lock()
	a.seenAt, t.activeAt = now, now
	drives := t.driver == a || a.gone
	t.mu.Unlock()
	if drives {
		return
	}
	t.applySize(t.reshape(func() bool {
		if t.driver == a || a.gone {
			return false
		}
		t.driver = a
		return t.setSize(a.Cols, a.Rows)
	}))
	t.changed()
}

// Resize says the size of the client's view. It becomes the terminal's when the
// client drives. The error wraps station.ErrForbidden for a viewer.
func (a *Attachment) Resize(cols, rows int) error {
	if !a.Role.Allows(station.RoleWriter) {
		return station.Errorf(station.ErrForbidden, "forbidden", "You are watching this terminal; its size is not yours to set.")
	}
	t := a.t
	resized := t.reshape(func() bool {
		a.Cols, a.Rows = cols, rows
		return t.driver == a && t.setSize(cols, rows)
	})
	t.applySize(resized)
	if resized {
		t.changed()
	}
	return nil
}

// setSize notes a new size. The caller holds t.appending and t.mu, resizes the
// emulator, and calls applySize after.
func (t *Terminal) setSize(cols, rows int) bool {
	cols, rows = vt.Fit(cols, rows)
	if t.exit != nil || cols == t.cols && rows == t.rows {
		return false
	}
	t.cols, t.rows = cols, rows
	start, end := t.log.Bounds()
	t.sizes.add(SizeEvent{cols, rows, end}, start)
	return true
}

// applySize tells the PTY the newest size, and the clients to look.
func (t *Terminal) applySize(resized bool) {
	if !resized {
		return
	}
	t.sizing.Lock()
	cols, rows := t.Size()
	// It fails only when the PTY is closed, and then no size matters.
	t.pty.Resize(cols, rows)
	t.sizing.Unlock()
	t.wakeClients()
}

func (t *Terminal) changed() {
	if t.opt.OnChange != nil {
		t.opt.OnChange()
	}
}

// Signal sends a signal by name to the terminal's foreground process group.
func (a *Attachment) Signal(name string) error { return a.t.Signal(name) }

// Presence is one attached client as others see it.
type Presence struct {
	Public, User, Name string
	Role               station.Role
	Driver             bool
	Cols, Rows         int
	Idle               time.Duration
}

// Clients lists who is attached, in order of attaching.
func (t *Terminal) Clients() []Presence {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Presence, len(t.clients))
	for i, a := range t.clients {
		out[i] = Presence{a.Public, a.User, a.Name, a.Role, a == t.driver, a.Cols, a.Rows, now.Sub(a.seenAt)}
	}
	return out
}

func (a *Attachment) String() string { return fmt.Sprintf("%s on %s", a.Public, a.t.epoch) }
