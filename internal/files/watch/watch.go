package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/files"
	"staithe/internal/station"
)

// change is one thing that happened in a home.
type change struct {
	kind string
	at   files.Path
	from files.Path // Move
	dir  bool       // it is a folder
}

// sink takes changes of one home in. Its methods never wait.
type sink interface {
	note(change)
	overflow()
	end()
}

// home is one that is watched. Its fields are under Watcher.mu, but what does not
// change.
type home struct {
	ws    station.ID
	root  string // its canonical path on the host
	sinks map[sink]struct{}
	top   *node // with fanotify
	poll  *poll // without
}

// Watcher tells what changes in the homes of one server. Safe for concurrent use.
type Watcher struct {
	log *slog.Logger
	fan *fanotify // nil: not to be had here

	// For tests; 0: what is usual.
	often   time.Duration // between looks without inotify
	watches int           // inotify watches of a home at most; negative: none
	kept    int           // bytes of paths that are remembered from look to look

	mu     sync.Mutex
	homes  map[string]*home // by canonical path
	closed bool
}

// Open returns a watcher for the homes in a folder. Where fanotify cannot be had,
// the log says why, and each watched home costs inotify watches.
func Open(homes string, log *slog.Logger) (*Watcher, error) {
	w := &Watcher{log: log, homes: map[string]*home{}}
	fan, err := openFanotify(w, homes, false)
	if err != nil {
		log.Info("homes are watched folder by folder: the file system as a whole cannot be", "why", err)
		return w, nil
	}
	w.fan = fan
	return w, nil
}

// Close ends all streams.
func (w *Watcher) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	var polls []*poll
	for _, h := range w.homes {
		for s := range h.sinks {
			s.end()
		}
		if h.poll != nil {
			polls = append(polls, h.poll)
		}
	}
	w.homes = map[string]*home{}
	w.mu.Unlock()
	for _, p := range polls {
		p.close()
	}
	if w.fan != nil {
		return w.fan.close()
	}
	return nil
}

// Whole says whether the file system is watched as a whole; else folders are,
// and changes may come late.
func (w *Watcher) Whole() bool { return w.fan != nil }

// Watch returns a stream of what changes below a folder of a home, which is at
// the path root of the host. When it returns, nothing is missed any more; ctx is
// only for the wait until then. The folder need not be there.
func (w *Watcher) Watch(ctx context.Context, ws station.ID, root string, below files.Path) (*Stream, error) {
	below, err := below.Clean()
	if err != nil {
		return nil, err
	}
	var s *Stream
	err = w.join(ctx, ws, root, func(h *home) sink { s = newStream(w, h, below); return s })
	return s, err
}

// Count returns a counter of what changes in a home; see Watch.
func (w *Watcher) Count(ctx context.Context, ws station.ID, root string) (*Counter, error) {
	var c *Counter
	err := w.join(ctx, ws, root, func(h *home) sink { c = newCounter(w, h); return c })
	return c, err
}

// join adds a sink to a home, which is watched from then on.
func (w *Watcher) join(ctx context.Context, ws station.ID, root string, make func(*home) sink) error {
	dir, err := openFolder(root)
	if err != nil {
		return fmt.Errorf("watch a home: %w", err)
	}
	defer dir.Close()
	real, err := pathOf(int(dir.Fd()))
	if err != nil {
		return fmt.Errorf("watch a home: %w", err)
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	h := w.homes[real]
	if h == nil {
		h = &home{ws: ws, root: real, sinks: map[sink]struct{}{}}
		if err := w.begin(h, dir); err != nil {
			w.mu.Unlock()
			return fmt.Errorf("watch a home: %w", err)
		}
		w.homes[real] = h
	}
	if h.poll == nil {
		w.fan.drain()
	}
	s := make(h)
	h.sinks[s] = struct{}{}
	poll := h.poll
	w.mu.Unlock()
	if poll == nil {
		return nil
	}
	select {
	case <-poll.ready:
		return nil
	case <-ctx.Done():
		w.leave(h, s)
		return ctx.Err()
	}
}

// begin starts to watch a home. It is called with mu held.
func (w *Watcher) begin(h *home, dir *os.File) error {
	if w.fan != nil {
		err := w.fan.add(h, dir)
		if err == nil {
			return nil
		}
		w.log.Warn("a home is watched folder by folder: its file system as a whole cannot be", "workstation", h.ws, "why", err)
	}
	p, err := startPoll(w, h, dir)
	h.poll = p
	return err
}

// leave takes a sink from its home; with the last one the home is let go.
func (w *Watcher) leave(h *home, s sink) {
	w.mu.Lock()
	_, there := h.sinks[s]
	delete(h.sinks, s)
	last := there && len(h.sinks) == 0 && !w.closed
	if last {
		delete(w.homes, h.root)
		if w.fan != nil {
			w.fan.forget(h)
		}
	}
	w.mu.Unlock()
	if last && h.poll != nil {
		h.poll.close()
	}
}

// tell hands a change to all who watch the home. It is called with mu held.
func (h *home) tell(c change) {
	if c.kind == Move {
		switch from, to := c.from.Staged(), c.at.Staged(); {
		case from && to:
			return
		case from:
			c = change{kind: Create, at: c.at, dir: c.dir}
		case to:
			c = change{kind: Delete, at: c.from, dir: c.dir}
		}
	}
	if c.at.Staged() || c.at.Home() && c.kind != Attrib {
		return
	}
	for s := range h.sinks {
		s.note(c)
	}
}

// overflowAll tells everybody that changes were lost. It is called with mu held.
func (w *Watcher) overflowAll(of func(*home) bool) {
	for _, h := range w.homes {
		if of(h) {
			for s := range h.sinks {
				s.overflow()
			}
		}
	}
}

// openFolder opens a folder to be read, and no link.
func openFolder(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// pathOf is where an open folder is now.
func pathOf(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd), buf)
	if err != nil {
		return "", err
	}
	if n == len(buf) {
		return "", unix.ENAMETOOLONG
	}
	return string(buf[:n]), nil
}

// retry goes on where a signal came in between.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
