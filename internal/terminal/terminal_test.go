package terminal

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"staithe/internal/station"
)

// puller is a client that takes everything it is given.
type puller struct {
	*Attachment
	joined Joined
	wake   chan struct{}
	got    bytes.Buffer // stream bytes
	snap   bytes.Buffer
	want   int64 // snapshot bytes still to come
	at     int64 // the next stream byte
	events []Item
	ack    bool
}

func pull(t *Terminal, j Join) *puller {
	p := &puller{wake: make(chan struct{}, 1), ack: true}
	j.Notify = func() {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	if j.Key.Client == "" {
		j.Key = ClientKey{"user", "client"}
	}
	if j.Role == "" {
		j.Role = station.RoleOwner
	}
	if j.Cols == 0 {
		j.Cols, j.Rows = 80, 24
	}
	p.Attachment, p.joined = t.Attach(j)
	p.want, p.at = p.joined.SnapshotBytes, p.joined.Offset
	return p
}

// step takes what is there now.
func (p *puller) step() {
	buf := make([]byte, 4096)
	for {
		it := p.Next(buf)
		switch {
		case it.N > 0 && p.want > 0:
			p.snap.Write(buf[:it.N])
			p.want -= int64(it.N)
			if p.ack {
				p.Ack(int64(p.snap.Len()), true)
			}
		case it.N > 0:
			p.got.Write(buf[:it.N])
			p.at += int64(it.N)
			if p.ack {
				p.Ack(p.at, false)
			}
		case it.Resync != nil:
			p.want, p.at = it.Resync.SnapshotBytes, it.Resync.Offset
			p.events = append(p.events, it)
		case it.Size != nil || it.Exit != nil:
			p.events = append(p.events, it)
		default:
			return
		}
	}
}

// until takes what comes until ok.
func (p *puller) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for p.step(); !ok(); p.step() {
		select {
		case <-p.wake:
		case <-deadline:
			t.Fatalf("%s: not seen; got %q, events %v", what, p.got.String(), p.events)
		}
	}
}

func (p *puller) exit() *ExitEvent {
	for _, e := range p.events {
		if e.Exit != nil {
			return e.Exit
		}
	}
	return nil
}

func scripted(t testing.TB, opt Options) (*Terminal, *ScriptedPty) {
	t.Helper()
	var s Scripted
	term, err := Start(context.Background(), &s, Command{Argv: []string{"sh"}, Cols: 80, Rows: 24}, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.Close)
	return term, s.Last()
}

func sh(t testing.TB, script string) *Terminal {
	t.Helper()
	c := Command{Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "TERM=dumb"}, Cols: 80, Rows: 24}
	term, err := Start(context.Background(), Local{}, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(term.Close)
	return term
}

func TestRealShellOutputAndExit(t *testing.T) {
	p := pull(sh(t, "seq 1 20000; exit 3"), Join{Fresh: true})
	p.until(t, "exit", func() bool { return p.exit() != nil })
	var want bytes.Buffer
	for i := range 20000 {
		fmt.Fprintf(&want, "%d\r\n", i+1)
	}
	if !bytes.Equal(p.got.Bytes(), want.Bytes()) {
		t.Errorf("got %d bytes, want %d", p.got.Len(), want.Len())
	}
	if e := p.exit(); e.Code != 3 || e.Signal != "" || e.Offset != int64(want.Len()) {
		t.Errorf("exit %+v", e)
	}
}

func TestRealShellEndedBySignal(t *testing.T) {
	p := pull(sh(t, "kill -KILL $$"), Join{Fresh: true})
	p.until(t, "exit", func() bool { return p.exit() != nil })
	if e := p.exit(); e.Code != 137 || e.Signal != "KILL" {
		t.Errorf("exit %+v", e)
	}
}

// A background job that keeps the terminal open does not hide the shell's end.
func TestExitIsSeenThoughAJobHoldsTheTerminal(t *testing.T) {
	p := pull(sh(t, "(trap '' HUP; sleep 600) & echo gone; exit 4"), Join{Fresh: true})
	p.until(t, "exit", func() bool { return p.exit() != nil })
	if p.exit().Code != 4 || !strings.Contains(p.got.String(), "gone") {
		t.Errorf("exit %+v, output %q", p.exit(), p.got.String())
	}
}

func TestRealTerminalTypingSizeSignal(t *testing.T) {
	p := pull(sh(t, `stty -echo; trap 'echo sig; stty size' WINCH; echo ready; while :; do read x && echo "<$x>"; done`), Join{Fresh: true})
	see := func(s string) {
		t.Helper()
		p.until(t, s, func() bool { return strings.Contains(p.got.String(), s) })
	}
	see("ready")
	if err := p.Input([]byte("hi there\n")); err != nil {
		t.Fatal(err)
	}
	see("<hi there>")
	if p.Written() != 9 {
		t.Errorf("written %d", p.Written())
	}
	if err := p.Resize(100, 40); err != nil {
		t.Fatal(err)
	}
	p.Input([]byte("x\n")) // a trap that comes in a read may end it: then the loop reads again
	see("40 100")
	if err := p.Signal(""); err == nil {
		t.Error("a signal without a name was sent")
	}
	if err := p.Signal("KILL"); err != nil {
		t.Fatal(err)
	}
	p.until(t, "exit", func() bool { return p.exit() != nil })
}

// creack/pty leaves the descriptor blocking: then each terminal holds a thread.
func TestIdleTerminalsHoldNoThread(t *testing.T) {
	threads := func() int {
		d, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(d)
	}
	r := NewReaper(false)
	defer r.Close()
	const n = 60
	before := threads()
	for range n {
		c := Command{Argv: []string{"/bin/sh", "-c", "echo up; cat"}, Cols: 80, Rows: 24}
		term, err := Start(context.Background(), Local{Start: r.Start}, c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer term.Close()
		p := pull(term, Join{Fresh: true})
		p.until(t, "up", func() bool { return strings.Contains(p.got.String(), "up") })
	}
	if grew := threads() - before; grew > 10 {
		t.Errorf("%d terminals made %d threads (GOMAXPROCS %d)", n, grew, runtime.GOMAXPROCS(0))
	}
}

func TestResumeGoesOnAtTheNextByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		a := pull(term, Join{Fresh: true})
		pty.Output([]byte("hello "))
		synctest.Wait()
		a.step()
		a.Drop()
		pty.Output([]byte("world"))
		synctest.Wait()
		off := int64(a.got.Len())
		b := pull(term, Join{Epoch: term.Epoch(), Offset: &off})
		b.step()
		if !b.joined.Resumed || b.got.String() != "world" || b.joined.Head != 11 {
			t.Errorf("%+v %q", b.joined, b.got.String())
		}
		// A wrong epoch, or no offset, or one that never was: all from scratch.
		far := int64(1000)
		for _, j := range []Join{{Epoch: "other", Offset: &off}, {}, {Epoch: term.Epoch(), Offset: &far}} {
			c := pull(term, j)
			c.step()
			if c.joined.Resumed || !strings.Contains(c.snap.String(), "\x1bc") || !strings.Contains(c.snap.String(), "hello world") || c.joined.Offset != 11 {
				t.Errorf("%+v %q", c.joined, c.snap.String())
			}
		}
	})
}

// A lost client's bytes are kept for 10 s, then the program runs on and the
// client gets a redraw.
func TestLostClientHoldsTheTerminalForTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 256 << 10
		term, pty := scripted(t, Options{LogLimit: limit})
		a := pull(term, Join{Fresh: true})
		pty.Output([]byte("start"))
		synctest.Wait()
		a.step()
		a.Drop()
		pty.Output(bytes.Repeat([]byte("x"), 2*limit))
		synctest.Wait()
		if pty.Unread() == 0 {
			t.Fatal("the program was not held back")
		}
		time.Sleep(9 * time.Second) // the bubble's clock
		off := int64(5)
		b := pull(term, Join{Epoch: term.Epoch(), Offset: &off})
		for range 200 {
			b.step()
			synctest.Wait()
		}
		if !b.joined.Resumed || b.got.Len() != 2*limit {
			t.Fatalf("resumed %v, %d bytes", b.joined.Resumed, b.got.Len())
		}
		b.Drop()
		pty.Output(bytes.Repeat([]byte("y"), 3*limit))
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if pty.Unread() != 0 {
			t.Fatal("the program is still held back after 11 s")
		}
		c := pull(term, Join{Epoch: term.Epoch(), Offset: &off})
		if c.joined.Resumed {
			t.Fatal("resumed at a byte that is gone")
		}
	})
}

// With a client that does not ack, the PTY is held, but not for long.
func TestUnsentIsCappedAndAStalledClientLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		a := pull(term, Join{Fresh: true})
		a.ack = false
		const flood = 8 << 20
		pty.Output(make([]byte, flood))
		for range 50 {
			synctest.Wait()
			a.step()
		}
		read := flood - pty.Unread()
		if sent := a.got.Len(); sent != Window || read > Window+unsentCap+readSize {
			t.Fatalf("sent %d, read %d", sent, read)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if pty.Unread() != 0 {
			t.Fatal("a stalled client holds the program for ever")
		}
		// It wakes up: beyond the log, so it is redrawn.
		a.Ack(Window, false)
		a.ack = true
		a.step()
		if len(a.events) != 2 || a.events[0].Size == nil || a.events[1].Resync == nil { // the redraw is for that size
			t.Fatalf("no resync: %v", a.events)
		}
	})
}

// A live client that lags skips; the driver's stream is whole and unhindered.
func TestLiveClientSkipsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		a := pull(term, Join{Fresh: true})
		v := pull(term, Join{Key: ClientKey{"v", "v"}, Role: station.RoleViewer, Live: true, Fresh: true})
		v.ack = false
		const flood = 6 << 20
		pty.Output(make([]byte, flood))
		for range 400 {
			synctest.Wait()
			a.step()
			v.step()
		}
		if a.got.Len() != flood {
			t.Fatalf("the driver got %d of %d", a.got.Len(), flood)
		}
		if len(v.events) < 2 || v.events[0].Size == nil || v.events[1].Resync == nil {
			t.Fatal("the viewer was not redrawn")
		}
	})
}

func TestSizeFollowsTheDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		a := pull(term, Join{Fresh: true, Cols: 100, Rows: 30})
		b := pull(term, Join{Key: ClientKey{"u", "b"}, Cols: 60, Rows: 20})
		v := pull(term, Join{Key: ClientKey{"u", "v"}, Cols: 10, Rows: 5, Role: station.RoleViewer})
		size := func(want string) {
			t.Helper()
			c, r := pty.Size()
			if got := fmt.Sprintf("%dx%d", c, r); got != want {
				t.Errorf("size %s, want %s", got, want)
			}
		}
		size("100x30")
		pty.Output([]byte("abc"))
		synctest.Wait()
		b.Input([]byte("k"))
		size("60x20")
		if a.step(); len(a.events) != 1 || a.events[0].Size.Offset != 3 || a.events[0].Size.Cols != 60 {
			t.Errorf("events %v", a.events)
		}
		if v.Input([]byte("k")) == nil || v.Drive(Look{}) == nil || v.Resize(1, 1) == nil {
			t.Error("a viewer may act")
		}
		size("60x20")
		b.Detach()
		size("100x30") // the writer seen last, not the viewer
		a.Detach()
		size("100x30")
		if pty.Typed() != "k" {
			t.Errorf("typed %q", pty.Typed())
		}
	})
}

// 300 drops at random places, a program that reads in fits: the input arrives
// once and in order.
func TestInputOnceOverDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(7, 7))
		term, pty := scripted(t, Options{})
		var typed []byte
		for i := range 12000 {
			typed = append(typed, fmt.Sprintf("%d ", i)...)
		}
		for drops := 0; ; drops++ {
			a := pull(term, Join{})
			at := int(a.joined.InputOffset)
			pty.SetFull(rnd.IntN(3) == 0)
			for n := rnd.IntN(6); n > 0 && at < len(typed); n-- {
				k := min(rnd.IntN(90)+1, len(typed)-at)
				a.Input(typed[at : at+k])
				at += k
			}
			pty.SetFull(rnd.IntN(3) == 0)
			a.Drop()
			// A fenced connection's late bytes are not taken.
			a.Input([]byte("LATE"))
			if at == len(typed) {
				if drops < 200 {
					t.Fatalf("only %d drops", drops)
				}
				break
			}
		}
		pty.SetFull(false)
		synctest.Wait()
		if pty.Typed() != string(typed) {
			t.Fatal("the input is not what was typed")
		}
	})
}
