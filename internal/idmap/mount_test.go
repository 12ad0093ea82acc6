package idmap

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// What Try finds is what a mount does: where it says yes, files are shown with
// the ids of the map; on a file system that cannot, and without root, it says no.
func TestTryIsTrue(t *testing.T) {
	dir := t.TempDir()
	err := Try(dir)
	if os.Geteuid() != 0 {
		if err == nil {
			t.Error("an account that is not root may map a mount's ids")
		}
		return
	}
	if Try("/proc") == nil {
		t.Error("/proc takes idmapped mounts")
	}
	var refused *os.PathError // by the file system; all else is our own mistake
	if errors.As(err, &refused) && refused.Op == "mount_setattr" {
		t.Skipf("this file system cannot be mounted idmapped (%v); put TMPDIR on ext4, xfs, btrfs or, with Linux 6.3, tmpfs", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
	const uidRange = 3
	mid, first := station.SandboxUID, station.HostUID(uidRange, 0)
	shown(t, dir, uidRange, false, map[int]int{mid: first + mid, first: first, first + mid + 1: first + mid + 1})
	shown(t, dir, uidRange, true, map[int]int{mid: first + mid, 0: first, station.UIDRangeSize - 1: first + station.UIDRangeSize - 1})
}

// shown gives a folder to each id and looks who it belongs to when it is mounted
// as a home or as an image.
func shown(t *testing.T, dir string, uidRange int, image bool, want map[int]int) {
	t.Helper()
	ids := HomeIDs(uidRange)
	if image {
		ids = ImageIDs(uidRange)
	}
	space, err := Namespace(ids)
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close()
	for on, seen := range want {
		path := filepath.Join(dir, "of")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(path, on, on); err != nil {
			t.Fatal(err)
		}
		fd, err := Tree(path, space, 0)
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || int(st.Uid) != seen || int(st.Gid) != seen {
			t.Errorf("image %v: what is %d on disk is shown as %d:%d, want %d (%v)", image, on, st.Uid, st.Gid, seen, err)
		}
		unix.Close(fd)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
