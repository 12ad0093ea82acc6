package watch

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pause is for how long the kernel may gather events before they are read
	// again: it merges what happens to the same name.
	pause = 10 * time.Millisecond
	// mostQueued is how many events may wait in the kernel. It keeps no limit
	// (16,384 would be its own, too few for a checkout), but its memory has one.
	mostQueued = 1 << 19
	// backlogEvery is how often the queue is counted while it does not run dry.
	backlogEvery = time.Second
	// lateRenames is how many renames wait at most for what they say to be checked.
	lateRenames = 1024
)

// fanotify watches file systems as a whole. Its fields belong to Watcher.mu.
//
// It waits in poll(2), and not by Go's poller, whose epoll is woken for each event,
// also while nobody reads: whoever writes a file would pay for that (a third of the
// time of a tar x).
type fanotify struct {
	w    *Watcher
	old  bool // a kernel that tells renames as two events
	fd   int
	kick int // an eventfd: fd is another, or quit is closed
	tree *tree
	buf  []byte
	// renamed are the names of the latest renames. The kernel may have merged one
	// into an earlier one, so that the order says something wrong.
	renamed []renamed
	// foldersMoved counts them, where the kernel does not say which they were.
	foldersMoved map[*home]int
	quit         chan struct{}
	done         chan struct{}
}

// openFanotify watches the file system of a folder. old is for tests: as kernels
// before 5.17 can.
func openFanotify(w *Watcher, homes string, old bool) (*fanotify, error) {
	f := &fanotify{w: w, old: old, tree: newTree(), buf: make([]byte, 256<<10), foldersMoved: map[*home]int{}, quit: make(chan struct{}), done: make(chan struct{})}
	fd, err := f.init()
	if errors.Is(err, unix.EINVAL) && !old {
		f.old = true
		fd, err = f.init()
	}
	if err != nil {
		return nil, fmt.Errorf("fanotify: %w", err)
	}
	f.fd = fd
	if f.kick, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("fanotify: %w", err), unix.Close(fd))
	}
	dir, err := openFolder(homes)
	if err == nil {
		err = errors.Join(f.mark(dir), dir.Close())
	}
	if err != nil {
		return nil, errors.Join(err, f.release())
	}
	go f.run()
	return f, nil
}

func (f *fanotify) init() (int, error) {
	flags := uint(unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_UNLIMITED_QUEUE | unix.FAN_UNLIMITED_MARKS | unix.FAN_REPORT_DFID_NAME)
	if !f.old {
		flags |= unix.FAN_REPORT_FID | unix.FAN_REPORT_TARGET_FID
	}
	return unix.FanotifyInit(flags, unix.O_RDONLY|unix.O_CLOEXEC)
}

// mark watches the file system of an open folder, if it is not yet, and sees that
// its folders can be found by their handles.
func (f *fanotify) mark(dir *os.File) error {
	key, err := keyOf(int(dir.Fd()))
	if err != nil {
		return fmt.Errorf("file handles: %w", err)
	}
	if f.tree.disks[diskOf(key)] != nil {
		return nil
	}
	fd, err := unix.FcntlInt(dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	disk := os.NewFile(uintptr(fd), dir.Name())
	f.tree.disks[diskOf(key)] = disk
	probe, err := f.tree.open(key)
	if err == nil {
		err = errors.Join(unix.Close(probe), f.markDisk(f.fd, disk))
	} else {
		err = fmt.Errorf("open by handle: %w", err)
	}
	if err != nil {
		delete(f.tree.disks, diskOf(key))
		return errors.Join(err, disk.Close())
	}
	return nil
}

func (f *fanotify) markDisk(group int, disk *os.File) error {
	mask := uint64(unix.FAN_CREATE | unix.FAN_DELETE | wrote | unix.FAN_ATTRIB | unix.FAN_ONDIR)
	if f.old {
		mask |= unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO
	} else {
		mask |= unix.FAN_RENAME
	}
	if err := unix.FanotifyMark(group, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, mask, int(disk.Fd()), "."); err != nil {
		return fmt.Errorf("fanotify on %s: %w", disk.Name(), err)
	}
	return nil
}

// add watches a home, whose top is open. It is called with Watcher.mu held.
func (f *fanotify) add(h *home, dir *os.File) error {
	if err := f.mark(dir); err != nil {
		return err
	}
	key, err := keyOf(int(dir.Fd()))
	if err == nil {
		f.tree.addTop(h, key)
	}
	return err
}

func (f *fanotify) forget(h *home) { f.tree.removeTop(h) }

func (f *fanotify) release() error {
	errs := []error{unix.Close(f.fd), unix.Close(f.kick)}
	for _, d := range f.tree.disks {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

func (f *fanotify) close() error {
	close(f.quit)
	f.kicked()
	<-f.done
	return f.release()
}

// kicked has the reader look again.
func (f *fanotify) kicked() {
	one := [8]byte{1} // nothing else can be wrong than that it is not zero already
	_, _ = unix.Write(f.kick, one[:])
}

// run reads until close.
func (f *fanotify) run() {
	defer close(f.done)
	counted := time.Now()
	for !f.quitting() {
		full := f.wait()
		if f.quitting() {
			return
		}
		if !full {
			counted = time.Now()
			select {
			case <-f.quit:
				return
			case <-time.After(pause):
			}
		} else if time.Since(counted) > backlogEvery {
			counted = time.Now()
			f.w.mu.Lock()
			if f.queued() > mostQueued {
				f.again(errors.New("more happens on the disk than can be read"))
			}
			f.w.mu.Unlock()
		}
	}
}

// wait waits for events and takes in what fits the buffer. It returns whether
// there may be more.
func (f *fanotify) wait() (full bool) {
	f.w.mu.Lock()
	fd := f.fd
	f.w.mu.Unlock()
	// When fd is closed meanwhile, kick is written to after that.
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(f.kick), Events: unix.POLLIN}}
	_, err := unix.Poll(fds, -1)
	if fds[1].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(f.kick, count[:])
	}
	if f.quitting() || errors.Is(err, unix.EINTR) {
		return true
	}
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if err != nil {
		f.again(fmt.Errorf("poll: %w", err))
		return false
	}
	return f.read() > len(f.buf)/2
}

// read takes in what fits the buffer, and returns how many bytes that was; 0:
// there is nothing. It is called with Watcher.mu held: events are taken in in the
// order in which they are read.
func (f *fanotify) read() int {
	n, err := unix.Read(f.fd, f.buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0
	}
	if err == nil {
		err = readEvents(f.buf[:n], f.event)
	}
	if err != nil {
		f.again(err)
		return -1
	}
	if n <= len(f.buf)/2 || len(f.renamed) > lateRenames {
		f.settle()
	}
	return n
}

// drain takes in what waits now, so that who begins to watch is not told what was
// before. It is called with Watcher.mu held.
func (f *fanotify) drain() {
	for range 256 {
		if f.read() <= len(f.buf)/2 {
			return
		}
	}
}

func (f *fanotify) quitting() bool {
	select {
	case <-f.quit:
		return true
	default:
		return false
	}
}

// queued is how many events wait in the kernel.
func (f *fanotify) queued() int {
	n, err := unix.IoctlGetInt(f.fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n / metadataSize
}

// again drops all that waits in the kernel and begins anew. It is called with
// Watcher.mu held.
func (f *fanotify) again(why error) {
	f.w.log.Warn("changes of files were lost; who watches lists again", "why", why)
	fd, err := f.init()
	if err == nil {
		for _, d := range f.tree.disks {
			err = errors.Join(err, f.markDisk(fd, d))
		}
		if err == nil {
			err = unix.Close(f.fd)
			f.fd = fd
			f.kicked()
		} else {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	if err != nil {
		f.w.log.Error("the watch of files could not be begun anew", "err", err)
	}
	f.tree.forget()
	f.renamed = nil
	f.w.overflowAll(func(h *home) bool { return h.poll == nil })
}
