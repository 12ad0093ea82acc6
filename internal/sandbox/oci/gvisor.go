package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/confine"
	"staithe/internal/sandbox/guestsock"
	"staithe/internal/sandbox/hostbase"
	"staithe/internal/station"
)

// runsc (gVisor) gives a sandbox a kernel of its own, the sentry: a process on
// the host, in the user's uid range, that answers the system calls of all inside
// and makes few of its own. What is different from crun and runc:
//
//   - the guest makes its socket itself (guestsock.MakeFolder);
//   - the root is an overlay in any case, as runsc makes the places of mounts in it;
//   - its network namespace is there before it, as it reads its interfaces once;
//   - processes, terminals and inotify are the sentry's, and so are their bounds.
//     All the memory is the sentry's too: when it runs out, the sandbox ends.

// gvisorInstall is how to get runsc.
const gvisorInstall = "CGO_ENABLED=0 GOBIN=/usr/local/bin go install gvisor.dev/gvisor/runsc@latest, or see https://gvisor.dev/docs/user_guide/install"

const (
	madeName   = "made"              // the folder of the guest's own socket
	madeInside = "/run/staithe/made" // and where it is inside
)

// gvisorGlobals are runsc's options before the command.
func gvisorGlobals(withCgroups bool) []string {
	args := []string{
		"--network=sandbox",
		"--gofer-network-namespace=new", // "null" would keep a mount in the state folder
		"--host-uds=create",
		"--overlay2=none", // the root has a layer already, which is on nobody else's account
		"--allow-suid",    // no_new_privs still holds where there is no sudo
		"--host-settings=ignore",
	}
	if !withCgroups {
		args = append(args, "--ignore-cgroups")
	}
	return args
}

// createGVisor is create for runsc.
func (r *Runtime) createGVisor(ctx context.Context, p *prepared, eng engine, spec sandbox.Spec, limits bounds) error {
	dir := r.dir(spec.Session)
	made := filepath.Join(dir, madeName)
	if err := guestsock.MakeFolder(made, station.HostUID(spec.UIDRange, 0)); err != nil {
		return err
	}
	home, err := r.mountHome(ctx, p, spec)
	if err != nil {
		return err
	}
	defer home.done()
	root, err := r.mountGVisorRoot(p, spec)
	if err != nil {
		return err
	}
	defer root.done()
	netns, err := newNetNS()
	if err != nil {
		return err
	}
	defer netns.Close()
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), netns.Fd())
	if spec.Attach != nil {
		if err := spec.Attach(ctx, sandbox.NetNS{Path: path}); err != nil {
			return &attachError{err}
		}
	}
	adapt := func(s *specs.Spec) { gvisorSpec(s, limits, path, made) }
	if err := r.writeBundle(dir, spec, p, parts{limits, home.source, root.path, adapt}); err != nil {
		return err
	}
	if err := os.MkdirAll(r.engineRoot(eng.kind, spec.Session), 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	rec, err := r.launch(ctx, p, eng, spec)
	if err != nil {
		return err
	}
	r.oom.start()
	return guestsock.AwaitMade(ctx, made, rec.Alive)
}

// gvisorSpec says to runsc what crun and runc are told otherwise.
func gvisorSpec(s *specs.Spec, limits bounds, netns, made string) {
	s.Process.Env = append(s.Process.Env, confine.ListenEnv+"="+filepath.Join(madeInside, guestsock.Name))
	s.Process.Rlimits = append(s.Process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_NPROC", Soft: uint64(limits.pids), Hard: uint64(limits.pids)})
	s.Mounts = append(s.Mounts, specs.Mount{Destination: madeInside, Type: "bind", Source: made, Options: []string{"rbind", "nosuid", "nodev"}})
	s.Linux.Namespaces = slices.Clone(s.Linux.Namespaces)
	for i := range s.Linux.Namespaces {
		if s.Linux.Namespaces[i].Type == specs.NetworkNamespace {
			s.Linux.Namespaces[i].Path = netns
		}
	}
	if s.Linux.Resources != nil && s.Linux.Resources.Pids != nil {
		// The sentry holds the bound. On the host it has threads of its own, and
		// one process for each address space inside.
		most := 2*limits.pids + 1024
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &most}
	}
}

// mountGVisorRoot makes a session's root file system, in which everything is
// there that will be mounted on.
func (r *Runtime) mountGVisorRoot(p *prepared, spec sandbox.Spec) (imageRoot, error) {
	dir := r.dir(spec.Session)
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	if spec.Base != "" {
		return r.mountRoot(p, spec)
	}
	owner := station.HostUID(spec.UIDRange, 0)
	for _, path := range []string{upper, work} {
		if err := makeOwned(path, owner); err != nil {
			return imageRoot{}, err
		}
	}
	if err := mountPoints(upper, owner, spec); err != nil {
		return imageRoot{}, err
	}
	root := filepath.Join(p.stage, "root-"+string(spec.Session))
	if err := p.thread.do(func() error { return mountOverlay(p.rootfs, upper, work, root) }); err != nil {
		return imageRoot{}, &imageError{err}
	}
	return imageRoot{root, func() {
		if err := p.thread.do(func() error { return unmountMapped(root) }); err != nil {
			r.log.Warn("a root stays mounted for the runtime alone", "session", spec.Session, "err", err)
		}
	}}, nil
}

// mountPoints makes in a layer what mounts of the host are laid on.
func mountPoints(upper string, owner int, spec sandbox.Spec) error {
	for _, inside := range []string{hostbase.EtcInside, madeInside, hostbase.HomeInside(spec), confine.GuestInside} {
		path := upper
		parts := strings.Split(strings.Trim(inside, "/"), "/")
		for i, part := range parts {
			path = filepath.Join(path, part)
			var err error
			if i == len(parts)-1 && inside == confine.GuestInside {
				err = os.WriteFile(path, nil, 0o755)
			} else if err = os.Mkdir(path, 0o755); errors.Is(err, os.ErrExist) {
				continue
			}
			if err == nil {
				err = errors.Join(os.Chmod(path, 0o755), os.Lchown(path, owner, owner))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// newNetNS makes a network namespace with its loopback up. It lasts as long as
// something is in it or has it open: after a start that is the sentry, or
// nothing.
func newNetNS() (*os.File, error) {
	var f *os.File
	t, err := newMountThread(func() (err error) { f, err = enterNetNS(); return err })
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	t.close()
	return f, nil
}

func enterNetNS() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(sock)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(sock, unix.SIOCSIFFLAGS, lo); err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	return os.Open("/proc/thread-self/ns/net")
}
