package terminal

import (
	"sync"
	"time"
)

// maxQueued is how much typed input may wait for a program that does not read;
// beyond it the typist's connection waits.
const maxQueued = 1 << 20

// counter counts one client's input on one terminal over reconnects.
type counter struct {
	key      ClientKey
	taken    int64 // into the queue: what attached says as input_offset
	written  int64 // into the PTY: what ack says
	notify   func()
	joined   int       // attachments that use it
	lastSeen time.Time // when joined fell to 0
}

type chunk struct {
	c *counter
	p []byte
}

// inputQueue brings what clients type to the PTY, in the order it was taken.
// Nothing that was taken is dropped while the process runs.
type inputQueue struct {
	pty Pty

	mu       sync.Mutex
	room     *sync.Cond // queue shrank, or over
	counters map[ClientKey]*counter
	queue    []chunk
	queued   int
	writing  bool // somebody is writing to the PTY: others queue behind
	over     bool
	pump     sync.WaitGroup
}

func (q *inputQueue) init(p Pty) {
	q.pty = p
	q.room = sync.NewCond(&q.mu)
	q.counters = map[ClientKey]*counter{}
}

// join finds or makes a client's counter. notify is called when more of its
// input was written.
func (q *inputQueue) join(key ClientKey, notify func()) (*counter, int64) {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for k, c := range q.counters {
		if c.joined == 0 && now.Sub(c.lastSeen) > counterLife {
			delete(q.counters, k)
		}
	}
	c := q.counters[key]
	if c == nil {
		c = &counter{key: key}
		q.counters[key] = c
	}
	c.joined++
	c.notify = notify
	return c, c.taken
}

// leave fences the attachment: not a byte of it is taken after.
func (q *inputQueue) leave(a *Attachment) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.fenced {
		return
	}
	a.fenced = true
	a.count.joined--
	a.count.lastSeen = time.Now()
	q.room.Broadcast()
}

// take accepts p. It blocks while maxQueued bytes are waiting.
func (q *inputQueue) take(a *Attachment, p []byte) {
	c := a.count
	q.mu.Lock()
	for q.queued >= maxQueued && !q.over && !a.fenced {
		q.room.Wait()
	}
	if q.over || a.fenced {
		q.mu.Unlock()
		return
	}
	c.taken += int64(len(p))
	if q.writing {
		q.queue = append(q.queue, chunk{c, append([]byte(nil), p...)})
		q.queued += len(p)
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
	if n < len(p) && err == nil {
		q.queue = append([]chunk{{c, append([]byte(nil), p[n:]...)}}, q.queue...)
		q.queued += len(p) - n
	}
	if len(q.queue) > 0 && !q.over {
		q.pump.Add(1)
		go q.drain()
	} else {
		q.writing = false
	}
	q.mu.Unlock()
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
		q.queued -= len(next.p)
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
	notify := c.notify
	q.mu.Unlock()
	if n > 0 {
		notify()
	}
}

// end lets everybody go: the process has ended.
func (q *inputQueue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	q.queue, q.queued = nil, 0
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
