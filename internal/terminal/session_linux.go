package terminal

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// killSession kills every process of a session but its leader, which keeps the
// session's number from being another's meanwhile.
func killSession(leader int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return // no procfs: the process groups must do
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != leader && sessionOf(pid) == leader {
			unix.Kill(pid, unix.SIGKILL) // it may have ended meanwhile
		}
	}
}

// sessionOf is the session of a process, 0 when it has ended: the sixth field
// of stat, the second of which is a name in brackets with anything in it
// (proc_pid_stat(5)).
func sessionOf(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 4 {
		return 0
	}
	sid, _ := strconv.Atoi(string(fields[3]))
	return sid
}
