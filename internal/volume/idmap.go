package volume

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// idmaps remembers, by directory, what IDMapped found out.
var idmaps struct {
	sync.Mutex
	known map[string]error
}

// IDMapped says whether a directory's file system takes idmapped mounts here:
// nil when it does. It tries: it makes such a mount of a folder (attached
// nowhere) and looks at the owner shown (mount_setattr(2), "ID-mapped mounts";
// Linux 5.12). It needs root. What was found out for a directory is remembered
// until the process ends.
func IDMapped(dir string) error {
	idmaps.Lock()
	defer idmaps.Unlock()
	if err, ok := idmaps.known[dir]; ok {
		return err
	}
	err := tryIDMap(dir)
	if idmaps.known == nil {
		idmaps.known = map[string]error{}
	}
	idmaps.known[dir] = err
	return err
}

func tryIDMap(dir string) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("the server is not root")
	}
	probe, err := os.MkdirTemp(dir, ".idmap-")
	if err != nil {
		return fmt.Errorf("make a folder to try: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(probe)) }()
	if err := os.Lchown(probe, station.SandboxUID, station.SandboxUID); err != nil {
		return fmt.Errorf("give the folder to uid %d: %w", station.SandboxUID, err)
	}
	ns, end, err := userNamespace()
	if err != nil {
		return err
	}
	defer end()
	tree, err := unix.OpenTree(unix.AT_FDCWD, probe, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("clone the mount: %w", err)
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("map the mount's ids: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(tree, &st); err != nil {
		return fmt.Errorf("look at the mapped folder: %w", err)
	}
	if want := station.HostUID(0, station.SandboxUID); int(st.Uid) != want || int(st.Gid) != want {
		return fmt.Errorf("the mapped folder belongs to %d:%d, not %d", st.Uid, st.Gid, want)
	}
	return nil
}

// userNamespace makes a user namespace with the first range's mapping, held by
// a program that waits for end.
func userNamespace() (ns *os.File, end func(), err error) {
	path, err := exec.LookPath("cat")
	if err != nil {
		path = "/bin/cat" // a service may have no PATH
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: station.HostUID(0, 0), Size: station.UIDRangeSize}}
	cmd := exec.Command(path)
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Setsid: true, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("make a user namespace: %w", err)
	}
	ns, err = os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	if err != nil {
		closeAndWait(in, cmd)
		return nil, nil, fmt.Errorf("open the user namespace: %w", err)
	}
	return ns, func() { ns.Close(); closeAndWait(in, cmd) }, nil
}

// closeAndWait ends a program that reads to the end of its input. How it ended
// says nothing.
func closeAndWait(in io.Closer, cmd *exec.Cmd) {
	in.Close()
	_ = cmd.Wait()
}
