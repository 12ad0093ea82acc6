package guestsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A guest whose kernel cannot accept connections on a socket of the host's
// (gVisor) makes the socket itself, in a folder of the host's that it is given
// for that. As soon as the socket is there, the folder is taken back: from then
// on nobody in the sandbox, its root neither, can put another there.

// MakeFolder makes the folder, which belongs to owner, the sandbox's root on the
// host, until the first dial.
func MakeFolder(dirPath string, owner int) error {
	if err := os.Mkdir(dirPath, 0o700); err != nil {
		return err
	}
	return os.Lchown(dirPath, owner, owner)
}

// AwaitMade waits until the guest listens in the folder, and takes that back. It
// gives up when alive says that the guest has ended.
func AwaitMade(ctx context.Context, dirPath string, alive func() bool) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		conn, err := DialMade(ctx, dirPath)
		if err == nil {
			return conn.Close()
		}
		// Between bind and listen a connection is refused.
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
		if !alive() {
			return errors.New("the guest ended before it listened")
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// DialMade connects to a socket that a guest made in the folder. What a sandbox
// made is not trusted: no link is followed, and nothing but a socket is opened.
func DialMade(ctx context.Context, dirPath string) (net.Conn, error) {
	dir, err := openDir(dirPath)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), Name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(dirPath, Name), Err: err}
	}
	sock := os.NewFile(uintptr(fd), Name)
	defer sock.Close()
	info, err := sock.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("%s is no socket", filepath.Join(dirPath, Name))
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, err
	}
	if err := seal(dir); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// seal makes the folder this process's own. A gateway that was killed before it
// did so leaves it to the next one that dials.
func seal(dir *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return fmt.Errorf("the guest's folder: %w", err)
	}
	if int(st.Uid) == os.Geteuid() {
		return nil
	}
	if err := unix.Fchownat(int(dir.Fd()), "", os.Geteuid(), os.Getegid(), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("take the guest's folder back: %w", err)
	}
	return nil
}
