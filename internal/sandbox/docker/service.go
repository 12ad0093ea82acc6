package docker

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"staithe/internal/sandbox/confine"
	"staithe/internal/sandbox/guestsock"
	"staithe/internal/sandbox/hostbase"
	"staithe/internal/station"
)

// mode is how a service runs.
type mode struct {
	rootless bool // by an account that is not root, in a user namespace of it
	old      bool // and with cgroups v1, where such a service limits and measures nothing
}

// mode asks the service, once it has answered never again.
func (r *Runtime) mode(ctx context.Context) (mode, error) {
	if m := r.asked.Load(); m != nil {
		return *m, nil
	}
	m, err := askMode(ctx, r.api)
	if err != nil {
		return m, r.down(err)
	}
	r.asked.Store(&m)
	return m, nil
}

// Prepare does the work that all starts share: it asks the service how it runs
// and imports the base. Start does it when it was not done; call it early so
// that the first person does not wait. Errors are as Start's.
func (r *Runtime) Prepare(ctx context.Context) error {
	_, _, _, err := r.prepare(ctx)
	return err
}

func (r *Runtime) prepare(ctx context.Context) (m mode, image string, base hostbase.Base, err error) {
	if m, err = r.mode(ctx); err == nil {
		err = m.serves(r.kind)
	}
	if err == nil {
		image, base, err = r.baseImage(ctx)
	}
	return m, image, base, err
}

// askMode looks who serves the socket: Podman's answers do not say whether it is
// root, at least not those that Docker has too.
func askMode(ctx context.Context, api *client.Client) (mode, error) {
	conn, err := api.Dialer()(ctx)
	if err != nil {
		return mode{}, err
	}
	defer conn.Close()
	sock, ok := conn.(*net.UnixConn)
	if !ok {
		return mode{}, errors.New("it is reached by no unix socket")
	}
	peer, err := guestsock.Peer(sock)
	if err != nil {
		return mode{}, fmt.Errorf("look who serves: %w", err)
	}
	res, err := api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return mode{}, err
	}
	rootless := peer.Uid != 0
	return mode{rootless: rootless, old: rootless && res.Info.CgroupVersion != "2"}, nil
}

// usernsMode is whose user namespace a container is in. Rootless Podman can put
// the person at the account's own id, to which the home belongs. Otherwise it is
// the host's, also where dockerd maps ids for all containers (userns-remap):
// that would hide the homes from their persons.
func (m mode) usernsMode() container.UsernsMode {
	if m.rootless {
		return "keep-id"
	}
	return "host"
}

// boundary says in plain words whose ids a sandbox's are.
func (m mode) boundary() string {
	if m.rootless {
		return "It is in a user namespace of the server's account: its root is nobody on the host, and its person is that account."
	}
	return "It is in no user namespace of its own, even where the service is set up to have one: its root is the host's with four capabilities, and its person is the account that the home belongs to."
}

// hold gives the guest, which has started nothing yet, the limits that rootless
// Podman does not set, or sets from its own configuration. What the guest starts
// inherits them. Processes are counted in the sandbox's user namespace alone.
func (m mode) hold(guest int, l station.Limits) error {
	if !m.rootless {
		return nil
	}
	limits, err := rlimits(l)
	if err != nil {
		return err
	}
	for which, limit := range limits {
		if err := unix.Prlimit(guest, which, &limit, nil); err != nil {
			return fmt.Errorf("limit the guest: %w", err)
		}
	}
	return nil
}

// rlimits are the limits that every process has by itself.
func rlimits(l station.Limits) (map[int]unix.Rlimit, error) {
	files, err := openFiles(l)
	if err != nil {
		return nil, err
	}
	pids := uint64(maxPIDs(l))
	procs, err := confine.Capped(unix.RLIMIT_NPROC, pids, pids)
	return map[int]unix.Rlimit{unix.RLIMIT_CORE: {Cur: 1, Max: 1}, unix.RLIMIT_NOFILE: files, unix.RLIMIT_NPROC: procs}, err
}

func openFiles(l station.Limits) (unix.Rlimit, error) {
	files, err := confine.Capped(unix.RLIMIT_NOFILE, 1<<16, 1<<20)
	if l.Files > 0 {
		files.Max = min(files.Max, uint64(l.Files))
		files.Cur = files.Max
	}
	return files, err
}

func maxPIDs(l station.Limits) int64 {
	if l.PIDs > 0 {
		return int64(l.PIDs)
	}
	return confine.MaxPIDs
}

// serves says why a service cannot make our sandboxes, and what can.
func (m mode) serves(kind Kind) error {
	if m.rootless && kind == Docker {
		return station.Errorf(station.ErrUnavailable, "rootless_docker",
			"This Docker service runs without root, and has no way to give a home to a person who is not root inside. Take the runtime podman, which can, or a Docker service that runs as root.")
	}
	return nil
}
