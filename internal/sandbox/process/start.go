package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/hostproc"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/confine"
	"staithe/internal/sandbox/guestsock"
	"staithe/internal/sandbox/hostbase"
	"staithe/internal/station"
)

// mark is the environment variable by which a session's processes are found. The
// gateway gives it to shells as well.
const mark = "STAITHE_SESSION"

// Start starts the guest; see sandbox.Runtime. The error wraps
// station.ErrInvalid for what only an isolating runtime can give.
func (r *Runtime) Start(ctx context.Context, spec sandbox.Spec) error {
	if err := r.check(spec); err != nil {
		return err
	}
	unlock, err := r.locks.Lock(ctx, spec.Session)
	if err != nil {
		return err
	}
	defer unlock()
	if info, _, err := r.Find(ctx, spec.Session); err != nil || info.Running {
		return err
	}
	if err := r.destroy(spec.Session); err != nil {
		return fmt.Errorf("remove what is left of the session: %w", err)
	}
	err = ctx.Err()
	if err == nil {
		err = r.launch(spec)
	}
	if err == nil {
		err = ctx.Err() // who asked has gone: nothing is to be left
	}
	if err != nil {
		err = sandbox.StartFailed(err)
		if e := r.destroy(spec.Session); e != nil {
			err = fmt.Errorf("%w; and its remains: %w", err, e)
		}
		return err
	}
	r.log.Warn("a session runs without any isolation", "session", spec.Session, "runtime", Name)
	return nil
}

func (r *Runtime) check(spec sandbox.Spec) error {
	if spec.Runtime != Name {
		return station.Errorf(station.ErrInvalid, "bad_sandbox", "Sessions without isolation are made only when the runtime %q is asked for by name.", Name)
	}
	if spec.Base != "" || spec.Sudo {
		return station.Errorf(station.ErrInvalid, "bad_sandbox", "The runtime %q has no images and no sudo; take a session class of another runtime.", Name)
	}
	return sandbox.CheckSpec(spec)
}

// launch makes the folder and starts the guest in it.
func (r *Runtime) launch(spec sandbox.Spec) error {
	dir := r.path(spec.Session)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	config, err := localConfig(spec)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, logName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	sock, err := guestsock.Listen(dir)
	if err != nil {
		return err
	}
	defer sock.Close()
	// Opened here: the account it runs as may not be able to walk to it.
	guest, err := os.Open(spec.Guest)
	if err != nil {
		return err
	}
	defer guest.Close()
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", guest.Fd()))
	cmd.Args = []string{spec.Guest}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", confine.ConfigEnv + "=" + config, mark + "=" + string(spec.Session)}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{sock}
	if n := openFiles(spec.Limits.Files); n > 0 {
		// The one limit that is a process's own and is inherited. It may not be set
		// from outside, so a shell sets it on its way to becoming the guest.
		cmd.Path = "/bin/sh"
		cmd.Args = []string{"sh", "-c", `ulimit -n "$1" && exec /proc/self/fd/4`, "sh", strconv.Itoa(n)}
		cmd.ExtraFiles = append(cmd.ExtraFiles, guest)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if r.root {
		if cmd.SysProcAttr.Credential, err = owner(spec.Home); err != nil {
			return err
		}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the guest: %w", err)
	}
	process, err := hostproc.Note(cmd.Process.Pid)
	go func() { _ = cmd.Wait() }() // reaped, whenever that is; its end shows in Find
	if err != nil {
		return fmt.Errorf("the guest ended at once: %w", err)
	}
	return r.write(spec.Session, record{Guest: process})
}

// owner is the account that a home belongs to.
func owner(home string) (*syscall.Credential, error) {
	info, err := os.Stat(home)
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 || st.Gid == 0 {
		return nil, errors.New("the home belongs to root: nothing of a session runs as that")
	}
	return &syscall.Credential{Uid: st.Uid, Gid: st.Gid}, nil
}

// localConfig is the guest's configuration for a life outside a sandbox: the
// home is where the host has it, and shells run as the guest does. What this
// room does not know of the configuration is left as it is.
func localConfig(spec sandbox.Spec) (string, error) {
	config := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(spec.Config), &config); err != nil {
		return "", fmt.Errorf("guest configuration: %w", err)
	}
	var env []string
	if raw := config["env"]; raw != nil {
		if err := json.Unmarshal(raw, &env); err != nil {
			return "", fmt.Errorf("guest configuration: %w", err)
		}
	}
	inside, kept := hostbase.HomeInside(spec), []string{}
	for _, entry := range env {
		if strings.HasPrefix(entry, "XDG_RUNTIME_DIR=") {
			continue // the host makes that at a login, which this is not
		}
		kept = append(kept, strings.ReplaceAll(entry, inside, spec.Home))
	}
	for key, value := range map[string]any{"home": spec.Home, "uid": 0, "gid": 0, "env": kept} {
		raw, err := json.Marshal(value)
		if err != nil {
			return "", fmt.Errorf("guest configuration: %w", err)
		}
		config[key] = raw
	}
	out, err := json.Marshal(config)
	return string(out), err
}

// openFiles is a limit on open files as this process can give it: above its own
// hard limit nobody gets who has not CAP_SYS_RESOURCE, and the guest has not.
func openFiles(asked int) int {
	var own unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &own) != nil || own.Max > math.MaxInt32 {
		return asked
	}
	return min(asked, int(own.Max))
}
