package idmap

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// A server that is root mounts homes and images idmapped (mount_setattr(2),
// "ID-mapped mounts"; Linux 5.12): on disk their files have ids that say nothing
// of whose they are, and in a sandbox those of its user.

// HomeIDs is the map of a home: what is station.SandboxUID on disk is that of
// the user's range on the host, and all else of the range is itself. So what the
// sandbox's root makes never belongs to the host's root.
func HomeIDs(uidRange int) []syscall.SysProcIDMap {
	const mid = station.SandboxUID
	first := station.HostUID(uidRange, 0)
	return []syscall.SysProcIDMap{
		{ContainerID: mid, HostID: first + mid, Size: 1},
		{ContainerID: first, HostID: first, Size: mid},
		{ContainerID: first + mid + 1, HostID: first + mid + 1, Size: station.UIDRangeSize - mid - 1},
	}
}

// ImageIDs is the map of an image, whose files have the ids of the inside.
func ImageIDs(uidRange int) []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: station.HostUID(uidRange, 0), Size: station.UIDRangeSize}}
}

// Namespace makes a user namespace in which nothing runs. Only its map, of uids
// and gids alike, matters; a child has to hold it until the descriptor does.
func Namespace(ids []syscall.SysProcIDMap) (*os.File, error) {
	holder := exec.Command("/bin/sh", "-c", "read gone")
	holder.Env, holder.Dir = []string{}, "/"
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Setsid: true, Pdeathsig: syscall.SIGKILL}
	hold, err := holder.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	if err := holder.Start(); err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", holder.Process.Pid))
	hold.Close()
	_ = holder.Wait() // it fails to read a line, as meant
	if err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	return f, nil
}

// Tree is a detached mount of a folder, nodev, with the ids of a user namespace
// and further MOUNT_ATTR_ flags. It follows no link. The caller closes it.
func Tree(dir string, space *os.File, flags uint64) (fd int, err error) {
	fd, err = unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return -1, &os.PathError{Op: "open_tree", Path: dir, Err: err}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_NODEV | flags, Userns_fd: uint64(space.Fd())}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "mount_setattr", Path: dir, Err: err}
	}
	return fd, nil
}

// Try says whether the file system of a folder takes idmapped mounts here: nil
// when it does. It makes such a mount, attached nowhere, and drops it. It needs
// root.
func Try(dir string) error {
	space, err := Namespace(HomeIDs(0))
	if err != nil {
		return err
	}
	defer space.Close()
	fd, err := Tree(dir, space, unix.MOUNT_ATTR_NOSUID)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
