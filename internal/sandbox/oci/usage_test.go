package oci

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What a program wrote counts as soon as it did, also when it ended and the file
// was deleted; one that has gone counts for nothing.
func TestWrittenIsWhatProgramsWrote(t *testing.T) {
	if _, err := os.Stat("/proc/self/io"); err != nil {
		t.Skipf("SKIPPED, what programs wrote: this kernel does not count it (CONFIG_TASK_IO_ACCOUNTING): %v", err)
	}
	dir := t.TempDir()
	if fsType(dir) == unix.TMPFS_MAGIC {
		t.Skip("SKIPPED, what programs wrote: the folder for tests is in memory; set TMPDIR to one on a disk")
	}
	cmd := exec.Command("/bin/sh", "-c", `dd if=/dev/zero of="$0" bs=1M count=3 2>/dev/null; rm "$0"; echo wrote; read gone`, filepath.Join(dir, "file"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if n := written([]int{cmd.Process.Pid, 1 << 30}); n < 3<<20 || n > 4<<20 {
		t.Errorf("%d bytes", n)
	}
}
