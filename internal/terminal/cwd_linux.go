package terminal

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Cwd reads /proc/PID/cwd.
func (p *local) Cwd() (dir string) {
	select {
	case <-p.ended:
		return ""
	default:
	}
	read := func() { dir, _ = os.Readlink("/proc/" + strconv.Itoa(p.pid) + "/cwd") }
	if AsUser(p.uid, p.gid, read); dir == "" && !hasFileSystemIdentity() {
		onOtherThread(func() { asReal(p.uid, p.gid, read) })
	}
	return dir
}

// hasFileSystemIdentity says whether threads have one here; under gVisor they have
// not.
var hasFileSystemIdentity = sync.OnceValue(func() bool {
	return !errors.Is(unix.Setfsuid(-1), unix.ENOSYS) // -1 changes nothing
})

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
		err := errors.Join(unix.Setfsgid(gid), unix.Setfsuid(uid))
		if errors.Is(err, unix.ENOSYS) { // gVisor
			onOtherThread(func() { asEffective(uid, gid, do) })
			runtime.UnlockOSThread()
			return
		}
		if err == nil {
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

// onOtherThread runs do on a thread that ends with it. The caller is locked to
// its own, so that it is another, and never the main one, when that is the
// caller's.
func onOtherThread(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		if unix.Gettid() == unix.Getpid() {
			// The main thread never ends, and stands for the process in /proc.
			onOtherThread(do)
			runtime.UnlockOSThread()
			return
		}
		do()
	}()
	<-done
}

// asEffective runs do with the user's ids as the thread's effective ones, for
// good. The real and saved ids stay: they are what decides who may signal it.
func asEffective(uid, gid int, do func()) {
	const keep = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, uintptr(gid), keep); errno != 0 {
		return
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		return
	}
	do()
}

// asReal runs do with the user's ids as the thread's real and effective ones, for
// good: gVisor shows where a process is to whoever has its real ids. For that
// moment the user may signal the thread, and so end their own session.
func asReal(uid, gid int, do func()) {
	const keep = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), keep); errno != 0 {
		return
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), keep); errno != 0 {
		return
	}
	do()
}
