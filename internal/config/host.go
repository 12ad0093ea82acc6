package config

import (
	"fmt"
	"os"
	"strings"
)

// Host is what the defaults of classes depend on.
type Host struct {
	Memory int64 // bytes that this process's container, or the machine, has
}

// unknownMemory is assumed where neither /proc nor cgroups say.
const unknownMemory = 4 << 30

// readHost looks at the machine. root stands before the paths, for tests.
func readHost(root string) Host {
	h := Host{Memory: unknownMemory}
	if kib, ok := meminfo(root + "/proc/meminfo"); ok {
		h.Memory = kib * 1024
	}
	// In a container, the limit of the container counts. Both files are about
	// the root of the cgroup namespace; on a machine's own root there is none,
	// or a number beyond all memory.
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		var n int64
		if b, err := os.ReadFile(root + file); err == nil {
			if _, err := fmt.Sscan(string(b), &n); err == nil && n > 0 && n < h.Memory {
				h.Memory = n
			}
		}
	}
	return h
}

// meminfo is MemTotal in KiB.
func meminfo(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "MemTotal: %d kB", &kib); n == 1 && kib > 0 {
			return kib, true
		}
	}
	return 0, false
}
