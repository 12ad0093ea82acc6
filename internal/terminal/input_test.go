package terminal

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
)

// One who typed far too much waits alone, may leave, and is taken no byte of
// after; another's input goes on being taken.
func TestFullQueueHoldsOnlyTheOneWhoFilledIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		pty.SetFull(true)
		a := pull(term, Join{Key: ClientKey{"a", "a"}})
		b := pull(term, Join{Key: ClientKey{"b", "b"}})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 3 * maxQueued / maxChunk {
				a.Input(bytes.Repeat([]byte("a"), maxChunk))
			}
		}()
		synctest.Wait()
		typed := make(chan struct{})
		go func() {
			b.Input([]byte("bbb"))
			close(typed)
		}()
		synctest.Wait()
		select {
		case <-typed:
		default:
			t.Fatal("another's typing waits")
		}
		a.Detach()
		<-done
		taken := a.count.taken
		pty.SetFull(false)
		synctest.Wait()
		if got := int64(len(pty.Typed())); got != taken+3 || a.Written() != taken || b.Written() != 3 {
			t.Errorf("typed %d, taken %d, written %d and %d", got, taken, a.Written(), b.Written())
		}
	})
}

// Keys typed one by one at a program that does not read cost memory by their
// bytes, not by their number.
func TestQueuedKeysAreCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		pty.SetFull(true)
		a := pull(term, Join{})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range maxQueued / 2 {
			a.Input([]byte("k"))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grew := int64(after.HeapAlloc) - int64(before.HeapAlloc); grew > 4*maxQueued {
			t.Errorf("%d queued keys cost %d bytes", maxQueued/2, grew)
		}
		pty.SetFull(false)
		synctest.Wait()
		if len(pty.Typed()) != maxQueued/2 {
			t.Errorf("%d of %d keys arrived", len(pty.Typed()), maxQueued/2)
		}
	})
}

// Counters of clients that never typed are not kept, others in bounded number.
func TestCountersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, _ := scripted(t, Options{})
		mine := pull(term, Join{Key: ClientKey{"me", "me"}})
		mine.Input([]byte("12345"))
		mine.Drop()
		for i := range 2000 {
			a := pull(term, Join{Key: ClientKey{"u", fmt.Sprint(i)}})
			if i%2 == 0 {
				a.Input([]byte("x"))
			}
			a.Drop()
		}
		if n := len(term.input.counters); n > maxAbsent+2 {
			t.Errorf("%d counters are kept", n)
		}
		if again := pull(term, Join{Key: ClientKey{"me", "me"}}); again.joined.InputOffset != 5 {
			t.Errorf("input offset %d: another's clients pushed mine out", again.joined.InputOffset)
		}
	})
}

// Of two attachments of one client, whichever leaves first, the other learns
// what was written.
func TestEveryAttachmentLearnsWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, pty := scripted(t, Options{})
		pty.SetFull(true)
		a := pull(term, Join{})
		late := pull(term, Join{})
		late.Drop()
		a.Input([]byte("x"))
		select {
		case <-a.wake:
		default:
		}
		pty.SetFull(false)
		synctest.Wait()
		select {
		case <-a.wake:
		default:
			t.Error("not told")
		}
	})
}
