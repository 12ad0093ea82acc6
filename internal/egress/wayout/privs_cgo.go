//go:build cgo

package wayout

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A program with C in it, such as one with the race detector, cannot make a system
// call on all of its threads. It sets the bit on one and executes itself anew:
// all threads then come from that one.

// beginAlone returns once the bit is set.
func beginAlone() error {
	if noNewPrivs() == nil {
		return nil
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return fmt.Errorf("execute this program anew: %w", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// noNewPrivs is an error unless beginAlone set the bit.
func noNewPrivs() error {
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil || set != 1 {
		return errors.Join(errors.New("new privileges can be had"), err)
	}
	return nil
}
