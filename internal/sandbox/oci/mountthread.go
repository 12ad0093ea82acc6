package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// mountThread is one operating system thread in a mount namespace of its own.
// A process started from it begins there: that is how an engine sees mounts
// that the host does not, without a further process. A nil thread runs things
// where the caller is.
type mountThread struct {
	jobs chan func()
	end  chan struct{} // closed to end it
	done chan struct{} // closed when it ended
}

// newMountThread starts the thread, with host mounts still arriving there but
// nothing going back, and runs setup on it.
func newMountThread(setup func() error) (*mountThread, error) {
	t := &mountThread{jobs: make(chan func()), end: make(chan struct{}), done: make(chan struct{})}
	up := make(chan error)
	go t.run(setup, up)
	if err := <-up; err != nil {
		<-t.done
		return nil, err
	}
	return t, nil
}

func (t *mountThread) run(setup func() error, up chan<- error) {
	// Never unlocked: the thread must end with the goroutine, not be reused.
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread stands for the process in /proc; take another, while
		// this goroutine keeps the main one busy.
		moved := make(chan error)
		go t.run(setup, moved)
		up <- <-moved
		runtime.UnlockOSThread()
		return
	}
	defer close(t.done)
	err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	}
	if err != nil {
		up <- fmt.Errorf("mount namespace: %w", err)
		return
	}
	if err := setup(); err != nil {
		up <- err
		return
	}
	up <- nil
	for {
		select {
		case job := <-t.jobs:
			job()
		case <-t.end:
			return
		}
	}
}

// errClosed is what comes of a start or a stop that goes on while the runtime is
// closed.
var errClosed = errors.New("the server is ending")

// do runs f on the thread, unless that was closed.
func (t *mountThread) do(f func() error) error {
	if t == nil {
		return f()
	}
	result := make(chan error, 1)
	select {
	case t.jobs <- func() { result <- f() }:
		return <-result
	case <-t.end:
		return errClosed
	}
}

// close ends the thread and its namespace, and waits for that.
func (t *mountThread) close() {
	if t == nil {
		return
	}
	close(t.end)
	<-t.done
}

const stagedRoot = "rootfs"

// privateMounts makes the thread on which engines start when the host's mounts
// do not suit them, and returns the folder for them, which has the root file
// system as stagedRoot. Engines
// prepare the root as the mapped uid, which may not walk through a data
// directory that is closed to others: it is bound in the open. And crun refuses
// the hybrid cgroup layout unless the unified mount is away.
func (r *Runtime) privateMounts(hideUnified bool, rootfs string) (*mountThread, string, error) {
	stage, err := stagePoint(r.data)
	if err != nil {
		return nil, "", err
	}
	staged := filepath.Join(stage, stagedRoot)
	t, err := newMountThread(func() error {
		if hideUnified {
			if err := unix.Unmount(unifiedCgroup, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", unifiedCgroup, err)
			}
		}
		if err := unix.Mount("staithe", stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=1m"); err != nil {
			return fmt.Errorf("mount on %s: %w", stage, err)
		}
		if err := os.Mkdir(staged, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(rootfs, staged, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind the root: %w", err)
		}
		return nil
	})
	return t, stage, err
}

// stagePoint is a folder that every uid can reach and that hides nothing we
// need when something is mounted over it in the private namespace: an empty one
// if there is, else one that at least the data directory is not in.
func stagePoint(data string) (string, error) {
	var second string
	for _, dir := range []string{"/mnt", "/media", "/srv", "/boot"} {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || within(data, dir) {
			continue
		}
		if entries, err := os.ReadDir(dir); err == nil && len(entries) == 0 {
			return dir, nil
		}
		if second == "" {
			second = dir
		}
	}
	if second == "" {
		return "", errors.New("none of /mnt, /media, /srv, /boot is free to mount on")
	}
	return second, nil
}

// within says whether path is dir or below it; both are clean and absolute.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
