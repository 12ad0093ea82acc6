package terminal

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"staithe/internal/station"
)

const (
	// maxQueued is how much typed input of one person may wait for a program
	// that does not read; beyond it that person's connection waits. It is far
	// above what our own clients have in flight.
	maxQueued = 1 << 20
	// chunkCost is what a chunk counts for beyond its bytes.
	chunkCost = 64
	// maxChunk is how large a chunk grows.
	maxChunk = 32 << 10
	// maxAbsent is how many counters of one person's absent clients are kept.
	maxAbsent = 256
	// maxAnswers is how many bytes of answers may wait for a program that asks and
	// does not read; what is beyond is not answered.
	maxAnswers = 64 << 10
)

// counter counts one client's input on one terminal over reconnects.
type counter struct {
	key      ClientKey
	taken    int64         // into the queue: what attached says as input_offset
	written  int64         // into the PTY: what ack says
	users    []*Attachment // never changed in place
	lastSeen time.Time     // when the last user left
}

type chunk struct {
	c    *counter
	p    []byte
	cost int
}

// inputQueue brings what clients type to the PTY, in the order it was taken.
// Nothing that was taken is dropped while the process runs.
type inputQueue struct {
	pty Pty

	mu       sync.Mutex
	room     *sync.Cond // waiting shrank, or over
	counters map[ClientKey]*counter
	own      counter // the emulator's answers
	queue    []chunk
	waiting  map[station.ID]int // cost of what is queued, per principal
	writing  bool               // somebody is writing to the PTY: others queue behind
	over     bool
	pump     sync.WaitGroup
}

func (q *inputQueue) init(p Pty) {
	q.pty = p
	q.room = sync.NewCond(&q.mu)
	q.counters = map[ClientKey]*counter{}
	q.waiting = map[station.ID]int{}
}

// join finds or makes a's counter and returns how much was taken. a is notified
// when more of its input was written.
func (q *inputQueue) join(a *Attachment) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget(a.Key)
	c := q.counters[a.Key]
	if c == nil {
		c = &counter{key: a.Key}
		q.counters[a.Key] = c
	}
	c.users = append(slices.Clip(c.users), a)
	a.count = c
	return c.taken
}

// forget deletes the counters of clients long absent and, if the one who comes
// has too many, its oldest. The caller holds q.mu.
func (q *inputQueue) forget(comes ClientKey) {
	now := time.Now()
	absent := 0
	var oldest *counter
	for key, c := range q.counters {
		switch {
		case len(c.users) > 0 || key == comes && now.Sub(c.lastSeen) <= counterLife:
		case now.Sub(c.lastSeen) > counterLife:
			delete(q.counters, key)
		case key.Principal == comes.Principal:
			absent++
			if oldest == nil || c.lastSeen.Before(oldest.lastSeen) {
				oldest = c
			}
		}
	}
	if absent >= maxAbsent {
		delete(q.counters, oldest.key)
	}
}

// leave fences the attachment: not a byte of it is taken after.
func (q *inputQueue) leave(a *Attachment) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.fenced {
		return
	}
	a.fenced = true
	c := a.count
	i := slices.Index(c.users, a)
	c.users = slices.Concat(c.users[:i], c.users[i+1:])
	c.lastSeen = time.Now()
	if len(c.users) == 0 && c.taken == 0 && q.counters[c.key] == c {
		delete(q.counters, c.key) // nothing to remember
	}
	q.room.Broadcast()
}

// take accepts p. It blocks while too much of the same person's is waiting.
func (q *inputQueue) take(a *Attachment, p []byte) {
	c := a.count
	q.mu.Lock()
	for q.waiting[c.key.Principal] >= maxQueued && !q.over && !a.fenced {
		q.room.Wait()
	}
	if q.over || a.fenced {
		q.mu.Unlock()
		return
	}
	q.accept(c, p)
}

// answer types what the emulator answers to a query, in turn with what people
// type. It never blocks.
func (q *inputQueue) answer(p []byte) {
	q.mu.Lock()
	if q.over || q.waiting[q.own.key.Principal] >= maxAnswers {
		q.mu.Unlock()
		return
	}
	q.accept(&q.own, p)
}

// accept writes or queues p. The caller holds q.mu, which it lets go.
func (q *inputQueue) accept(c *counter, p []byte) {
	c.taken += int64(len(p))
	if q.writing {
		q.enqueue(c, p)
		q.mu.Unlock()
		return
	}
	// The usual case: nobody before us, and the kernel has room. Writing here
	// saves a key two goroutine switches.
	q.writing = true
	q.mu.Unlock()
	n, err := q.pty.TryWrite(p)
	q.wrote(c, n)
	q.mu.Lock()
	if n < len(p) && err == nil && !q.over {
		behind := q.queue
		q.queue = nil
		q.enqueue(c, p[n:])
		q.queue = append(q.queue, behind...)
	}
	if len(q.queue) > 0 && !q.over {
		q.pump.Add(1)
		go q.drain()
	} else {
		q.writing = false
	}
	q.mu.Unlock()
}

// enqueue adds a copy of p at the end; the caller holds q.mu.
func (q *inputQueue) enqueue(c *counter, p []byte) {
	cost := len(p)
	if n := len(q.queue); n > 0 && q.queue[n-1].c == c && len(q.queue[n-1].p)+len(p) <= maxChunk {
		last := &q.queue[n-1]
		last.p = append(last.p, p...)
		last.cost += cost
	} else {
		cost += chunkCost
		q.queue = append(q.queue, chunk{c, bytes.Clone(p), cost})
	}
	q.waiting[c.key.Principal] += cost
}

// drain writes the queue until it is empty; one runs at a time.
func (q *inputQueue) drain() {
	defer q.pump.Done()
	for {
		q.mu.Lock()
		if len(q.queue) == 0 || q.over {
			q.writing = false
			q.mu.Unlock()
			return
		}
		next := q.queue[0]
		q.queue = q.queue[1:]
		q.mu.Unlock()
		n, err := q.pty.Write(next.p)
		q.wrote(next.c, n)
		q.mu.Lock()
		if q.waiting[next.c.key.Principal] -= next.cost; q.waiting[next.c.key.Principal] <= 0 {
			delete(q.waiting, next.c.key.Principal)
		}
		if err != nil {
			q.over = true // nobody will ever read it
		}
		q.room.Broadcast()
		q.mu.Unlock()
	}
}

func (q *inputQueue) wrote(c *counter, n int) {
	q.mu.Lock()
	c.written += int64(n)
	users := c.users
	q.mu.Unlock()
	if n > 0 {
		for _, a := range users {
			a.notify()
		}
	}
}

// end lets everybody go: the process has ended.
func (q *inputQueue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	q.queue = nil
	q.room.Broadcast()
}

func (q *inputQueue) wait() { q.pump.Wait() }

// Written is how many bytes of this client's input went into the PTY.
func (a *Attachment) Written() int64 {
	q := &a.t.input
	q.mu.Lock()
	defer q.mu.Unlock()
	return a.count.written
}
