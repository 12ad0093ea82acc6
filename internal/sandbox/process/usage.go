package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// memory is what a process alone holds, in bytes: RssAnon of
// /proc/PID/status. What it shares with others, its programs' text, is left out.
func memory(pid int) int64 {
	return 1024 * field(fmt.Sprintf("/proc/%d/status", pid), "RssAnon:")
}

// disk is what a process and its ended children read from and wrote to disks.
func disk(pid int) (read, written int64) {
	path := fmt.Sprintf("/proc/%d/io", pid)
	return field(path, "read_bytes:"), field(path, "write_bytes:")
}

// field is the number after a name in one of the kernel's files; 0 when the
// process is gone or may not be looked into.
func field(path, name string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64) // the kernel's own number
			return n
		}
	}
	return 0
}
