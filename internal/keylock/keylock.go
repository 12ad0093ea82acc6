// Package keylock is one lock per key, for operations that may take long and must
// not overlap on the same thing: a session, a home, a user.
package keylock

import (
	"context"
	"sync"
)

// Locks are the locks. The zero value is ready; it is safe for concurrent use and
// keeps nothing for keys that nobody holds or waits for.
type Locks[K comparable] struct {
	mu   sync.Mutex
	held map[K]*holder
}

type holder struct {
	turn  chan struct{} // holds one token while free
	users int           // holder and waiters; guarded by Locks.mu
}

// Lock waits for the key's turn and returns the function that ends it. The
// error is ctx's.
func (k *Locks[K]) Lock(ctx context.Context, key K) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[K]*holder{}
	}
	h := k.held[key]
	if h == nil {
		h = &holder{turn: make(chan struct{}, 1)}
		h.turn <- struct{}{}
		k.held[key] = h
	}
	h.users++
	k.mu.Unlock()

	select {
	case <-h.turn:
		return func() { h.turn <- struct{}{}; k.leave(key, h) }, nil
	case <-ctx.Done():
		k.leave(key, h)
		return nil, ctx.Err()
	}
}

// TryLock is Lock that does not wait: ok is false when somebody else holds the
// key or waits for it.
func (k *Locks[K]) TryLock(key K) (unlock func(), ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[key] != nil {
		return nil, false
	}
	if k.held == nil {
		k.held = map[K]*holder{}
	}
	h := &holder{turn: make(chan struct{}, 1), users: 1}
	k.held[key] = h
	return func() { h.turn <- struct{}{}; k.leave(key, h) }, true
}

func (k *Locks[K]) leave(key K, h *holder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(k.held, key)
	}
}
