//go:build !cgo

package wayout

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// beginAlone has nothing to prepare where noNewPrivs can reach all threads.
func beginAlone() error { return nil }

// noNewPrivs sees to it that nothing this process executes has more rights. All
// threads: each has its own bit.
func noNewPrivs() error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("no new privileges: %w", errno)
	}
	return nil
}
