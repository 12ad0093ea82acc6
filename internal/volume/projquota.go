package volume

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Project quotas: each home is a project, whose number every file made in it
// inherits; the kernel counts and refuses. ext4 with the features project and
// quota mounted with prjquota, XFS mounted with pquota. See quotactl(2),
// ioctl_xfs_fsgetxattr(2) and the kernel's include/uapi/linux/{quota,fs}.h.

const (
	fsIocFSGetXattr    = 0x801c581f // _IOR('X', 31, struct fsxattr)
	fsIocFSSetXattr    = 0x401c5820 // _IOW('X', 32, struct fsxattr)
	fsXflagProjInherit = 0x200

	prjQuota     = 2
	qGetQuota    = 0x800007
	qSetQuota    = 0x800008
	qXGetQStatV  = 0x5808 // XQM_CMD(8)
	qifLimits    = 1 | 4  // QIF_BLIMITS, QIF_ILIMITS
	prjEnforced  = 1 << 5 // FS_QUOTA_PDQ_ENFD
	prjAccounted = 1 << 4 // FS_QUOTA_PDQ_ACCT
	quotaBlock   = 1024   // QIF_DQBLKSIZE
)

// fsxattr is struct fsxattr.
type fsxattr struct {
	Xflags, Extsize, Nextents, Projid, Cowextsize uint32
	_                                             [8]byte
}

// dqblk is struct if_dqblk; block limits are in units of quotaBlock, space in
// bytes.
type dqblk struct {
	BHard, BSoft, Space  uint64
	IHard, ISoft, Inodes uint64
	BTime, ITime         uint64
	Valid                uint32
	_                    uint32
}

// quotaStat is struct fs_quota_statv, of which the head matters here.
type quotaStat struct {
	Version int8
	_       uint8
	Flags   uint16
	_       [156]byte
}

func quotactl(fd int, cmd uint32, id uint32, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, uintptr(fd), uintptr(cmd<<8|prjQuota), uintptr(id), uintptr(arg), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// projectQuota says why a folder's file system has no project quota in force;
// nil when it has.
func projectQuota(fd int) error {
	st := quotaStat{Version: 1}
	if err := quotactl(fd, qXGetQStatV, 0, unsafe.Pointer(&st)); err != nil {
		return fmt.Errorf("ask for project quotas: %w", err)
	}
	if st.Flags&(prjEnforced|prjAccounted) != prjEnforced|prjAccounted {
		return errors.New("project quotas are not enforced (mount with prjquota)")
	}
	return nil
}

// setProjectLimit bounds a project; 0 is no limit.
func setProjectLimit(fd int, project uint32, bytes, files int64) error {
	// Rounded up: a limit under a block would be none.
	d := dqblk{BHard: (uint64(bytes) + quotaBlock - 1) / quotaBlock, IHard: uint64(files), Valid: qifLimits}
	if err := quotactl(fd, qSetQuota, project, unsafe.Pointer(&d)); err != nil {
		return fmt.Errorf("set the project's quota: %w", err)
	}
	return nil
}

// projectUsage is what a project uses.
func projectUsage(fd int, project uint32) (bytes, files int64, err error) {
	var d dqblk
	if err := quotactl(fd, qGetQuota, project, unsafe.Pointer(&d)); errors.Is(err, unix.ENOENT) {
		return 0, 0, nil // XFS: nothing charged yet
	} else if err != nil {
		return 0, 0, fmt.Errorf("read the project's quota: %w", err)
	}
	return int64(d.Space), int64(d.Inodes), nil
}

func getXattr(fd int) (x fsxattr, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocFSGetXattr, uintptr(unsafe.Pointer(&x)))
	if errno != 0 {
		return x, fmt.Errorf("read the project: %w", errno)
	}
	return x, nil
}

// setProject puts one open file or folder into a project. What is made in a
// folder later is in it too. Nobody in a sandbox can change it: that takes the
// host's own user namespace.
func setProject(fd int, project uint32, folder bool) error {
	x, err := getXattr(fd)
	if err != nil {
		return err
	}
	x.Projid = project
	if folder {
		x.Xflags |= fsXflagProjInherit
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocFSSetXattr, uintptr(unsafe.Pointer(&x)))
	if errno != 0 {
		return fmt.Errorf("set the project: %w", errno)
	}
	return nil
}

// inProject says whether a home's top folder is in its project already.
func inProject(fd int, project uint32) bool {
	x, err := getXattr(fd)
	return err == nil && x.Projid == project && x.Xflags&fsXflagProjInherit != 0
}

// joinProject puts a home and all that is in it into a project: the top comes
// last, so that one cut off is done again. Links and devices stay outside: they
// hold no bytes worth counting.
func joinProject(ctx context.Context, home int, project uint32) error {
	if inProject(home, project) {
		return nil
	}
	_, err := measureDir(ctx, home, 0, func(dir int, name string) error {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil // gone or swapped meanwhile
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("look at a file: %w", err)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			return setProject(fd, project, true)
		case unix.S_IFREG:
			return setProject(fd, project, false)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return setProject(home, project, true)
}
