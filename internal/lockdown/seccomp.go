// Package lockdown takes away from a process for good what it does not need: calls
// of the system (seccomp), and all files but those of a folder (Landlock). The
// kernel holds both. Of calls, those that are not named are left: what a process
// needs of files and memory differs from kernel to kernel and release to release.
package lockdown

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Outside are the calls with which a process reaches others, looks into them, or
// changes what it sees of the machine.
var Outside = []uint32{
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_IO_URING_SETUP,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN,
	unix.SYS_FSMOUNT, unix.SYS_MOUNT_SETATTR, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_REBOOT, unix.SYS_SETHOSTNAME,
}

// Exec are the calls that execute a program.
var Exec = []uint32{unix.SYS_EXECVE, unix.SYS_EXECVEAT}

// Fork are the calls that make a process or a thread; for a process that needs
// threads there is Processes.
var Fork = append([]uint32{unix.SYS_CLONE, unix.SYS_CLONE3}, forkHere...)

// Filter says what is taken away. It needs no_new_privs.
type Filter struct {
	Calls     []uint32 // these fail with EPERM
	Processes bool     // no new process; threads may be
	// Everyone is all threads of the process, else the calling one alone, and what
	// it makes and executes from then on.
	Everyone bool
}

const (
	nr, arch, arg0 = 0, 4, 16 // of seccomp_data
	deny           = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	// unknown makes a C library take clone, whose flags can be looked at.
	unknown = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

func answer(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }

func jump(op uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

// Apply takes the calls away. A process that calls by another architecture's
// numbers is ended.
func (f Filter) Apply() error {
	prog := []unix.SockFilter{
		load(arch), jump(unix.BPF_JEQ, auditArch, 1, 0), answer(unix.SECCOMP_RET_KILL_PROCESS),
		load(nr), jump(unix.BPF_JGE, 0x40000000, 0, 1), answer(deny), // x32
	}
	calls := f.Calls
	if f.Processes {
		calls = slices.Concat(calls, forkHere)
		prog = append(prog, jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), answer(unknown),
			jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4), load(arg0), jump(unix.BPF_JSET, unix.CLONE_THREAD, 0, 1), answer(unix.SECCOMP_RET_ALLOW), answer(deny))
	}
	for _, call := range calls {
		prog = append(prog, jump(unix.BPF_JEQ, call, 0, 1), answer(deny))
	}
	prog = append(prog, answer(unix.SECCOMP_RET_ALLOW))
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	flags := uintptr(0)
	if f.Everyone {
		flags = unix.SECCOMP_FILTER_FLAG_TSYNC
	}
	thread, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(prog)
	if e != 0 {
		return fmt.Errorf("take calls of the system away: %w", e)
	}
	if thread != 0 {
		return fmt.Errorf("take calls of the system away: thread %d has a filter of its own", thread)
	}
	return nil
}
