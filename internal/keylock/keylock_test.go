package keylock

import (
	"context"
	"sync"
	"testing"
)

func TestLocks(t *testing.T) {
	var k Locks[string]
	id := "one"
	unlock, err := k.Lock(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	// Another key does not wait; the same one does, until its context ends.
	other, err := k.Lock(t.Context(), "two")
	if err != nil {
		t.Fatal(err)
	}
	other()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Lock(ctx, id); err == nil {
		t.Error("locked twice")
	}
	if _, ok := k.TryLock(id); ok {
		t.Error("locked twice by trying")
	}
	unlock()
	tried, ok := k.TryLock(id)
	if !ok {
		t.Fatal("a free one was not had")
	}
	if _, err := k.Lock(ctx, id); err == nil {
		t.Error("locked beside who tried")
	}
	tried()

	n, all := 0, sync.WaitGroup{}
	for range 100 {
		all.Go(func() {
			unlock, err := k.Lock(t.Context(), id)
			if err != nil {
				t.Error(err)
				return
			}
			n++ // the race detector looks
			unlock()
		})
	}
	all.Wait()
	if n != 100 || len(k.held) != 0 {
		t.Errorf("n is %d, %d locks kept", n, len(k.held))
	}
}
