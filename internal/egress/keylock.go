package egress

import (
	"context"
	"sync"

	"staithe/internal/station"
)

// keyLock is one lock per session. The zero value is ready; it keeps nothing
// for sessions that nobody holds or waits for.
type keyLock struct {
	mu   sync.Mutex
	held map[station.ID]*keyHolder
}

type keyHolder struct {
	turn  chan struct{} // holds one token while free
	users int           // holder and waiters; guarded by keyLock.mu
}

// lock waits for the session's turn and returns the function that ends it. The
// error is ctx's.
func (k *keyLock) lock(ctx context.Context, id station.ID) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[station.ID]*keyHolder{}
	}
	h := k.held[id]
	if h == nil {
		h = &keyHolder{turn: make(chan struct{}, 1)}
		h.turn <- struct{}{}
		k.held[id] = h
	}
	h.users++
	k.mu.Unlock()

	select {
	case <-h.turn:
		return func() { h.turn <- struct{}{}; k.leave(id, h) }, nil
	case <-ctx.Done():
		k.leave(id, h)
		return nil, ctx.Err()
	}
}

func (k *keyLock) leave(id station.ID, h *keyHolder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(k.held, id)
	}
}
