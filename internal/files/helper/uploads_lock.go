package helper

import (
	"context"
	"io"
	"time"

	tus "github.com/tus/tusd/v2/pkg/handler"
)

// uploadLock is held by the one request that works on an upload.
type uploadLock struct {
	s        *uploads
	id       string
	free     chan struct{} // closed when it is given back
	giveWay  func()        // asks the holder to end
	asked    bool
	progress time.Time // when the holder last received something
}

// NewLock implements tus.Locker.
func (s *uploads) NewLock(id string) (tus.Lock, error) { return &uploadLock{s: s, id: id}, nil }

// Lock implements tus.Lock. A holder that receives nothing is asked to end: its
// client has mostly lost the connection, and it is the same client that asks now.
// One that goes on keeps the upload.
func (l *uploadLock) Lock(ctx context.Context, giveWay func()) error {
	l.giveWay = giveWay
	for {
		holder, wait := l.s.take(l)
		if holder == nil {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-holder.free:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return failure("upload_busy", "Another request works on this upload; ask for its offset and go on from there.", 423)
		}
		timer.Stop()
	}
}

// take gives l its upload, or says who holds it and when to look again.
func (s *uploads) take(l *uploadLock) (holder *uploadLock, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	holder = s.held[l.id]
	if holder == nil {
		l.free, l.progress = make(chan struct{}), time.Now()
		s.held[l.id] = l
		return nil, 0
	}
	wait = uploadStill - time.Since(holder.progress)
	if wait <= 0 && !holder.asked {
		holder.asked = true
		holder.giveWay()
	}
	return holder, max(wait, uploadStill/4)
}

// Unlock implements tus.Lock.
func (l *uploadLock) Unlock() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.s.held[l.id] == l {
		delete(l.s.held, l.id)
		close(l.free)
	}
	return nil
}

// noticed is r, whose bytes count as its upload's progress.
func (s *uploads) noticed(id string, r io.Reader) io.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	return noticer{r, s, s.held[id]}
}

type noticer struct {
	io.Reader
	s *uploads
	l *uploadLock // nil: nobody waits for it
}

func (n noticer) Read(p []byte) (int, error) {
	c, err := n.Reader.Read(p)
	if c > 0 && n.l != nil {
		n.s.mu.Lock()
		n.l.progress = time.Now()
		n.s.mu.Unlock()
	}
	return c, err
}
