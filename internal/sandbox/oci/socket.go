package oci

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

const socketName = "guest.sock"

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

// listen makes the guest's socket in dir and returns it listening. From here on
// Dial queues. Closing the file does not remove the socket.
func listen(dirPath string) (*os.File, error) {
	dir, err := openDir(dirPath)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("guest socket: %w", err)
	}
	sock := os.NewFile(uintptr(fd), socketName)
	path := socketPath(dir)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		// The folder is closed to others; the mode is the second lock.
		err = os.Chmod(filepath.Join(dirPath, socketName), 0o600)
	}
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		sock.Close()
		return nil, fmt.Errorf("guest socket: %w", err)
	}
	return sock, nil
}

// Dial connects to the guest's socket. The error wraps station.ErrUnavailable
// when no guest listens.
func (r *Runtime) Dial(ctx context.Context, session station.ID) (net.Conn, error) {
	gone := func(err error) (net.Conn, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, station.Errorf(station.ErrUnavailable, "no_guest", "The session has no running sandbox; wake it.").Because(err)
	}
	if !session.Valid() {
		return gone(fmt.Errorf("bad session id %q", session))
	}
	dir, err := openDir(r.dir(session))
	if err != nil {
		return gone(err)
	}
	defer dir.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socketPath(dir))
	if err != nil {
		return gone(err)
	}
	return conn, nil
}
