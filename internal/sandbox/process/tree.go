package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"staithe/internal/hostproc"
	"staithe/internal/station"
)

// stat is what /proc/PID/stat says of a process; proc_pid_stat(5).
type stat struct {
	hostproc.Process
	parent  int
	state   byte
	ticks   uint64 // processor time, of its ended children too
	threads int
}

// readStat reads one process; false when it is gone or dead.
func readStat(pid int, boot string) (stat, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name may hold spaces and brackets
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return stat{}, false
	}
	number := func(i int) uint64 { n, _ := strconv.ParseUint(f[i], 10, 64); return n } // the kernel's own numbers
	s := stat{state: f[0][0], parent: int(number(1)), threads: int(number(17))}
	for i := 11; i <= 14; i++ {
		s.ticks += number(i)
	}
	s.Process = hostproc.Process{PID: pid, Start: number(19), Boot: boot}
	return s, true
}

// tree finds the living processes of a session, parents before children: those
// that carry its mark, the guest, and all that descend from these.
func tree(session station.ID, guest hostproc.Process) ([]stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for processes: %w", err)
	}
	boot := hostproc.BootID()
	children := map[int][]stat{}
	roots := []stat{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		s, ok := readStat(pid, boot)
		if !ok {
			continue
		}
		children[s.parent] = append(children[s.parent], s)
		if s.Process == guest || marked(pid, session) {
			roots = append(roots, s)
		}
	}
	var out []stat
	seen := map[int]bool{}
	var walk func(s stat)
	walk = func(s stat) {
		if seen[s.PID] {
			return
		}
		seen[s.PID] = true
		out = append(out, s)
		for _, c := range children[s.PID] {
			walk(c)
		}
	}
	// The guest first: what it started carries the mark, too.
	for _, first := range []bool{true, false} {
		for _, s := range roots {
			if (s.Process == guest) == first {
				walk(s)
			}
		}
	}
	return out, nil
}

// marked says whether a process was started with the session's mark. One that
// this process may not look into is another account's, and none of ours.
func marked(pid int, session station.ID) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	want := []byte(mark + "=" + string(session))
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		if bytes.Equal(entry, want) {
			return true
		}
	}
	return false
}

// still says whether no thread of a process runs: each is stopped, has ended, or waits
// in the kernel, out of which it comes stopped.
func still(pid int) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return true // a bad pattern, which it is not
	}
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		// proc(5): the state stands after the name, which may hold anything.
		if i := bytes.LastIndexByte(b, ')'); err == nil && i >= 0 && i+2 < len(b) && !bytes.ContainsRune([]byte("TtZXxD"), rune(b[i+2])) {
			return false
		}
	}
	return true
}
