package hostproc

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// On a disk that has room for no file more, a record can be changed still: who
// cleans up has to start a session for it.
func TestRecordOnAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, a full disk: needs root to mount a small file system; run the tests as root")
	}
	dir := t.TempDir()
	if err := unix.Mount("small", dir, "tmpfs", 0, "size=64k,nr_inodes=2"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "record.json")
	if err := os.WriteFile(path, []byte(`{"pid":1,"start":123456789,"boot":"longer than the next"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "more"), nil, 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if err := WriteRecord(path, Process{PID: 2}); err != nil {
		t.Fatal(err)
	}
	if p, err := ReadRecord[Process](path); err != nil || p != (Process{PID: 2}) {
		t.Errorf("%+v %v", p, err)
	}
	if err := WriteRecord(filepath.Join(dir, "new.json"), Process{PID: 2}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a new one: %v", err)
	}
}
