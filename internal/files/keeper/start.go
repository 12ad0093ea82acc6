package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/files/helper"
	"staithe/internal/hostproc"
	"staithe/internal/idmap"
)

// start starts a helper. The caller holds the workstation's lock, and has found
// none that answers.
func (k *Keeper) start(home Home, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	lock, err := takeLock(filepath.Join(dir, lockName))
	if err != nil {
		return err
	}
	defer lock.Close()
	sock, err := listen(dir)
	if err != nil {
		return err
	}
	defer sock.Close()
	log, err := os.OpenFile(filepath.Join(dir, logName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cfg := helper.Config{Version: k.o.Version, Home: home.Path, Inside: home.Inside, Idle: int(k.o.Idle.Seconds())}
	cmd := exec.Command(k.o.Binary)
	cmd.Args = []string{"staithe-files"}
	cmd.Env, cmd.Dir = []string{"STAITHE_WORKSTATION=" + string(home.Workstation.ID)}, "/" // for those who look at the host's processes
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	mount := lock // nothing is mounted: the place is only filled
	if k.root {
		if mount, cfg.UID, err = idmap.HomeTree(home.Workstation, home.Path); err != nil {
			return err
		}
		defer mount.Close()
		cmd.SysProcAttr.Cloneflags = helper.Namespaces
	}
	cmd.ExtraFiles = []*os.File{helper.ListenFD - 3: sock, helper.HomeFD - 3: mount, helper.LockFD - 3: lock}
	config, err := configFile(cfg)
	if err != nil {
		return err
	}
	defer config.Close()
	cmd.Stdin = config
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", k.o.Binary, err)
	}
	rec, err := hostproc.Note(cmd.Process.Pid)
	if err == nil {
		err = hostproc.WriteRecord(filepath.Join(dir, recordName), rec)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("record the helper: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	// It may outlive this process. While this one lives it is reaped here.
	go func() { _ = cmd.Wait() }() // why it ended is in its log
	return nil
}

// takeLock takes what a helper holds while it lives, as it inherits the open file:
// two at once would take what the other is making for left over.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("a helper that does not answer still runs: %w", err)
	}
	return f, nil
}

// listen makes the helper's socket anew.
func listen(path string) (*os.File, error) {
	dir, err := openDir(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := unix.Unlinkat(int(dir.Fd()), socketName, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("files socket: %w", err)
	}
	sock := os.NewFile(uintptr(fd), socketName)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: socketPath(dir)})
	if err == nil {
		err = unix.Listen(fd, 64)
	}
	if err != nil {
		sock.Close()
		return nil, fmt.Errorf("files socket: %w", err)
	}
	return sock, nil
}

// configFile is a configuration in memory, that is read from its beginning.
func configFile(cfg helper.Config) (*os.File, error) {
	b, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("encode the configuration: %w", err)
	}
	fd, err := unix.MemfdCreate("config", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	f := os.NewFile(uintptr(fd), "config")
	if _, err = f.Write(b); err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return f, nil
}
