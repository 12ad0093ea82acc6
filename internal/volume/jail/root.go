package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is one that is nowhere yet.
type mount struct {
	fd     int
	folder bool
}

// enter makes the jail's root and makes it this process's. What was the root
// before is gone, also by descriptors: none of a folder is left open.
func enter(spec *Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	null, err := tree("/dev/null", unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return err
	}
	mounts := make([]mount, len(spec.Binds))
	for i, b := range spec.Binds { // all before the root is in the way of any
		if mounts[i], err = source(b); err != nil {
			return err
		}
	}
	overs := make([]mount, len(spec.Overlays))
	for i, o := range spec.Overlays {
		if o.From == "" {
			continue
		}
		if overs[i], err = source(Bind{From: o.From}); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", spec.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=16m,mode=755"); err != nil {
		return fmt.Errorf("make a root: %w", err)
	}
	if err := unix.Chdir(spec.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let the old root go: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := place(mount{fd: null}, "/dev/null"); err != nil {
		return err
	}
	for i, b := range spec.Binds {
		if err := place(mounts[i], b.To); err != nil {
			return err
		}
	}
	if err := cover(spec.Overlays, overs); err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &attr); err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	return nil
}

// tree makes a detached mount of a file or folder, without what is mounted in it.
func tree(path string, flags uint) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags)
	if err != nil {
		return -1, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	return fd, nil
}

// source makes a bind's mount.
func source(b Bind) (mount, error) {
	m := mount{fd: firstFD + b.File - 1}
	if b.File == 0 {
		flags := uint(unix.AT_SYMLINK_NOFOLLOW)
		if b.Follow {
			flags = 0
		}
		var err error
		if m.fd, err = tree(b.From, flags); err != nil {
			return m, err
		}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if !b.Exec {
		attr.Attr_set |= unix.MOUNT_ATTR_NOEXEC
	}
	if !b.Write {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(m.fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return m, fmt.Errorf("restrict the mount of %q: %w", b.To, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(m.fd, &st); err != nil {
		return m, err
	}
	m.folder = st.Mode&unix.S_IFMT == unix.S_IFDIR
	return m, nil
}

// place mounts at a path of the new root, which it makes.
func place(m mount, to string) error {
	dir := to
	if !m.folder {
		dir = filepath.Dir(to)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !m.folder {
		if err := os.WriteFile(to, nil, 0o444); err != nil {
			return err
		}
	}
	if err := unix.MoveMount(m.fd, "", unix.AT_FDCWD, to, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %q: %w", to, err)
	}
	return unix.Close(m.fd)
}

// cover puts files over others.
func cover(overlays []Overlay, with []mount) error {
	const empty = "/.empty"
	if len(overlays) == 0 {
		return nil
	}
	if err := os.WriteFile(empty, nil, 0o400); err != nil {
		return err
	}
	for i, o := range overlays {
		if o.From == "" {
			m, err := source(Bind{From: empty, To: empty})
			if err != nil {
				return err
			}
			with[i] = m
		}
		err := coverOne(o, with[i])
		if err := errors.Join(err, unix.Close(with[i].fd)); err != nil {
			return err
		}
	}
	return nil
}

func coverOne(o Overlay, m mount) error {
	in, err := unix.Open(o.In, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: o.In, Err: err}
	}
	defer unix.Close(in)
	path := strings.TrimPrefix(string(o.To), "/")
	on, err := unix.Openat2(in, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil // gone by now, or not what it was: the program sees what is there
	}
	defer unix.Close(on)
	for _, fd := range []int{on, m.fd} {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return nil
		}
	}
	err = unix.MoveMount(m.fd, "", on, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil && !errors.Is(err, unix.ENOENT) { // removed in between
		return fmt.Errorf("cover a file: %w", err)
	}
	return nil
}
