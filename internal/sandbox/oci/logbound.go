package oci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// A guest writes its log itself, so that it can go on without a gateway. While
// there is one, it is told of each write, and cuts a log that has grown too
// large; it is opened for appending, so that the guest writes on at its new end.
// A guest that writes as fast as it can has what it writes within logPause, and
// while it is cut: some ten MiB, on a busy machine more. The look that is taken at
// each sandbox now and then cuts too, should the kernel not tell.
const (
	maxLog  = 4 << 20
	keepLog = 256 << 10 // the end of it that stays
	// logPause is between two looks at the logs that are written.
	logPause = 10 * time.Millisecond
)

// logWatch has the kernel say which logs are written. It is safe for concurrent
// use; the zero value is ready.
type logWatch struct {
	mu     sync.Mutex
	file   *os.File             // an inotify instance; nil: not started
	fd     int                  // the same
	cut    sync.Mutex           // held while a log is cut: an operation lock
	closed bool                 // starts no more
	names  map[int32]station.ID // by watch
	done   chan struct{}        // closed when the reader ended
	stop   chan struct{}        // closed when it is to end
}

// watch begins to look at a session's log; again it changes nothing. What is
// written is told to grown, by one goroutine.
func (w *logWatch) watch(id station.ID, path string, grown func(station.ID)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	if w.file == nil { // the first
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return fmt.Errorf("inotify: %w", err)
		}
		w.fd, w.file, w.names = fd, os.NewFile(uintptr(fd), "inotify"), map[int32]station.ID{}
		w.done, w.stop = make(chan struct{}), make(chan struct{})
		go w.read(w.file, grown)
	}
	wd, err := unix.InotifyAddWatch(w.fd, path, unix.IN_MODIFY|unix.IN_DONT_FOLLOW)
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	w.names[int32(wd)] = id
	return nil
}

// read passes on what is written until the watch is closed.
func (w *logWatch) read(f *os.File, grown func(station.ID)) {
	defer close(w.done)
	for buf := make([]byte, 64<<10); ; {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		for id := range w.take(buf[:n]) {
			grown(id)
		}
		select {
		case <-time.After(logPause):
		case <-w.stop:
			return
		}
	}
}

// take finds whose logs the kernel's words are about.
func (w *logWatch) take(b []byte) map[station.ID]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[station.ID]bool{}
	for len(b) >= unix.SizeofInotifyEvent {
		wd, mask, length := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:])
		if id, ok := w.names[wd]; ok {
			out[id] = true
		}
		if mask&unix.IN_IGNORED != 0 { // the file is gone
			delete(w.names, wd)
		}
		b = b[min(len(b), unix.SizeofInotifyEvent+int(length)):]
	}
	return out
}

// close ends the watch and waits for that.
func (w *logWatch) close() {
	w.mu.Lock()
	f := w.file
	w.file, w.closed = nil, true
	w.mu.Unlock()
	if f != nil {
		close(w.stop)
		f.Close()
		<-w.done
	}
}

// watchLog has a sandbox's log bounded as it is written.
func (r *Runtime) watchLog(id station.ID) {
	err := r.logs.watch(id, filepath.Join(r.dir(id), logName), r.boundLog)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		r.log.Warn("a guest's log is bounded late", "session", id, "err", err)
	}
}

// boundLog cuts a sandbox's log when it is too large. Lines that come in the
// moment of the cut are lost.
func (r *Runtime) boundLog(id station.ID) {
	r.logs.cut.Lock()
	defer r.logs.cut.Unlock()
	path := filepath.Join(r.dir(id), logName)
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() <= maxLog {
		return
	}
	if err := cutLog(path, info.Size()); err != nil {
		r.log.Warn("cannot cut a guest's log", "session", id, "err", err)
	}
}

func cutLog(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	end := make([]byte, keepLog)
	if _, err := f.ReadAt(end, size-keepLog); err != nil && err != io.EOF {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "(%d bytes were cut from here)\n%s", size-keepLog, end)
	return err
}
