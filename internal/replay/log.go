// Package replay holds the newest part of a terminal's output: a log that is
// bounded, grows as it is needed, and is read by offset from the terminal's
// birth. It is for replay, not a send queue: readers pull from it and it never
// waits for them.
package replay

import "sync"

// DefaultLimit is how many bytes a log keeps unless told otherwise.
const DefaultLimit = 2 << 20

// firstSize is what a log allocates with its first byte: an idle shell's prompt
// fits.
const firstSize = 4 << 10

// Log is the newest part of a byte stream, addressed by offset. The zero value
// is not usable; make one with New. All methods are safe for concurrent use.
type Log struct {
	limit int

	mu   sync.Mutex
	ring []byte // byte at offset o is ring[o % len(ring)]
	end  int64  // offset one past the newest byte
	held int    // bytes in the ring
}

// New makes an empty log that keeps at most limit bytes; 0 means DefaultLimit.
func New(limit int) *Log {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Log{limit: limit}
}

// Limit is how many bytes the log keeps at most.
func (l *Log) Limit() int { return l.limit }

// Bounds returns the offsets of the oldest byte held and one past the newest.
func (l *Log) Bounds() (start, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end - int64(l.held), l.end
}

// Append adds p and returns the offset one past it, forgetting the oldest bytes
// where there is no room.
func (l *Log) Append(p []byte) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if over := len(p) - l.limit; over > 0 {
		// Only the newest limit bytes can be kept: skip the rest.
		l.end += int64(over)
		l.held = 0
		p = p[over:]
	}
	l.grow(l.held + len(p))
	for len(p) > 0 {
		at := int(l.end % int64(len(l.ring)))
		n := copy(l.ring[at:], p)
		p = p[n:]
		l.end += int64(n)
		l.held = min(l.held+n, len(l.ring))
	}
	return l.end
}

// grow makes room for need bytes, doubling up to the limit.
func (l *Log) grow(need int) {
	size := len(l.ring)
	if need <= size || size == l.limit {
		return
	}
	size = max(size, min(firstSize, l.limit))
	for size < need && size < l.limit {
		size = min(size*2, l.limit)
	}
	ring := make([]byte, size)
	for o := l.end - int64(l.held); o < l.end; {
		chunk := l.contiguous(o)
		for len(chunk) > 0 { // a chunk may wrap in the new ring
			n := copy(ring[o%int64(size):], chunk)
			chunk = chunk[n:]
			o += int64(n)
		}
	}
	l.ring = ring
}

// contiguous returns the bytes from offset o up to the ring's edge or the end.
func (l *Log) contiguous(o int64) []byte {
	at := int(o % int64(len(l.ring)))
	n := min(int(l.end-o), len(l.ring)-at)
	return l.ring[at : at+n]
}

// ReadAt copies bytes from offset off into p and returns how many there were;
// 0 when off is the end. ok is false when off is before the oldest byte held or
// after the end.
func (l *Log) ReadAt(p []byte, off int64) (n int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if off < l.end-int64(l.held) || off > l.end {
		return 0, false
	}
	for n < len(p) && off < l.end {
		c := copy(p[n:], l.contiguous(off))
		n += c
		off += int64(c)
	}
	return n, true
}
