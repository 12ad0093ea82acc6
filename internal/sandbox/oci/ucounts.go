package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// nsenterLimit bounds a step that takes 3 ms.
const nsenterLimit = 10 * time.Second

// limitNamespace writes the limits that the kernel keeps per user namespace
// (namespaces(7), /proc/sys/user): inotify's, and that no further user
// namespace is made below. They must be written by a process in that namespace
// which has CAP_SYS_RESOURCE there; the sandbox's own have not, so one of the
// host's goes in, and no further: its files and processes stay the host's. Only
// a process with a single thread may do that, which no Go program is.
func limitNamespace(ctx context.Context, pid int, b bounds) error {
	ctx, cancel := context.WithTimeout(ctx, nsenterLimit)
	defer cancel()
	ns, err := openUserNS(ctx, pid)
	if err != nil {
		return fmt.Errorf("limit the sandbox's user namespace: %w", err)
	}
	defer ns.Close()
	var script strings.Builder
	for name, value := range map[string]int{
		"max_inotify_watches": b.watches, "max_inotify_instances": b.instances, "max_user_namespaces": 0,
	} {
		fmt.Fprintf(&script, "echo %d > /proc/sys/user/%s || exit 1\n", value, name)
	}
	cmd := exec.CommandContext(ctx, "nsenter", "--user=/proc/self/fd/3", "/bin/sh", "-c", script.String())
	cmd.ExtraFiles = []*os.File{ns}
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("limit the sandbox's user namespace: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// openUserNS opens a process's user namespace, which must not be the host's: its
// limits would be. A server that is not root may not before the engine's process
// has become the guest, which an engine does not wait for.
func openUserNS(ctx context.Context, pid int) (*os.File, error) {
	var own, its unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &own); err != nil {
		return nil, err
	}
	for {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
		if errors.Is(err, fs.ErrPermission) {
			select {
			case <-time.After(time.Millisecond):
				continue
			case <-ctx.Done():
				return nil, errors.Join(ctx.Err(), err)
			}
		}
		if err != nil {
			return nil, err
		}
		if err := unix.Fstat(int(f.Fd()), &its); err != nil || its.Ino == own.Ino {
			f.Close()
			return nil, fmt.Errorf("process %d is in the host's user namespace (%v)", pid, err)
		}
		return f, nil
	}
}
