package idmap

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// HomeTree is a home as a mount that is nowhere yet, with the ids that a sandbox
// sees, nosuid, nodev and noexec, and the host uid that is the user there. The
// caller closes it. It needs root.
func HomeTree(ws station.Workstation, home string) (*os.File, int, error) {
	own := station.HostUID(ws.UIDRange, station.SandboxUID)
	var st unix.Stat_t
	if err := unix.Lstat(home, &st); err != nil {
		return nil, 0, &os.PathError{Op: "lstat", Path: home, Err: err}
	}
	const flags = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	switch int(st.Uid) {
	case station.SandboxUID:
		space, err := Namespace(HomeIDs(ws.UIDRange))
		if err != nil {
			return nil, 0, err
		}
		defer space.Close()
		fd, err := Tree(home, space, flags)
		if err != nil {
			return nil, 0, err
		}
		return os.NewFile(uintptr(fd), home), own, nil
	case own: // where homes cannot be mapped they are the user's own
		fd, err := unix.OpenTree(unix.AT_FDCWD, home, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			return nil, 0, &os.PathError{Op: "open_tree", Path: home, Err: err}
		}
		f := os.NewFile(uintptr(fd), home)
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: flags}); err != nil {
			f.Close()
			return nil, 0, &os.PathError{Op: "mount_setattr", Path: home, Err: err}
		}
		return f, own, nil
	}
	return nil, 0, fmt.Errorf("the home %s belongs to %d, who is not its user", home, st.Uid)
}
