// Package hostproc names a process of the host so that it can be found again after
// the program that started it has gone, and be signalled without hitting
// another that has its pid by then.
package hostproc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one process of one run of the kernel. Start and Boot make the pid
// safe to signal: a pid alone may be another's by now. The zero value is none.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
	Boot  string `json:"boot"`
}

// Note names a live process; one that has ended is an error.
func Note(pid int) (Process, error) {
	start, err := StartTime(pid)
	if err != nil {
		return Process{}, err
	}
	return Process{PID: pid, Start: start, Boot: BootID()}, nil
}

// Alive says whether the recorded process still runs. One of which that cannot
// be told now, as when this process has no descriptor left to look with, counts
// as alive: whoever takes it for dead removes what it works on.
func (p Process) Alive() bool {
	if p.PID <= 1 {
		return false
	}
	same, err := p.same()
	return same || err != nil
}

// same looks whether the pid is still the noted process's. An error says that
// this cannot be told.
func (p Process) same() (bool, error) {
	if errors.Is(unix.Kill(p.PID, 0), unix.ESRCH) {
		return false, nil
	}
	start, dead, err := lookAtProcess(p.PID)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	if err != nil || dead || start != p.Start {
		return false, err
	}
	boot := BootID()
	if boot == "" {
		return false, fmt.Errorf("process %d: which run of the kernel this is cannot be read", p.PID)
	}
	return boot == p.Boot, nil
}

// Kill ends the process, and with it, if it is PID 1 of a namespace, everything in
// that. It waits until the kernel is done, and leaves no zombie where this
// process is what orphans fall to. A process that is not the noted one any more
// is left alone.
func (p Process) Kill(limit time.Duration) error { return p.KillThen(limit, func() {}) }

// KillThen is Kill that calls sent when the signal is on its way and before it
// waits: for what must happen so that the process can take note of it, such as
// the end of its being frozen.
func (p Process) KillThen(limit time.Duration, sent func()) error {
	fd, there, err := p.open()
	if err != nil || !there {
		return err
	}
	defer unix.Close(fd)
	return signalAndWait(fd, p.PID, unix.SIGKILL, limit, sent)
}

// End asks the process to end, kills it when it does not within patience, waits
// for at most limit until it is gone, and leaves no zombie. A process that is not
// the noted one any more is left alone.
func (p Process) End(patience, limit time.Duration) error {
	fd, there, err := p.open()
	if err != nil || !there {
		return err
	}
	defer unix.Close(fd)
	if err := signalAndWait(fd, p.PID, unix.SIGTERM, patience, func() {}); err == nil {
		return nil
	}
	return signalAndWait(fd, p.PID, unix.SIGKILL, limit, func() {})
}

// Wait waits until the process has ended by itself, for at most limit.
func (p Process) Wait(limit time.Duration) error {
	fd, there, err := p.open()
	if err != nil || !there {
		return err
	}
	defer unix.Close(fd)
	return waitExit(fd, limit)
}

// open makes a descriptor of the process; there is false when it has ended.
func (p Process) open() (fd int, there bool, err error) {
	if p.PID <= 1 {
		return -1, false, nil
	}
	fd, err = unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, false, nil
	}
	if err != nil {
		return -1, false, fmt.Errorf("process %d: %w", p.PID, err)
	}
	// Looked at behind the descriptor: the pid cannot change hands now. One that is
	// dead and not reaped is there as well.
	start, _, err := lookAtProcess(p.PID)
	switch boot := BootID(); {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH):
		err = nil
	case err == nil && boot == "":
		err = errors.New("which run of the kernel this is cannot be read")
	case err == nil && start == p.Start && boot == p.Boot:
		return fd, true, nil
	}
	unix.Close(fd)
	if err != nil {
		return -1, false, fmt.Errorf("process %d: %w", p.PID, err)
	}
	return -1, false, nil
}

// signalAndWait signals the process behind a pidfd, waits for its end, and reaps
// it where that is ours to do.
func signalAndWait(fd, pid int, signal unix.Signal, limit time.Duration, sent func()) error {
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	sent()
	if err := waitExit(fd, limit); err != nil {
		return err
	}
	_ = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil) // ECHILD: another's to reap
	return nil
}

// waitExit waits for a process behind a pidfd to end.
func waitExit(fd int, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return errors.New("the process does not end")
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process: %w", err)
		}
	}
}

// StartTime is a live process's start in clock ticks since boot. A zombie has
// none: it is dead to us.
func StartTime(pid int) (uint64, error) {
	start, dead, err := lookAtProcess(pid)
	if err == nil && dead {
		err = fmt.Errorf("process %d is dead", pid)
	}
	return start, err
}

// lookAtProcess says when a process started and whether it is a zombie.
func lookAtProcess(pid int) (start uint64, dead bool, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	// The name may hold spaces and brackets; fields count from the last bracket.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return 0, false, fmt.Errorf("process %d: short stat", pid)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return start, fields[0] == "Z" || fields[0] == "X", err
}

// BootID tells one run of the kernel from the next; empty when it cannot be read.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
