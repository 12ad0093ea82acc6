package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A probe tries one attack and prints "denied: WHY" with exit 0 when the kernel
// refused it, or "ALLOWED" with exit 1.
func probe(name string, args []string) {
	attack, ok := attacks[name]
	if !ok {
		fmt.Println("no such probe:", name)
		os.Exit(2)
	}
	err := attack(args)
	if err == nil {
		fmt.Println("ALLOWED:", name)
		os.Exit(1)
	}
	fmt.Println("denied:", err)
}

var attacks = map[string]func(args []string) error{
	"ptrace-attach": func(a []string) error { return unix.PtraceAttach(pidOf(a)) },
	"ptrace-seize":  func(a []string) error { return unix.PtraceSeize(pidOf(a)) },
	"read-memory":   readMemory,
	"open-mem": func(a []string) error {
		f, err := os.OpenFile("/proc/"+a[0]+"/mem", os.O_RDWR, 0)
		if err == nil {
			f.Close()
		}
		return err
	},
	"pidfd-getfd": func(a []string) error {
		fd, err := unix.PidfdOpen(pidOf(a), 0)
		if err != nil {
			return err
		}
		_, err = unix.PidfdGetfd(fd, 3, 0)
		return err
	},
	"kill":          func(a []string) error { return unix.Kill(pidOf(a), unix.SIGKILL) },
	"af-alg":        socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0),
	"af-vsock":      socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0),
	"af-packet":     socket(unix.AF_PACKET, unix.SOCK_RAW, 0x0300),
	"raw-ip":        socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
	"raw-ip6":       socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6),
	"socketcall-32": socketcall32,
	"userfaultfd":   func([]string) error { return raw(unix.SYS_USERFAULTFD, 0, 0, 0) },
	"keyctl": func([]string) error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
		return err
	},
	"add-key": func([]string) error {
		_, err := unix.AddKey("user", "probe", []byte("x"), unix.KEY_SPEC_USER_KEYRING)
		return err
	},
	"bpf":             func([]string) error { return bpf() },
	"perf":            func([]string) error { return perf() },
	"io-uring":        func([]string) error { var p [256]byte; return raw(unix.SYS_IO_URING_SETUP, 1, addr(p[:]), 0) },
	"mount":           func([]string) error { return unix.Mount("x", "/tmp", "tmpfs", 0, "") },
	"remount-usr":     func([]string) error { return unix.Mount("", "/usr", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
	"umount-masked":   func([]string) error { return unix.Unmount("/proc/keys", unix.MNT_DETACH) },
	"fsopen":          func([]string) error { _, err := unix.Fsopen("tmpfs", 0); return err },
	"open-tree-clone": func([]string) error { _, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE); return err },
	"unshare-user":    func([]string) error { return unix.Unshare(unix.CLONE_NEWUSER) },
	"unshare-net":     func([]string) error { return unix.Unshare(unix.CLONE_NEWNET) },
	"clone-user":      func([]string) error { return raw(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0, 0) },
	"clone3-user":     clone3User,
	"setns": func(a []string) error {
		fd, err := unix.Open("/proc/"+a[0]+"/ns/user", unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return unix.Setns(fd, unix.CLONE_NEWUSER)
	},
	"setuid-0":    func([]string) error { return syscall.Setuid(0) },
	"setgroups":   func([]string) error { return syscall.Setgroups([]int{0, 5}) },
	"chroot":      func([]string) error { return unix.Chroot("/tmp") },
	"pivot":       func([]string) error { return unix.PivotRoot("/tmp", "/tmp") },
	"init-module": func([]string) error { return unix.InitModule([]byte{0}, "") },
	"sethostname": func([]string) error { return unix.Sethostname([]byte("x")) },
	"open-by-handle": func([]string) error {
		_, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, []byte{0, 0, 0, 0, 0, 0, 0, 0}), unix.O_RDONLY)
		return err
	},
	"mknod-mem":  func(a []string) error { return unix.Mknod(a[0], unix.S_IFCHR|0o666, int(unix.Mkdev(1, 1))) },
	"mknod-disk": func(a []string) error { return unix.Mknod(a[0], unix.S_IFBLK|0o666, int(unix.Mkdev(254, 0))) },
	// Only opens: were it allowed, the host would be the one to suffer.
	"open-write": func(a []string) error {
		f, err := os.OpenFile(a[0], os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return err
	},
	"create": func(a []string) error {
		f, err := os.OpenFile(a[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			f.Close()
		}
		return err
	},
	"read": func(a []string) error {
		f, err := os.Open(a[0])
		if err != nil {
			return err
		}
		defer f.Close()
		if n, err := f.Read(make([]byte, 1)); n == 0 {
			return fmt.Errorf("empty: %v", err)
		}
		return nil
	},
	"connect-unix": func(a []string) error { return dial("unix", a[0]) },
	"connect-tcp":  func(a []string) error { return dial("tcp", a[0]) },
	// The control: something that must work, so that a broken probe shows.
	"control": func([]string) error { return nil },
}

func pidOf(a []string) int {
	pid, err := strconv.Atoi(a[0])
	if err != nil {
		fmt.Println("bad pid", a)
		os.Exit(2)
	}
	return pid
}

func socket(family, kind, proto int) func([]string) error {
	return func([]string) error {
		fd, err := unix.Socket(family, kind, proto)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
}

func dial(network, address string) error {
	conn, err := net.Dial(network, address)
	if err == nil {
		conn.Close()
	}
	return err
}

func raw(nr, a, b, c uintptr) error {
	r, _, e := syscall.RawSyscall(nr, a, b, c)
	if e != 0 {
		return e
	}
	if nr == unix.SYS_CLONE && r == 0 {
		syscall.RawSyscall(unix.SYS_EXIT, 0, 0, 0) // the child of an allowed clone
	}
	return nil
}

func addr(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

func bpf() error {
	var attr [128]byte
	attr[0], attr[4], attr[8], attr[12] = 2, 4, 4, 1 // BPF_MAP_TYPE_ARRAY, 4-byte key and value, one entry
	return raw(unix.SYS_BPF, 0, addr(attr[:]), uintptr(len(attr)))
}

func perf() error {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
	_, err := unix.PerfEventOpen(&attr, 0, -1, -1, 0)
	return err
}

func clone3User([]string) error {
	var args [11]uint64
	args[0], args[4] = unix.CLONE_NEWUSER, uint64(unix.SIGCHLD)
	r, _, e := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args[0])), unsafe.Sizeof(args), 0)
	if e != 0 {
		return e
	}
	if r == 0 {
		syscall.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	}
	return nil
}

func readMemory(a []string) error {
	buf := make([]byte, 8)
	_, err := unix.ProcessVMReadv(pidOf(a), []unix.Iovec{{Base: &buf[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
	if errors.Is(err, unix.EFAULT) || errors.Is(err, unix.EIO) {
		return nil // the check passed; only the address was wrong
	}
	return err
}
