package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"staithe/internal/station"
)

// engineKind is which dialect an engine speaks.
type engineKind string

const (
	crun  engineKind = "crun"
	runc  engineKind = "runc"
	runsc engineKind = "runsc" // gVisor; see gvisor.go
)

// engineKinds are all there is code for.
var engineKinds = []engineKind{crun, runc, runsc}

// engineCache remembers the engines that were found: asking one for its version
// takes as long as a start's other preparations. The zero value is ready.
type engineCache struct {
	mu    sync.Mutex // held while looking: an operation lock
	found map[string]engine
}

// find is findEngine, once for each that is there.
func (c *engineCache) find(asked string) (engine, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if eng, ok := c.found[asked]; ok && exists(eng.path) {
		return eng, nil
	}
	eng, err := findEngine(asked)
	if err != nil {
		return engine{}, err
	}
	if c.found == nil {
		c.found = map[string]engine{}
	}
	c.found[asked] = eng
	return eng, nil
}

// engine is an installed OCI runtime.
type engine struct {
	kind    engineKind
	path    string
	version string
}

// findEngine looks for the asked engine, or for crun and then runc. The error
// wraps station.ErrUnavailable.
func findEngine(asked string) (engine, error) {
	names := []string{string(crun), string(runc)}
	if asked != "" {
		names = []string{asked}
	}
	for _, name := range names {
		path, err := lookPath(name)
		if err != nil {
			continue
		}
		kind := runc
		for _, k := range engineKinds {
			if strings.Contains(filepath.Base(path), string(k)) {
				kind = k
			}
		}
		out, err := askVersion(path)
		if err != nil {
			return engine{}, station.Errorf(station.ErrUnavailable, "runtime_broken",
				"The container runtime %s does not run; reinstall it: %s.", path, kind.install()).Because(err)
		}
		version, _, _ := strings.Cut(out, "\n")
		return engine{kind, path, strings.TrimSpace(version)}, nil
	}
	if asked != "" && !slices.Contains(engineKinds, engineKind(asked)) {
		return engine{}, station.Errorf(station.ErrUnavailable, "no_runtime",
			"The container runtime %q is not there; name an installed one, or leave it out to use crun or runc.", asked)
	}
	return engine{}, station.Errorf(station.ErrUnavailable, "no_runtime",
		"%s is not installed on the server; run: %s.", names[0], engineKind(names[0]).install())
}

// versionLimit bounds what takes some milliseconds; all starts wait for it.
const versionLimit = 10 * time.Second

func askVersion(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), versionLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = lastWords
	out, err := cmd.Output()
	return string(out), err
}

// install is how an engine comes to a server.
func (k engineKind) install() string {
	if k == runsc {
		return gvisorInstall
	}
	return "apt-get install " + string(k)
}

// lookPath finds a program also where a service's PATH may not look.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return filepath.Abs(path)
	}
	if strings.Contains(name, "/") {
		return "", err
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if p, e := exec.LookPath(filepath.Join(dir, name)); e == nil {
			return p, nil
		}
	}
	return "", err
}

// globals are the options before the command.
func (e engine) globals(withCgroups bool, stateRoot string) []string {
	args := []string{"--root", stateRoot}
	if e.kind == runsc {
		return append(args, gvisorGlobals(withCgroups)...)
	}
	if e.kind == crun && !withCgroups {
		args = append(args, "--cgroup-manager", "disabled")
	}
	return args
}

// runArgs start a sandbox and return once its guest was executed.
func (e engine) runArgs(dir string, session station.ID) []string {
	args := []string{"run", "--detach", "--bundle", dir, "--pid-file", filepath.Join(dir, pidName)}
	if e.kind != runsc {
		args = append(args, "--preserve-fds", "1")
	}
	return append(args, string(session))
}

// call is one run of an engine.
type call struct {
	args  []string
	log   *os.File   // stdout and stderr of the engine and the sandbox; nil: captured for the error
	extra []*os.File // descriptors from 3 on
}

// lastWords is how long the output of an engine that ended is waited for: what it
// started, and did not end with it, may hold the other end.
const lastWords = 2 * time.Second

// run starts the engine on the thread and waits for it here, so that sandboxes
// can be made at the same time. The engine gets nothing of this process: no
// terminal, no process group, no environment.
func (e engine) run(ctx context.Context, t *mountThread, c call) error {
	cmd := exec.CommandContext(ctx, e.path, c.args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.ExtraFiles = c.extra
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = lastWords
	var said bytes.Buffer
	if c.log != nil {
		cmd.Stdout, cmd.Stderr = c.log, c.log
	} else {
		cmd.Stderr = &said
	}
	if err := t.do(cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", e.path, err)
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("%s: %w %s", e.kind, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// state asks the engine for the pid of a sandbox it started; 0 when it knows
// none that runs.
func (e engine) state(ctx context.Context, t *mountThread, withCgroups bool, stateRoot string, session station.ID) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.path, append(e.globals(withCgroups, stateRoot), "state", string(session))...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.WaitDelay = lastWords
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := t.do(cmd.Start); err != nil {
		return 0, fmt.Errorf("start %s: %w", e.path, err)
	}
	if err := cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && ctx.Err() == nil {
			return 0, nil // no state, or state that it cannot read
		}
		return 0, fmt.Errorf("%s state: %w", e.kind, err)
	}
	var s struct {
		Status string `json:"status"`
		PID    int    `json:"pid"`
	}
	if err := json.Unmarshal(out.Bytes(), &s); err != nil || s.Status == "stopped" {
		return 0, nil
	}
	return s.PID, nil
}
