package jail

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"staithe/internal/lockdown"
)

// become makes the launcher the program, where that may start no other: what
// forbids that could not be taken back to start one. On success it does not return.
func become(spec *Spec) error {
	if unix.Getuid() == 0 {
		id := spec.UID
		if id == 0 {
			return fmt.Errorf("a program that is alone is never root")
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
			return fmt.Errorf("give up groups: %w", e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(id), uintptr(id), uintptr(id)); e != 0 {
			return fmt.Errorf("give up root: %w", e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(id), uintptr(id), uintptr(id)); e != 0 {
			return fmt.Errorf("give up root: %w", e)
		}
	}
	null, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	if err := unix.Dup3(null, 0, 0); err != nil {
		return err
	}
	// No second process or thread, nobody else, no other view of the machine.
	if err := (lockdown.Filter{Calls: slices.Concat(lockdown.Outside, lockdown.Fork)}).Apply(); err != nil {
		return err
	}
	return fmt.Errorf("start %s: %w", spec.Args[0], unix.Exec(spec.Args[0], spec.Args, spec.Env))
}
