package terminal

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Cwd reads /proc/PID/cwd.
func (p *local) Cwd() (dir string) {
	select {
	case <-p.ended:
		return ""
	default:
	}
	AsUser(p.uid, p.gid, func() { dir, _ = os.Readlink("/proc/" + strconv.Itoa(p.pid) + "/cwd") })
	return dir
}

// AsUser runs do in a thread that has a user's file system identity, if that can
// be had, and returns when it is done. What /proc says of a process the kernel
// shows to the process's own user or to CAP_SYS_PTRACE, which a guest does not
// have (credentials(7), proc(5)). 0, 0 is this process itself.
func AsUser(uid, gid int, do func()) {
	if uid == 0 && gid == 0 {
		do()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Setfsgid(gid) == nil && unix.Setfsuid(uid) == nil {
			do()
		}
		unix.Setfsuid(os.Geteuid())
		unix.Setfsgid(os.Getegid())
		// setfsuid(2) reports no failure, but what is set now. A thread that is
		// not itself again stays locked and ends with the goroutine.
		u, _ := unix.SetfsuidRetUid(-1)
		g, _ := unix.SetfsgidRetGid(-1)
		if u == os.Geteuid() && g == os.Getegid() {
			runtime.UnlockOSThread()
		}
	}()
	<-done
}
