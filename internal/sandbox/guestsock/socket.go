// Package guestsock is the unix socket by which a gateway reaches a guest on the
// same host: made by the host, in a folder that no sandbox sees.
package guestsock

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Name is the socket's file name in its folder.
const Name = "guest.sock"

// A socket's address holds 107 bytes and data directories can be long. So both
// sides name the socket through a descriptor of its folder.
func socketPath(dir *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), Name)
}

func openDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Listen makes the guest's socket in the folder and returns it listening. From
// here on Dial queues. Closing the file does not remove the socket.
func Listen(dirPath string) (*os.File, error) {
	dir, err := openDir(dirPath)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("guest socket: %w", err)
	}
	sock := os.NewFile(uintptr(fd), Name)
	path := socketPath(dir)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		// The folder is closed to others; the mode is the second lock.
		err = os.Chmod(filepath.Join(dirPath, Name), 0o600)
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

// Dial connects to the socket in the folder. No link is followed to the folder.
func Dial(ctx context.Context, dirPath string) (net.Conn, error) {
	dir, err := openDir(dirPath)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d net.Dialer
	return d.DialContext(ctx, "unix", socketPath(dir))
}
