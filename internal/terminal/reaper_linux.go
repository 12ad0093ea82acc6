package terminal

import (
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// Reaper starts processes and waits for all of them with one goroutine: the
// ordinary way blocks a thread per process. As PID 1 it also reaps the orphans
// that the kernel hands it. Safe for concurrent use.
type Reaper struct {
	orphans bool
	sigchld chan os.Signal
	done    chan struct{}

	mu      sync.Mutex // held over fork, so that no child ends before it is known
	waiting map[int]chan Exit
}

// NewReaper starts the goroutine; Close ends it. With orphans it takes every
// child of this process, so nothing else in the process may wait for one.
func NewReaper(orphans bool) *Reaper {
	r := &Reaper{
		orphans: orphans, sigchld: make(chan os.Signal, 1), done: make(chan struct{}),
		waiting: map[int]chan Exit{},
	}
	signal.Notify(r.sigchld, unix.SIGCHLD)
	go func() {
		defer close(r.done)
		for range r.sigchld {
			r.reap()
		}
	}()
	return r
}

// Start is a StartFunc.
func (r *Reaper) Start(path string, argv []string, attr *os.ProcAttr) (int, func() Exit, error) {
	ended := make(chan Exit, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := os.StartProcess(path, argv, attr)
	if err != nil {
		return 0, nil, err
	}
	r.waiting[p.Pid] = ended
	pid := p.Pid
	p.Release() // frees its pidfd; the child is ours to wait for
	return pid, func() Exit { return <-ended }, nil
}

func (r *Reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.orphans {
		for r.reapOne(-1) {
		}
		return
	}
	for pid := range r.waiting {
		r.reapOne(pid)
	}
}

// reapOne waits for pid (-1: any) without blocking; the caller holds r.mu.
func (r *Reaper) reapOne(pid int) bool {
	var ws unix.WaitStatus
	got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil)
	for err == unix.EINTR {
		got, err = unix.Wait4(pid, &ws, unix.WNOHANG, nil)
	}
	if err != nil || got <= 0 {
		return false
	}
	if ended, ok := r.waiting[got]; ok {
		delete(r.waiting, got)
		ended <- exitOf(ws)
	}
	return true
}

// Close stops reaping; processes still waited for are never reported.
func (r *Reaper) Close() {
	signal.Stop(r.sigchld)
	close(r.sigchld)
	<-r.done
}
