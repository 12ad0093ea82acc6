package terminal

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Cwd reads /proc/PID/cwd. The kernel shows it to the process's own user or to
// CAP_SYS_PTRACE, which a guest does not have: so a thread takes the user's file
// system identity for the one call (credentials(7), proc(5)).
func (p *local) Cwd() string {
	link := "/proc/" + strconv.Itoa(p.pid) + "/cwd"
	select {
	case <-p.ended:
		return ""
	default:
	}
	if p.uid == 0 && p.gid == 0 {
		dir, _ := os.Readlink(link)
		return dir
	}
	answer := make(chan string)
	go func() {
		runtime.LockOSThread()
		dir := ""
		if unix.Setfsgid(p.gid) == nil && unix.Setfsuid(p.uid) == nil {
			dir, _ = os.Readlink(link)
		}
		unix.Setfsuid(os.Geteuid())
		unix.Setfsgid(os.Getegid())
		// setfsuid(2) reports no failure, but what is set now. A thread that is
		// not itself again stays locked and ends with the goroutine.
		uid, _ := unix.SetfsuidRetUid(-1)
		gid, _ := unix.SetfsgidRetGid(-1)
		if uid == os.Geteuid() && gid == os.Getegid() {
			runtime.UnlockOSThread()
		}
		answer <- dir
	}()
	return <-answer
}
