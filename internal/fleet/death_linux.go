package fleet

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// watchDeath settles a session as soon as its guest ends, instead of at the next
// reconciliation. It needs a guest whose process is this host's; for others the
// reconciliation must do. It costs one descriptor per session.
func (f *Fleet) watchDeath(id station.ID) {
	info, _, err := f.runtime.Find(f.ending, id)
	if err != nil || !info.Running || info.PID <= 0 {
		return
	}
	fd, err := unix.PidfdOpen(info.PID, unix.PIDFD_NONBLOCK)
	if err != nil { // it has just ended, or the kernel is older than 5.10
		return
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	again, _, err := f.runtime.Find(f.ending, id)
	if err != nil || again != info { // the number may have been another's by then
		pidfd.Close()
		return
	}
	ctx, cancel := context.WithCancel(f.ending)
	f.mu.Lock()
	w := f.watch(id)
	if w.cancel != nil {
		w.cancel()
	}
	w.cancel = cancel
	f.mu.Unlock()
	f.watchers.Go(func() {
		defer cancel()
		stop := context.AfterFunc(ctx, func() { pidfd.Close() })
		defer stop()
		defer pidfd.Close()
		if !ended(pidfd) || ctx.Err() != nil {
			return
		}
		if err := f.settle(ctx, id); err != nil && ctx.Err() == nil {
			f.log.Error("cannot settle a session whose guest ended", "session", id, "err", err)
		}
	})
}

// deathLimit is how long a sandbox that does not answer has to end by itself.
const deathLimit = time.Second

// dies says whether a sandbox whose guest does not answer is ending, or has
// ended. What is killed while it is frozen ends only when it is thawed.
func (f *Fleet) dies(ctx context.Context, id station.ID) bool {
	ctx, cancel := context.WithTimeout(ctx, deathLimit)
	defer cancel()
	info, _, err := f.runtime.Find(ctx, id)
	if err != nil || !info.Running || info.PID <= 0 {
		return err == nil && !info.Running
	}
	fd, err := unix.PidfdOpen(info.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	defer pidfd.Close()
	defer context.AfterFunc(ctx, func() { pidfd.Close() })()
	return ended(pidfd)
}

// ended waits for a process's end; false when the descriptor was closed before
// (pidfd_open(2): it is readable then).
func ended(pidfd *os.File) bool {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err != nil && err != unix.EINTR || n > 0
	})
	return err == nil
}
