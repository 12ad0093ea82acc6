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
)

// launch starts the process and waits until it is ready. Its record is written
// before it gets its configuration, without which it does nothing: should we be
// killed in between, it ends.
func (e *Egress) launch(ctx context.Context, spec Spec, sp spaces) error {
	dir := e.path(spec.Session)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, logName), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	sock, err := listen(dir)
	if err != nil {
		return err
	}
	defer sock.Close()
	ready, readyChild, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("ready pipe: %w", err)
	}
	defer ready.Close()
	defer readyChild.Close()
	config, err := json.Marshal(Config{Session: spec.Session, Policy: spec.Policy, ResolvConf: e.resolvConf, Path: e.wish,
		Owner: sp.owner != nil, Until: sp.until != nil})
	if err != nil {
		return fmt.Errorf("encode the configuration: %w", err)
	}

	stdin, feed, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("configuration pipe: %w", err)
	}
	defer stdin.Close()
	defer feed.Close()
	cmd := exec.Command(e.binary)
	cmd.Args = []string{"staithe-egress"}
	// The session is for those who look at the host's processes.
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "STAITHE_SESSION=" + string(spec.Session)}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, log, log
	cmd.ExtraFiles = []*os.File{readyChild, sock, sp.net, sp.owner, sp.until}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", e.binary, err)
	}
	readyChild.Close()
	stdin.Close()
	rec, err := newRecord(cmd.Process.Pid, sp.identity, e.wish)
	if err == nil {
		err = rec.write(dir)
	}
	if err != nil {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()         // that it was killed is no news
		return fmt.Errorf("record the process: %w%s", err, said(log))
	}
	// From here on the process is the record's, not ours to wait for.
	_ = cmd.Process.Release() // it only ever fails when called twice
	if _, err := feed.Write(config); err != nil {
		return fmt.Errorf("configure the process: %w%s", err, said(log))
	}
	feed.Close()
	r, err := waitReady(ctx, ready)
	if err != nil {
		return fmt.Errorf("%w%s", err, said(log))
	}
	e.log.Info("the session has its way out", "session", spec.Session, "path", r.Path, "not_kernel", r.Why)
	return nil
}

// waitReady reads what the process says once.
func waitReady(ctx context.Context, ready *os.File) (Ready, error) {
	stop := context.AfterFunc(ctx, func() { ready.Close() })
	defer stop()
	var r Ready
	if err := json.NewDecoder(io.LimitReader(ready, maxStatus)).Decode(&r); err != nil {
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
