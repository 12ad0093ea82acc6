// Package jail runs one program that reads or writes what users may control, in
// namespaces of its own, where it sees nothing but the files it is given.
//
// Start is the server's side. It starts the launcher (Main, in the small static
// staithe-backup), which makes an empty root, puts into it what the Spec names,
// gives up all rights but those of the Spec, and starts the program. The
// launcher is PID 1 in there: when it ends, so does all in it, and it ends
// when the server does, since it then reads the end of its standard input.
package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// Bind is a file or folder of the host that the program sees. Devices, setuid
// bits and, unless Exec, programs do not work in it.
type Bind struct {
	From  string `json:"from"`         // absolute; its last part is not followed when it is a link, unless Follow
	To    string `json:"to"`           // absolute
	File  int    `json:"fd,omitempty"` // instead of From: which of Spec.Files is its detached mount, counted from 1
	Write bool   `json:"write,omitempty"`
	Exec  bool   `json:"exec,omitempty"`
	// Follow is for what only the administrator can change, such as /etc/resolv.conf.
	Follow bool `json:"follow,omitempty"`
}

// Overlay puts a file over another that is in a bind, for this program alone. It
// is left out when there is no regular file there (any more). No link is
// followed on the way.
type Overlay struct {
	From string `json:"from"` // "": an empty file
	In   string `json:"in"`   // To of the bind
	To   []byte `json:"to"`   // from the bind's top; any bytes
}

// Spec is what to run and what it may see and do.
type Spec struct {
	// Root is a folder of the host over which the empty root is mounted, in the
	// jail's own view. It has to exist; what is in it does not matter.
	Root     string    `json:"root"`
	Host     string    `json:"host"` // its host name
	Binds    []Bind    `json:"binds"`
	Overlays []Overlay `json:"overlays,omitempty"`
	Args     []string  `json:"-"` // the first is the program's path inside; any bytes
	Env      []string  `json:"env"`
	// UID and GID are who the program is, when the server is root. Else it is the
	// server's account, which is station.SandboxUID inside.
	UID int `json:"uid,omitempty"`
	// Caps are the capabilities that it keeps, CAP_ numbers.
	Caps []uintptr `json:"caps,omitempty"`
	// HighPID gives the program a process number that one without HighPID does
	// not have in its own namespace.
	HighPID bool `json:"high_pid,omitempty"`
	// Alone takes the place of the launcher with the program, which may start no
	// other, nor threads, and opens no socket. Nobody sees to it that it ends with
	// the server: give it a Time.
	Alone bool `json:"alone,omitempty"`
	// Time is the most processor time, in seconds; 0: any.
	Time uint64 `json:"time,omitempty"`
	// Memory is the most address space, in bytes; 0: any.
	Memory uint64 `json:"memory,omitempty"`
	// Data is the most memory of its own, in bytes; 0: any.
	Data uint64 `json:"data,omitempty"`
	// FileSize is the most bytes of a file that it writes; 0: any.
	FileSize uint64 `json:"file_size,omitempty"`

	Net   bool       `json:"net,omitempty"` // the host's network; else none
	Files []*os.File `json:"-"`             // handed to the launcher; not to the program
	Held  []*os.File `json:"-"`             // as Files: kept open while anything in the jail runs
}

// wire is a spec on its way to the launcher. JSON's strings would change bytes that
// are not UTF-8.
type wire struct {
	Spec
	Args [][]byte `json:"args"`
}

const (
	specFD   = 3
	firstFD  = 4
	endAfter = 10 * time.Second // from being asked to end to being killed
)

// Check says why there can be no jail, with what to do; nil: there can.
func Check() error {
	if os.Geteuid() == 0 {
		return nil
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	asUser(cmd.SysProcAttr)
	cmd.SysProcAttr.Ptrace = true // it stops before its first instruction, and is killed there
	if err := cmd.Start(); err != nil {
		return station.Errorf(station.ErrUnavailable, "no_user_namespaces",
			"The server's account may not make user namespaces, which backups need to read homes safely; run as root: sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0, or run the server as root.").Because(err)
	}
	return errors.Join(cmd.Process.Kill(), ignoreExit(cmd.Wait()))
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// asUser starts a process in a user namespace where the server's account is
// station.SandboxUID, with the rights that the launcher needs.
func asUser(a *syscall.SysProcAttr) {
	a.Cloneflags |= unix.CLONE_NEWUSER
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: station.SandboxUID, HostID: os.Getuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: station.SandboxUID, HostID: os.Getgid(), Size: 1}}
	a.AmbientCaps = launcherCaps
}

// launcherCaps are what making a jail needs, and what programs may keep.
var launcherCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT, unix.CAP_SETPCAP, unix.CAP_DAC_READ_SEARCH,
	unix.CAP_DAC_OVERRIDE, unix.CAP_CHOWN, unix.CAP_FOWNER, unix.CAP_FSETID}

// Process is a program in its jail.
type Process struct {
	cmd  *exec.Cmd
	life io.Closer
}

// PID is the launcher's, on the host.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Wait waits for the program's end. What it used is in Usage.
func (p *Process) Wait() error {
	defer p.life.Close()
	return p.cmd.Wait()
}

// Usage is the processor time of the program, after Wait.
func (p *Process) Usage() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// Start runs a program by a launcher. When ctx ends it is asked to end, and
// killed when it does not.
func Start(ctx context.Context, launcher string, spec Spec, stdout, stderr io.Writer) (*Process, error) {
	config, err := memoryFile(spec)
	if err != nil {
		return nil, err
	}
	defer config.Close()
	cmd := exec.CommandContext(ctx, launcher)
	cmd.Args = []string{"staithe-backup"}
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.ExtraFiles = append(append([]*os.File{config}, spec.Files...), spec.Held...)
	attr := &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}
	if !spec.Net {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	if os.Geteuid() != 0 {
		asUser(attr)
	}
	cmd.SysProcAttr = attr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endAfter
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a jail: %w", err)
	}
	if err := cmd.Start(); err != nil {
		life.Close()
		return nil, fmt.Errorf("start a jail: %w", err)
	}
	return &Process{cmd: cmd, life: life}, nil
}

// memoryFile is the spec in memory, read from its beginning: it has secrets, that
// no other process should see.
func memoryFile(spec Spec) (*os.File, error) {
	w := wire{Spec: spec}
	for _, a := range spec.Args {
		w.Args = append(w.Args, []byte(a))
	}
	b, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode a jail: %w", err)
	}
	fd, err := unix.MemfdCreate("jail", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("describe a jail: %w", err)
	}
	f := os.NewFile(uintptr(fd), "jail")
	if _, err = f.Write(b); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("describe a jail: %w", err)
	}
	return f, nil
}
