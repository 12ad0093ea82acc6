package lockdown

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// landlockLeast is the first version that lets files move between folders.
const landlockLeast = 2

// Folder takes everything but a folder and what is below it from this process,
// for a server that cannot make namespaces; and, where the kernel can, the right
// to signal others. It needs no_new_privs. The error wraps errors.ErrUnsupported where there is none.
func Folder(dir string) error {
	version, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 || version < landlockLeast {
		return fmt.Errorf("the kernel has none: %w", errors.ErrUnsupported)
	}
	// All but to execute, which the home's mount may allow and seccomp does not.
	access := uint64(unix.LANDLOCK_ACCESS_FS_REFER<<1-1) &^ unix.LANDLOCK_ACCESS_FS_EXECUTE
	if version >= 3 {
		access |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: access}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	// What an older kernel does not know of it is zero, which it accepts.
	rules, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if e != 0 {
		return e
	}
	defer unix.Close(int(rules))
	home, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(home)
	beneath := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(home)}
	if _, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, rules, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&beneath)), 0, 0, 0); e != 0 {
		return e
	}
	// It is each thread's own. A program with C in it cannot do it on all; the
	// real one has none.
	_, _, e = syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0)
	if e == syscall.ENOTSUP {
		return fmt.Errorf("this program has C in it: %w", errors.ErrUnsupported)
	}
	if e != 0 {
		return e
	}
	return nil
}
