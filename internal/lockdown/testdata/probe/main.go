// Command probe locks itself down and says what it still can.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/lockdown"
)

func main() {
	home, outside := os.Args[1], os.Args[2]
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Println("no_new_privs", err)
		os.Exit(1)
	}
	syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
	if err := lockdown.Folder(home); errors.Is(err, errors.ErrUnsupported) {
		fmt.Println("unsupported", err)
		return
	} else if err != nil {
		fmt.Println("folder", err)
		os.Exit(1)
	}
	if err := (lockdown.Filter{Calls: slices.Concat(lockdown.Outside, lockdown.Exec), Processes: true, Everyone: true}).Apply(); err != nil {
		fmt.Println("filter", err)
		os.Exit(1)
	}
	done := make(chan struct{})
	go func() { // on a thread that was there before, or a new one: all are locked down
		runtime.LockOSThread()
		files(home, outside)
		calls()
		close(done)
	}()
	<-done
}

func say(what string, err error) {
	var e syscall.Errno
	errors.As(err, &e)
	fmt.Printf("%s=%d\n", what, int(e))
}

func files(home, outside string) {
	_, err := os.ReadFile(filepath.Join(outside, "secret"))
	say("read", err)
	say("write", os.WriteFile(filepath.Join(outside, "new"), nil, 0o600))
	say("remove", os.Remove(filepath.Join(outside, "secret")))
	say("truncate", os.Truncate(filepath.Join(outside, "secret"), 0))
	_, err = os.ReadDir(outside)
	say("list", err)
	_, err = os.ReadFile(filepath.Join(home, "link"))
	say("link", err)
	say("own", os.WriteFile(filepath.Join(home, "a"), []byte("x"), 0o600))
	say("mkdir", os.Mkdir(filepath.Join(home, "d"), 0o700))
	say("move", os.Rename(filepath.Join(home, "a"), filepath.Join(home, "d", "a")))
	say("out", os.Rename(filepath.Join(home, "d", "a"), filepath.Join(outside, "a")))
}

func calls() {
	say("signal", syscall.Kill(os.Getppid(), 0))
	say("exec", syscall.Exec("/proc/self/exe", os.Args, nil))
	_, err := syscall.ForkExec(os.Args[0], os.Args, &syscall.ProcAttr{})
	say("start", err)
	_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	say("socket", err)
	say("mount", unix.Mount("tmpfs", os.Args[1], "tmpfs", 0, ""))
	say("unshare", unix.Unshare(unix.CLONE_NEWUSER))
}
