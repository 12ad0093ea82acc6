package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/lockdown"
)

// failed is the launcher's exit code when it could not start the program.
const failed = 125

// Main is the launcher. It returns the exit code: the program's, 125 when there
// was no jail, 128 and the signal when one ended it.
func Main() int {
	code, err := launch()
	if err != nil {
		fmt.Fprintln(os.Stderr, "jail:", err)
		return failed
	}
	return code
}

func launch() (int, error) {
	runtime.LockOSThread() // rights are a thread's; the program is forked from this one
	if os.Getpid() != 1 {
		return 0, errors.New("not in namespaces of its own")
	}
	var w wire
	config := os.NewFile(specFD, "spec")
	if err := json.NewDecoder(config).Decode(&w); err != nil {
		return 0, fmt.Errorf("read what to run: %w", err)
	}
	if err := config.Close(); err != nil {
		return 0, err
	}
	spec := w.Spec
	for _, a := range w.Args {
		spec.Args = append(spec.Args, string(a))
	}
	if spec.Alone {
		if err := prepare(&spec); err != nil {
			return 0, err
		}
		return 0, become(&spec)
	}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the server does
		os.Exit(128 + int(syscall.SIGKILL))
	}()
	if err := prepare(&spec); err != nil {
		return 0, err
	}
	if spec.HighPID {
		burn()
	}
	if err := confine(&spec); err != nil {
		return 0, err
	}
	return run(&spec, ends)
}

// prepare makes the jail around this process and gives up what it must not have.
func prepare(spec *Spec) error {
	// What was handed over is for this process alone.
	if err := unix.CloseRange(firstFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep descriptors: %w", err)
	}
	if err := unix.Sethostname([]byte(spec.Host)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	// Before the server, and before what users run: all of it is done again.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil {
		return fmt.Errorf("be the first to go: %w", err)
	}
	if err := enter(spec); err != nil {
		return err
	}
	return restrain(spec)
}

// confine takes from this thread, and so from the program, the calls that it does
// not need. CAP_DAC_READ_SEARCH opens files by their handles, wherever they are on
// a disk of which any file is in the jail; a kernel's fault is reached by the
// calls there are.
func confine(spec *Spec) error {
	calls := slices.Clone(lockdown.Outside)
	if spec.Net {
		calls = slices.DeleteFunc(calls, func(call uint32) bool { return slices.Contains(network, call) })
	}
	return lockdown.Filter{Calls: calls}.Apply()
}

// network are the calls that a program with the network needs.
var network = []uint32{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND}

// run runs the program to its end.
func run(spec *Spec, ends <-chan os.Signal) (int, error) {
	cmd := &exec.Cmd{Path: spec.Args[0], Args: spec.Args, Env: spec.Env, Dir: "/", Stdout: os.Stdout, Stderr: os.Stderr}
	null, err := os.Open("/dev/null")
	if err != nil {
		return 0, err
	}
	defer null.Close()
	cmd.Stdin = null
	cmd.SysProcAttr = &syscall.SysProcAttr{AmbientCaps: spec.Caps, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		id := uint32(spec.UID)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: id, Gid: id}
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", spec.Args[0], err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case <-ends:
			_ = cmd.Process.Signal(syscall.SIGINT) // it may have ended
		case err := <-done:
			if err := ignoreExit(err); err != nil {
				return 0, err
			}
			ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if ws.Signaled() {
				return 128 + int(ws.Signal()), nil
			}
			return ws.ExitStatus(), nil
		}
	}
}

// burned is more than a launcher and a program without HighPID have of threads.
const burned = 400

// burn uses up the lowest process numbers of the namespace: each thread takes
// one.
func burn() {
	for range burned {
		var done sync.WaitGroup
		done.Add(1)
		go func() {
			runtime.LockOSThread() // so that it ends with its thread
			done.Done()
		}()
		done.Wait()
	}
}

// restrain gives up what the program must not have, and sets its limits.
func restrain(spec *Spec) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	keep := map[uintptr]bool{}
	for _, c := range spec.Caps {
		keep[c] = true
	}
	for c := uintptr(0); c <= 63; c++ {
		if keep[c] {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); errors.Is(err, unix.EINVAL) {
			break // the kernel has no more
		} else if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	if err := inherit(spec.Caps); err != nil {
		return err
	}
	limits := map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: 4096}
	if spec.Memory > 0 {
		limits[unix.RLIMIT_AS] = spec.Memory
	}
	if spec.Data > 0 {
		limits[unix.RLIMIT_DATA] = spec.Data
	}
	if spec.Time > 0 {
		limits[unix.RLIMIT_CPU] = spec.Time
	}
	if spec.FileSize > 0 {
		limits[unix.RLIMIT_FSIZE] = spec.FileSize
	}
	for what, n := range limits {
		var have unix.Rlimit
		if err := unix.Getrlimit(what, &have); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
		n = min(n, have.Max)
		if err := unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
	}
	if spec.Alone { // somebody waits for it
		return nil
	}
	return yieldToOthers()
}

// inherit makes the inheritable set those capabilities alone.
func inherit(caps []uintptr) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	for _, c := range caps {
		data[c/32].Inheritable |= 1 << (c % 32)
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

// yieldToOthers lets everything else go first: what runs here is never urgent.
func yieldToOthers() error {
	const (
		niceness    = 10
		whoThread   = 1         // IOPRIO_WHO_PROCESS, of this thread
		lowestOfUse = 2<<13 | 7 // best effort, the lowest: idle might never be served
	)
	have, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return fmt.Errorf("niceness: %w", err)
	}
	// The system call counts from 40 down. Who is nicer already may not go back.
	if 20-have < niceness {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, niceness); err != nil {
			return fmt.Errorf("niceness: %w", err)
		}
	}
	if _, _, e := unix.Syscall(unix.SYS_IOPRIO_SET, whoThread, 0, lowestOfUse); e != 0 && e != unix.ENOSYS {
		return fmt.Errorf("priority of input and output: %w", e)
	}
	return nil
}
