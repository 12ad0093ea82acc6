package egress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// process is a way out's process that has no configuration yet: it has set itself
// up as far as it can without one and waits. When the control socket is closed,
// also by our death, it ends.
type process struct {
	cmd     *exec.Cmd
	control *os.File // a stream socket, see Config
	log     *os.File // what it writes on standard error
}

// launch makes the session's folder and starts its process.
func (e *Egress) launch(id station.ID) (_ *process, err error) {
	dir := e.path(id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, logName), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			log.Close()
		}
	}()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(pair[0], true) // our end waits with a deadline
	}
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	control, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	cmd := exec.Command(e.binary)
	cmd.Args = []string{"staithe-egress"}
	// The session is for those who look at the host's processes.
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "STAITHE_SESSION=" + string(id)}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		control.Close()
		return nil, fmt.Errorf("start %s: %w", e.binary, err)
	}
	return &process{cmd, control, log}, nil
}

// kill ends a process that was not configured.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()         // that it was killed is no news
}

// configure gives the process its sandbox and waits until that has its network.
// Its record is written before: should we be killed in between, the process ends.
func (e *Egress) configure(ctx context.Context, p *process, spec Spec, sp spaces) (err error) {
	defer p.log.Close()
	defer p.control.Close()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w%s", err, said(p.log))
		}
	}()
	sock, err := e.record(p, spec.Session, sp.identity)
	if err != nil {
		p.kill()
		return err
	}
	defer sock.Close()
	// From here on the process is the record's, not ours to wait for.
	_ = p.cmd.Process.Release() // it only ever fails when called twice
	config, err := json.Marshal(Config{Session: spec.Session, Policy: spec.Policy, ResolvConf: e.resolvConf, Path: e.wish,
		Owner: sp.owner != nil, Until: sp.until != nil})
	if err != nil {
		return fmt.Errorf("encode the configuration: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { p.control.Close() })
	defer stop()
	if err := hand(p.control, config, sock, sp.net, sp.owner, sp.until); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("configure the process: %w", err)
	}
	r, err := waitReady(ctx, p.control)
	if err != nil {
		return err
	}
	e.log.Info("the session has its way out", "session", spec.Session, "path", r.Path, "not_kernel", r.Why)
	return nil
}

// record makes the status socket and writes down which process serves it.
func (e *Egress) record(p *process, id station.ID, netns string) (*os.File, error) {
	dir := e.path(id)
	sock, err := listen(dir)
	if err != nil {
		return nil, err
	}
	rec, err := newRecord(p.cmd.Process.Pid, netns, e.wish)
	if err == nil {
		err = rec.write(dir)
	}
	if err != nil {
		sock.Close()
		return nil, fmt.Errorf("record the process: %w", err)
	}
	return sock, nil
}

// hand sends the configuration and, with its first byte, the descriptors that
// there are.
func hand(control *os.File, config []byte, files ...*os.File) error {
	var fds []int
	for _, f := range files {
		if f != nil {
			fds = append(fds, int(f.Fd()))
		}
	}
	raw, err := control.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), config[:1], unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
		return !errors.Is(sent, unix.EAGAIN)
	})
	if err = errors.Join(err, sent); err != nil {
		return err
	}
	_, err = control.Write(config[1:])
	return err
}

// waitReady reads what the process says once. When ctx ends, somebody closes the
// socket.
func waitReady(ctx context.Context, control *os.File) (Ready, error) {
	var r Ready
	if err := json.NewDecoder(io.LimitReader(control, maxStatus)).Decode(&r); err != nil {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		return r, fmt.Errorf("the process ended before it was ready: %w", err)
	}
	if r.Failed != "" {
		return r, errors.New(r.Failed)
	}
	return r, nil
}

// said is the end of what the process wrote, for the log.
func said(log *os.File) string {
	const enough = 2048
	buf := make([]byte, enough)
	info, err := log.Stat()
	if err != nil {
		return ""
	}
	n, _ := log.ReadAt(buf, max(0, info.Size()-enough)) // what could be read is shown
	if n == 0 {
		return ""
	}
	return ": " + strings.TrimSpace(string(buf[:n]))
}

// A socket's address holds 107 bytes and data directories can be long. So both
// sides name the socket through a descriptor of its folder.
func socketPath(dir *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName)
}

func openDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// listen makes the status socket in dir, in a folder that is closed to others.
func listen(path string) (*os.File, error) {
	dir, err := openDir(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	sock := os.NewFile(uintptr(fd), socketName)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: socketPath(dir)})
	if err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		sock.Close()
		return nil, fmt.Errorf("status socket: %w", err)
	}
	return sock, nil
}
