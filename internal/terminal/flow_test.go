package terminal

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"staithe/internal/station"
	"staithe/internal/vt"
)

// A live client that acks nothing is not sent one redraw after the other.
func TestRedrawsAreNoWayRoundTheCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{LogLimit: 128 << 10})
		v := pull(term, Join{Key: ClientKey{"v", "v"}, Live: true, Fresh: true})
		v.ack = false
		for range 100 {
			pty.Output(make([]byte, 300<<10))
			synctest.Wait()
			v.step()
		}
		if sent := v.got.Len() + v.snap.Len(); sent > 3*Window {
			t.Fatalf("%d bytes were sent to a client that acks nothing", sent)
		}
		// It wakes up: one more redraw, and it is in the present.
		v.ack = true
		v.Ack(int64(v.snap.Len()), true)
		before := len(v.events)
		v.step()
		if len(v.events) == before || term.Head() != v.cursor {
			t.Fatalf("not redrawn: at %d of %d", v.cursor, term.Head())
		}
	})
}

// A lossless client whose link takes nothing at all owes no ack; it lets go of
// the PTY like one that does not ack.
func TestClientThatIsSentNothingLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		pull(term, Join{Fresh: true}) // its writer never comes to call Next
		pty.Output(make([]byte, 4<<20))
		synctest.Wait()
		if pty.Unread() == 0 {
			t.Fatal("the program was not held back")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := pty.Unread(); n != 0 {
			t.Fatalf("%d bytes are still held back", n)
		}
	})
}

// A stalled client that was redrawn paces the PTY again, or under a flood it
// would be redrawn for ever.
func TestStalledClientIsLosslessAgainAfterItsRedraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		a := pull(term, Join{Fresh: true})
		a.ack = false
		pty.Output(make([]byte, 8<<20))
		synctest.Wait()
		a.step()
		time.Sleep(3 * time.Second)
		pty.Output(make([]byte, 8<<20))
		synctest.Wait()
		a.ack = true
		a.Ack(Window, false)
		a.step() // a resync
		before := a.got.Len()
		pty.Output(make([]byte, 8<<20))
		for range 400 {
			synctest.Wait()
			a.step()
		}
		resyncs := 0
		for _, e := range a.events {
			if e.Resync != nil {
				resyncs++
			}
		}
		if resyncs != 1 || pty.Unread() != 0 || a.got.Len() != before+8<<20 {
			t.Fatalf("%d redraws, %d unread, %d bytes", resyncs, pty.Unread(), a.got.Len())
		}
	})
}

// Sizes wait for a client that takes none, but not without bound.
func TestWaitingSizesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		a := pull(term, Join{Fresh: true, Cols: 80, Rows: 24})
		v := pull(term, Join{Key: ClientKey{"v", "v"}, Role: station.RoleViewer, Live: true, Fresh: true})
		v.ack = false
		pty.Output(make([]byte, Window)) // the viewer's credit is used up
		synctest.Wait()
		v.step()
		for i := range 2 * maxSizes {
			a.Resize(80+i%2+1, 24)
			pty.Output([]byte("x"))
			synctest.Wait()
			a.step()
			v.step()
		}
		a.Resize(99, 33)
		if n := len(term.sizes.kept); n > maxSizes {
			t.Errorf("%d sizes wait", n)
		}
		v.ack = true
		v.Ack(Window, false)
		v.step()
		last := v.events[len(v.events)-1].Size
		if last == nil || last.Cols != 99 || last.Rows != 33 {
			t.Errorf("the last size is %+v", last)
		}
		// Of the bytes it missed nobody knows the sizes.
		if !slices.ContainsFunc(v.events, func(it Item) bool { return it.Resync != nil }) {
			t.Error("it was not redrawn")
		}
	})
}

// A terminal that says nothing forgets lost clients all the same; a client that
// is back already is not lost.
func TestLostClientsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, _ := scripted(t, Options{})
		for i := range 1000 {
			pull(term, Join{Key: ClientKey{"u", fmt.Sprint(i)}}).Drop()
			time.Sleep(time.Second)
		}
		if n := len(term.lost); n > 12 {
			t.Errorf("%d lost clients are kept", n)
		}
		a, b := pull(term, Join{}), pull(term, Join{})
		a.Drop()
		if _, ok := term.lost[b.Key]; ok {
			t.Error("an attached client counts as lost")
		}
	})
}

// A window that is larger than a terminal can be has one with fewer rows, and is told.
func TestHugeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		a := pull(term, Join{Fresh: true, Cols: 80, Rows: 24})
		if err := a.Resize(2000, 500); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.step()
		cols, rows := pty.Size()
		if cols != 2000 || rows != vt.MaxCells/2000 {
			t.Errorf("the program has %d × %d", cols, rows)
		}
		if last := a.events[len(a.events)-1].Size; last == nil || last.Cols != cols || last.Rows != rows {
			t.Errorf("the client was told %+v", last)
		}
	})
}
