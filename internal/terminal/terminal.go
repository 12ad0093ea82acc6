package terminal

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"staithe/internal/replay"
	"staithe/internal/station"
	"staithe/internal/vt"
)

// Figures of the flow control (doc/wire.md, "Flow control").
const (
	// Window is how many bytes a client is sent beyond its last ack.
	Window = 256 << 10
	// unsentCap is how much output may wait for the fastest lossless client.
	unsentCap = 64 << 10
	// readSize is the most one read takes off the PTY.
	readSize = 32 << 10
	// fullRead is what a read gives at least while a program writes faster than is
	// read: the kernel's buffer of a terminal (N_TTY_BUF_SIZE less one).
	fullRead = 4095
	// gatherMost and gatherFor bound what is gathered for the clients meanwhile:
	// each piece wakes three processes and more.
	gatherMost = 32 << 10
	gatherFor  = time.Millisecond
	// stallAfter: a lossless client that has not acked for so long holds
	// nothing back any more, until it has caught up.
	stallAfter = time.Second
	// lostHold is how long a lost lossless client's missing bytes are kept from
	// being overwritten.
	lostHold = 10 * time.Second
	// counterLife is how long the input counter of an absent client is kept.
	counterLife = 10 * time.Minute
)

// Options of a terminal.
type Options struct {
	LogLimit int         // bytes; 0: replay.DefaultLimit
	Before   []byte      // what the output begins with, before the process's
	OnChange func()      // clients, driver or size changed; called without locks
	OnExit   func()      // the process has ended and its output is all in the log
	OnEvent  func(Event) // what the program said, in order; called without locks
}

// Terminal is one life of a terminal: a process on a PTY, from spawn to exit
// and as long as somebody may want its output. All methods are safe for
// concurrent use.
type Terminal struct {
	epoch string
	pty   Pty
	log   *replay.Log
	opt   Options
	done  chan struct{} // the reader has ended; exit is set
	input inputQueue

	// appending is held while the log grows and the emulator draws, and for each
	// change of size. It is taken before mu.
	appending     sync.Mutex
	screen        emulator
	announcements []string // wait for a place in the output; guarded by appending

	readerWake chan struct{} // something that holds the reader back changed
	gather     gather        // of the reader alone
	sizing     sync.Mutex    // orders resizes of the PTY

	mu         sync.Mutex
	clients    []*Attachment // in order of attaching
	lost       map[ClientKey]lostClient
	driver     *Attachment
	cols, rows int
	sizes      sizes // the last is cols, rows
	exit       *Exit
	exitOffset int64
	activeAt   time.Time
}

// lostClient is a lossless client whose link dropped without a word.
type lostClient struct {
	acked int64
	until time.Time
	// What it was sent last: it was told the sizes before sized.
	cursor int64
	sized  int
}

// Start spawns c and reads its output until it ends; Close releases what is
// left. The caller owns the terminal. Of a size with too many cells it has fewer rows.
func Start(ctx context.Context, spawner Spawner, c Command, opt Options) (*Terminal, error) {
	c.Cols, c.Rows = vt.Fit(c.Cols, c.Rows)
	p, err := spawner.Spawn(ctx, c)
	if err != nil {
		return nil, err
	}
	t := &Terminal{
		epoch: string(station.NewID()), pty: p, log: replay.New(opt.LogLimit), opt: opt,
		done: make(chan struct{}), readerWake: make(chan struct{}, 1),
		lost: map[ClientKey]lostClient{}, cols: c.Cols, rows: c.Rows, activeAt: time.Now(),
	}
	t.sizes.add(SizeEvent{c.Cols, c.Rows, 0}, 0)
	t.input.init(p)
	t.screen.init(c.Cols, c.Rows)
	t.gather.init(t.wakeClients)
	t.draw(opt.Before)
	t.opt.Before = nil
	go t.read()
	return t, nil
}

// read is the one reader of the PTY.
func (t *Terminal) read() {
	buf := make([]byte, readSize)
	for {
		t.awaitRoom()
		n, err := t.pty.Read(buf)
		if n > 0 {
			t.output(buf[:n])
			t.gather.read(n)
			t.deliver()
		}
		if err != nil {
			break // io.EOF, or the PTY is broken: either way no more output comes
		}
	}
	exit := t.pty.Wait()
	t.input.end()
	t.appending.Lock()
	t.log.Append(t.screen.vt.Rest(nil))
	t.appending.Unlock()
	_, end := t.log.Bounds()
	t.mu.Lock()
	t.exit, t.exitOffset = &exit, end
	t.lost = map[ClientKey]lostClient{}
	t.mu.Unlock()
	t.over(exit, end)
	close(t.done)
	t.pty.Close()
	t.gather.end()
	if t.opt.OnExit != nil {
		t.opt.OnExit()
	}
}

// awaitRoom blocks while clients hold the PTY back.
func (t *Terminal) awaitRoom() {
	for {
		free, retry := t.mayRead(time.Now())
		if free {
			return
		}
		timer := time.NewTimer(retry)
		select {
		case <-t.readerWake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// mayRead says whether the PTY may be read now, and if not, when to look again
// though nothing has changed.
func (t *Terminal) mayRead(now time.Time) (free bool, retry time.Duration) {
	start, end := t.log.Bounds()
	held := end - start
	t.mu.Lock()
	defer t.mu.Unlock()
	retry = lostHold
	for key, l := range t.lost {
		left := l.until.Sub(now)
		if left <= 0 || l.acked < start { // too late, one way or the other
			delete(t.lost, key)
			continue
		}
		// Would the next read overwrite what it has not seen?
		if overwritten := held + readSize - int64(t.log.Limit()); overwritten > 0 && start+overwritten > l.acked {
			return false, left
		}
	}
	lossless := false
	for _, a := range t.clients {
		holds, left := a.holds(now, end)
		if !holds {
			continue
		}
		if end-a.cursor < unsentCap {
			return true, 0 // as fast as the fastest
		}
		lossless = true
		retry = min(retry, left)
	}
	return !lossless, retry
}

// gather tells the clients of output: at once, but in a flood for several reads
// together.
type gather struct {
	tell   func()
	held   int // bytes that the clients were not told of
	timer  *time.Timer
	waking atomic.Bool // the timer runs
}

func (g *gather) init(tell func()) { g.tell = tell }

// read notes that n bytes came.
func (g *gather) read(n int) {
	if g.held += n; n < fullRead || g.held >= gatherMost {
		g.held = 0
		g.tell()
		return
	}
	if g.waking.Swap(true) {
		return
	}
	if g.timer == nil {
		g.timer = time.AfterFunc(gatherFor, func() {
			g.waking.Store(false)
			g.tell()
		})
	} else {
		g.timer.Reset(gatherFor)
	}
}

// end tells what is left.
func (g *gather) end() {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.tell()
}

func (t *Terminal) wakeReader() {
	select {
	case t.readerWake <- struct{}{}:
	default:
	}
}

func (t *Terminal) wakeClients() {
	t.mu.Lock()
	clients := t.clients
	t.mu.Unlock()
	// The slice is never changed in place (see Attach and leave).
	for _, a := range clients {
		a.notify()
	}
}

// Epoch names this life of the terminal.
func (t *Terminal) Epoch() string { return t.epoch }

// Done is closed when the process has ended and all its output is in the log.
func (t *Terminal) Done() <-chan struct{} { return t.done }

// Exit says how the process ended; ok is false while it runs.
func (t *Terminal) Exit() (e Exit, offset int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.exit == nil {
		return Exit{}, 0, false
	}
	return *t.exit, t.exitOffset, true
}

// Size is the terminal's size in cells.
func (t *Terminal) Size() (cols, rows int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cols, t.rows
}

// Scrollback is what the terminal showed, made safe to draw again, before any program:
// at most limit bytes of the newest lines, without what full-screen programs drew.
func (t *Terminal) Scrollback(limit int) []byte {
	t.appending.Lock()
	defer t.appending.Unlock()
	return t.screen.vt.History(limit)
}

// Head is the offset one past the newest output byte.
func (t *Terminal) Head() int64 {
	_, end := t.log.Bounds()
	return end
}

// ActiveAt is when somebody last typed, or the terminal's birth.
func (t *Terminal) ActiveAt() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.activeAt
}

// Process names the foreground program; Cwd is the shell's folder. Both are ""
// when not known.
func (t *Terminal) Process() string { return t.pty.Process() }

// Cwd is the shell's working directory, "" when not known.
func (t *Terminal) Cwd() string { return t.pty.Cwd() }

// Signal sends a signal by name to the foreground process group. The error
// wraps ErrBadSignal for an unknown name.
func (t *Terminal) Signal(name string) error { return t.pty.Signal(name) }

// Hangup asks the processes to end, Kill ends them.
func (t *Terminal) Hangup() error { return t.pty.Hangup() }

// Kill ends the processes at once.
func (t *Terminal) Kill() error { return t.pty.Kill() }

// Output reads raw bytes of the log by offset, as replay.Log.ReadAt does.
func (t *Terminal) Output(p []byte, off int64) (int, bool) { return t.log.ReadAt(p, off) }

// Close frees the PTY and waits until the reader has ended. Processes that are
// still there get SIGHUP from the kernel.
func (t *Terminal) Close() {
	t.pty.Kill()
	t.mu.Lock()
	for _, a := range t.clients {
		a.live = true // nobody holds back a terminal that is being closed
	}
	t.lost = map[ClientKey]lostClient{}
	t.mu.Unlock()
	t.wakeReader()
	t.pty.Close()
	<-t.done
	t.input.wait()
}
