package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	recordName = "record.json"
	pidName    = "pid"
)

// record is what a sandbox leaves for the next gateway. Boot and Start make the
// pid safe to signal: a pid alone may be another's by now.
type record struct {
	PID    int        `json:"pid"`
	Start  uint64     `json:"start"` // clock ticks since boot
	Boot   string     `json:"boot"`
	Kind   engineKind `json:"kind"`
	Engine string     `json:"engine"` // path
	Base   string     `json:"base"`
}

// newRecord notes a live process.
func newRecord(pid int, eng engine, base string) (record, error) {
	start, err := startTime(pid)
	if err != nil {
		return record{}, err
	}
	return record{PID: pid, Start: start, Boot: bootID(), Kind: eng.kind, Engine: eng.path, Base: base}, nil
}

func (rec record) write(dir string) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	// Half a record is as none: then the engine's own state is asked.
	return os.WriteFile(filepath.Join(dir, recordName), b, 0o600)
}

func readRecord(dir string) (record, error) {
	var rec record
	b, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, fmt.Errorf("record: %w", err)
	}
	if rec.PID <= 1 {
		return rec, errors.New("record: no pid")
	}
	return rec, nil
}

// alive says whether the recorded process still runs.
func (rec record) alive() bool {
	if rec.PID <= 1 || rec.Boot != bootID() {
		return false
	}
	start, err := startTime(rec.PID)
	return err == nil && start == rec.Start
}

// kill ends the recorded process, and with it, as it is PID 1 of its
// namespace, everything in the sandbox. It waits until the kernel is done, and
// leaves no zombie where this process is what orphans fall to.
func (rec record) kill(limit time.Duration) error {
	fd, err := unix.PidfdOpen(rec.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("guest %d: %w", rec.PID, err)
	}
	defer unix.Close(fd)
	// Looked at behind the descriptor: the pid cannot change hands now.
	start, _, err := lookAtProcess(rec.PID)
	if err != nil || start != rec.Start || rec.Boot != bootID() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill guest %d: %w", rec.PID, err)
	}
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
			return errors.New("killed process does not end")
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

// startTime is a live process's start in clock ticks since boot. A zombie has
// none: it is dead to us.
func startTime(pid int) (uint64, error) {
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

// bootID tells one run of the kernel from the next.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// readPID reads the engine's pid file; 0 when there is none yet.
func readPID(dir string) int {
	b, err := os.ReadFile(filepath.Join(dir, pidName))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}
