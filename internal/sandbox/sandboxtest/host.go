package sandboxtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"staithe/internal/hostproc"
)

// pids lists the host's processes.
func pids(t testing.TB) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// pidNamespace names a process's pid namespace. It is kept open until the test
// ends: the kernel gives the number of one that has gone to the next.
func pidNamespace(t testing.TB, pid int) string {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	ns, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// processesIn lists the processes of a pid namespace. What has ended and waits
// for the host's init to take note is none.
func processesIn(t testing.TB, ns string) []int {
	t.Helper()
	var out []int
	for _, pid := range pids(t) {
		got, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		if err != nil || got != ns {
			continue
		}
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil && !strings.Contains(string(status), "\nState:\tZ") {
			out = append(out, pid)
		}
	}
	return out
}

// family is a process and all that descend from it, as the host sees them.
func family(t testing.TB, pid int) []hostproc.Process {
	t.Helper()
	children := map[int][]int{}
	for _, p := range pids(t) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue // gone meanwhile
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		parent, err := strconv.Atoi(f[1])
		if err != nil {
			t.Fatal(err)
		}
		children[parent] = append(children[parent], p)
	}
	var out []hostproc.Process
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		if p, err := hostproc.Note(todo[0]); err == nil {
			out = append(out, p)
		}
		todo = append(todo, children[todo[0]]...)
	}
	return out
}

// hostMounts lists where something is mounted on the host, but for what other
// packages' tests mount and unmount meanwhile in their temporary folders.
func hostMounts(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	temporary, own := filepath.Clean(os.TempDir())+"/", filepath.Dir(t.TempDir())+"/"
	var out []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 4 && (!strings.HasPrefix(f[4], temporary) && !strings.HasPrefix(f[4], "/tmp/") || strings.HasPrefix(f[4], own)) {
			out = append(out, f[4])
		}
	}
	return out
}
