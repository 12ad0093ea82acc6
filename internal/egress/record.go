package egress

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
	socketName = "status.sock"
	logName    = "egress.log"
)

// record is what a way out leaves for the next gateway. Boot and Start make the
// pid safe to signal: a pid alone may be another's by now. NetNS tells one
// sandbox of a session from its next.
type record struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
	Boot  string `json:"boot"`
	NetNS string `json:"netns"` // device and inode
}

func newRecord(pid int, netns string) (record, error) {
	start, _, err := lookAtProcess(pid)
	return record{PID: pid, Start: start, Boot: bootID(), NetNS: netns}, err
}

func (rec record) write(dir string) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, recordName), b, 0o600)
}

// readRecord reads a folder's record. Half a one is as none: its process never
// got its configuration, and has ended.
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

// alive says whether the recorded process still runs. A zombie does not.
func (rec record) alive() bool {
	if rec.PID <= 1 || rec.Boot != bootID() {
		return false
	}
	start, dead, err := lookAtProcess(rec.PID)
	return err == nil && !dead && start == rec.Start
}

// end asks the recorded process to end, kills it when it does not within a
// moment, waits until it is gone, and leaves no zombie.
func (rec record) end(patience, limit time.Duration) error {
	if rec.PID <= 1 || rec.Boot != bootID() {
		return nil
	}
	fd, err := unix.PidfdOpen(rec.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("egress process %d: %w", rec.PID, err)
	}
	defer unix.Close(fd)
	// Looked at behind the descriptor: the pid cannot change hands now.
	if start, _, err := lookAtProcess(rec.PID); err != nil || start != rec.Start {
		return nil
	}
	for _, step := range []struct {
		signal unix.Signal
		limit  time.Duration
	}{{unix.SIGTERM, patience}, {unix.SIGKILL, limit}} {
		if err := unix.PidfdSendSignal(fd, step.signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal egress process %d: %w", rec.PID, err)
		}
		if err = waitExit(fd, step.limit); err == nil {
			_ = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil) // ECHILD: another's to reap
			return nil
		}
	}
	return fmt.Errorf("egress process %d does not end", rec.PID)
}

// waitExit waits for a process behind a pidfd to end.
func waitExit(fd int, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return errors.New("process does not end")
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

// lookAtProcess says when a process started, in clock ticks since boot, and
// whether it is a zombie.
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

// nsIdentity tells one namespace from another while either is open.
func nsIdentity(f *os.File) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("look at the network namespace: %w", err)
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}
