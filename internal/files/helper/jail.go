package helper

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/lockdown"
)

// openFiles is enough for the deepest trees of a few requests at once.
const openFiles = 4096

// Namespaces are what a jailed helper is started in: mounts, processes, network,
// IPC and host name of its own.
const Namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// keepRights sees to it that neither this process nor what it executes ever has
// more rights. Each thread has its own bit, and a program with C in it cannot
// set it on all of them; so it is set on one, which executes the program anew.
func keepRights() error {
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err == nil && set == 1 {
		return nil
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return fmt.Errorf("execute this program anew: %w", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// lockDown makes the home the root of all that this process sees, and it the
// user's. It says what holds.
func lockDown(cfg *Config) (held []string, err error) {
	held = []string{"no_new_privs"}
	_ = time.Now().Local().String() // reads the time zone's file while it can be seen
	syscall.Umask(0o022)
	if err := limits(); err != nil {
		return nil, err
	}
	if cfg.UID > 0 {
		if err := enter(cfg.Home); err != nil {
			return nil, fmt.Errorf("jail: %w", err)
		}
		cfg.Home = "/"
		id := cfg.UID
		// On all threads; with the last, all capabilities go.
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(id, id, id), syscall.Setresuid(id, id, id)); err != nil {
			return nil, fmt.Errorf("give up root: %w", err)
		}
		held = append(held, "root", "namespaces", "uid")
	} else if err := lockdown.Folder(cfg.Home); err == nil {
		held = append(held, "landlock")
	} else if !errors.Is(err, errors.ErrUnsupported) {
		return nil, fmt.Errorf("landlock: %w", err)
	}
	// Nothing here starts a program, reaches anybody, or changes what it sees.
	if err := (lockdown.Filter{Calls: slices.Concat(lockdown.Outside, lockdown.Exec), Processes: true, Everyone: true}).Apply(); err != nil {
		return nil, err
	}
	held = append(held, "seccomp")
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("not dumpable: %w", err)
	}
	return held, nil
}

func limits() error {
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &have); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	n := min(have.Max, openFiles)
	if err := errors.Join(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}), unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	if memoryMost == 0 {
		return nil
	}
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &have); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	m := min(have.Max, memoryMost)
	return unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: m, Max: m})
}

// enter mounts the home, which was handed over, and makes it the root. What was
// the root before is gone: there is no way back to it, also not by descriptors,
// as none of a folder is left open (LockFD is a file).
func enter(home string) error {
	if os.Getpid() != 1 {
		return errors.New("not in namespaces of its own")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.MoveMount(HomeFD, "", unix.AT_FDCWD, home, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount the home: %w", err)
	}
	if err := unix.Close(HomeFD); err != nil {
		return err
	}
	if err := unix.Chdir(home); err != nil {
		return fmt.Errorf("enter the home: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("make the home the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let the old root go: %w", err)
	}
	return unix.Chdir("/")
}
