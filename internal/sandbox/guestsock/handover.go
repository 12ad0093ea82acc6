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

// HandName is the file name of the socket by which a guest that cannot inherit
// its listening socket is given it.
const HandName = "hand.sock"

// look is how often HandOver looks whether the guest still lives.
const look = 50 * time.Millisecond

// Hand is a socket on which one guest is given its listening socket. A daemon
// starts the guest, so it inherits nothing; the folder of the Hand is mounted
// read-only into the sandbox instead, and is empty again before anything but the
// guest runs there. The guest's own socket stays where no sandbox sees it.
type Hand struct {
	l    *net.UnixListener
	path string
}

// NewHand makes the folder and the socket in it.
func NewHand(dirPath string) (*Hand, error) {
	if err := os.Mkdir(dirPath, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dirPath, 0o755); err != nil { // whatever the umask
		return nil, err
	}
	dir, err := openDir(dirPath)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), HandName)})
	if err != nil {
		return nil, fmt.Errorf("hand-over socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // by that name it is gone when dir is closed
	h := &Hand{l, filepath.Join(dirPath, HandName)}
	// Whichever uid the guest is on the host; who it is, its pid says.
	if err := os.Chmod(h.path, 0o666); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Close removes the socket.
func (h *Hand) Close() error {
	err := h.l.Close()
	if e := os.Remove(h.path); e != nil && !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// Over gives sock to the process pid and to no other, and returns when it has
// it, or when alive says that it has ended.
func (h *Hand) Over(ctx context.Context, sock *os.File, pid int, alive func() bool) error {
	for {
		if err := h.l.SetDeadline(time.Now().Add(look)); err != nil {
			return err
		}
		conn, err := h.l.AcceptUnix()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if !alive() {
				return errors.New("the guest ended before it took its socket")
			}
			continue
		case err != nil:
			return fmt.Errorf("hand-over socket: %w", err)
		}
		peer, err := Peer(conn)
		if err == nil && int(peer.Pid) == pid {
			_, _, err = conn.WriteMsgUnix([]byte{1}, unix.UnixRights(int(sock.Fd())), nil)
		}
		conn.Close()
		if err != nil {
			return fmt.Errorf("hand the socket over: %w", err)
		}
		if int(peer.Pid) == pid {
			return nil
		}
	}
}

// Peer says who made the other end of a unix socket, as the kernel knows it.
func Peer(conn *net.UnixConn) (cred *unix.Ucred, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return nil, err
	}
	return cred, failed
}
