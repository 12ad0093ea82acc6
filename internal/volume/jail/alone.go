package jail

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// become makes the launcher the program, where that may start no other: what
// forbids that could not be taken back to start one. On success it does not return.
func become(spec *Spec) error {
	if unix.Getuid() == 0 {
		id := spec.UID
		if id == 0 {
			return fmt.Errorf("a program that is alone is never root")
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
			return fmt.Errorf("give up groups: %w", e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(id), uintptr(id), uintptr(id)); e != 0 {
			return fmt.Errorf("give up root: %w", e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(id), uintptr(id), uintptr(id)); e != 0 {
			return fmt.Errorf("give up root: %w", e)
		}
	}
	null, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	if err := unix.Dup3(null, 0, 0); err != nil {
		return err
	}
	if err := forbid(); err != nil {
		return err
	}
	return fmt.Errorf("start %s: %w", spec.Args[0], unix.Exec(spec.Args[0], spec.Args, spec.Env))
}

// forbidden is what a program that is alone cannot do: have a second process or
// thread, reach anybody, look at another's memory, or change what it sees.
var forbidden = append([]uint32{
	unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_IO_URING_SETUP,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN,
	unix.SYS_MOUNT_SETATTR, unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
}, forbiddenHere...)

// forbid has this thread, and what it executes, get EPERM for what is forbidden,
// and ends it for calls of another architecture. no_new_privs must be set.
func forbid() error {
	const (
		nr, arch = 0, 4 // of seccomp_data
		deny     = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	answer := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	prog := []unix.SockFilter{
		load(arch), jump(unix.BPF_JEQ, auditArch, 1, 0), answer(unix.SECCOMP_RET_KILL_PROCESS),
		load(nr), jump(unix.BPF_JGE, 0x40000000, 0, 1), answer(deny), // x32
	}
	for _, call := range forbidden {
		prog = append(prog, jump(unix.BPF_JEQ, call, 0, 1), answer(deny))
	}
	prog = append(prog, answer(unix.SECCOMP_RET_ALLOW))
	f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&f)))
	runtime.KeepAlive(prog)
	if e != 0 {
		return fmt.Errorf("forbid calls of the system: %w", e)
	}
	return nil
}
