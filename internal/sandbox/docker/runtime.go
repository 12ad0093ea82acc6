package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"staithe/internal/hostproc"
	"staithe/internal/keylock"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/guestsock"
	"staithe/internal/station"
)

// Kind is which service speaks the API.
type Kind string

// The services.
const (
	Docker Kind = "docker"
	Podman Kind = "podman"
)

const (
	labelData    = "staithe.data"
	labelSession = "staithe.session"
	recordName   = "record.json"
)

// Options say how sandboxes are made.
type Options struct {
	Data string       // the data directory
	Kind Kind         // Docker or Podman
	Host string       // unix:///path; empty: DOCKER_HOST or CONTAINER_HOST, else the usual place
	Log  *slog.Logger // required
}

// Runtime implements sandbox.Runtime. Make it with New; it is safe for
// concurrent use. One process at a time may use a data directory.
type Runtime struct {
	kind  Kind
	dir   string // DATA/KIND
	host  string
	id    string // of the data directory
	api   *client.Client
	log   *slog.Logger
	locks keylock.Locks[station.ID]
	asked atomic.Pointer[mode] // nil until the service has said it

	createMu sync.Mutex // held while rootless Podman creates a container: an operation lock

	profileMu sync.Mutex // held while the profile's file is written: an operation lock

	imageMu sync.Mutex // held while importing: an operation lock
	image   string     // "" until it is known to be there; guarded by imageMu
}

var _ sandbox.Runtime = (*Runtime)(nil)

// New returns a runtime over a data directory. It asks the service nothing yet:
// one that is down shows in each operation, as an error that wraps
// station.ErrUnavailable.
func New(o Options) (*Runtime, error) {
	if o.Log == nil || o.Kind != Docker && o.Kind != Podman {
		return nil, errors.New("docker: a required option is missing")
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return nil, fmt.Errorf("docker: data directory: %w", err)
	}
	r := &Runtime{kind: o.Kind, dir: filepath.Join(data, string(o.Kind)), host: o.Host, log: o.Log}
	if r.host == "" {
		r.host = DefaultHost(o.Kind)
	}
	if !strings.HasPrefix(r.host, "unix://") {
		return nil, station.Errorf(station.ErrInvalid, "bad_docker_host",
			"The %s service %s is not on this machine's file system; give a unix:// socket: sandboxes are reached by sockets and folders of this machine.", o.Kind, r.host)
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "base"), 0o700); err != nil {
		return nil, fmt.Errorf("docker: data directory: %w", err)
	}
	if r.id, err = identity(filepath.Join(r.dir, "id")); err != nil {
		return nil, fmt.Errorf("docker: data directory: %w", err)
	}
	if r.api, err = client.New(client.WithHost(r.host)); err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return r, nil
}

// DefaultHost is where a service listens unless it is told otherwise.
func DefaultHost(kind Kind) string {
	env, path := "DOCKER_HOST", "/var/run/docker.sock"
	if kind == Podman {
		env, path = "CONTAINER_HOST", "/run/podman/podman.sock"
		if dir := os.Getenv("XDG_RUNTIME_DIR"); os.Geteuid() != 0 && dir != "" {
			path = filepath.Join(dir, "podman/podman.sock")
		}
	}
	if host := os.Getenv(env); host != "" {
		return host
	}
	return "unix://" + path
}

// identity reads or makes what marks a data directory's containers: another
// server's on the same service are none of ours.
func identity(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && station.ID(b).Valid() {
		return string(b), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := string(station.NewID())
	if err := os.WriteFile(path+".new", []byte(id), 0o600); err != nil {
		return "", err
	}
	return id, os.Rename(path+".new", path)
}

// Left says whether a data directory has sessions of this kind.
func Left(data string, kind Kind) bool {
	entries, err := os.ReadDir(filepath.Join(data, string(kind)))
	if err != nil {
		return false
	}
	for _, e := range entries {
		if station.ID(e.Name()).Valid() {
			return true
		}
	}
	return false
}

// Close frees connections to the service. Sandboxes live on.
func (r *Runtime) Close() error { return r.api.Close() }

// Describe says what the boundary is. Until the service has answered once it is
// taken for one that runs as root.
func (r *Runtime) Describe(station.Class) string {
	var m mode
	if asked := r.asked.Load(); asked != nil {
		m = *asked
	}
	text := fmt.Sprintf("Each session is a %s container with its own pid, mount, network and ipc namespaces, no capabilities for shells and moby's seccomp profile; "+
		"it shares the host's kernel. %s", r.kind, m.boundary())
	if m.old {
		text += " W" + noLimits[1:] + "."
	}
	return text
}

func (r *Runtime) path(session station.ID) string { return filepath.Join(r.dir, string(session)) }

func (r *Runtime) name(session station.ID) string { return "staithe-" + string(session) }

// down is a failure to talk to the service.
func (r *Runtime) down(err error) error {
	return station.Errorf(station.ErrUnavailable, "container_service",
		"The %s service at %s does not do as asked; see that it runs (%s), and look into the server's log.", r.kind, r.host, start(r.kind)).Because(err)
}

// there says whether anything of a session is on disk. Its folder is made before
// the container, and removed after it.
func (r *Runtime) there(session station.ID) bool {
	_, err := os.Lstat(r.path(session))
	return err == nil
}

// Dial connects to the guest's socket; see sandbox.Runtime.
func (r *Runtime) Dial(ctx context.Context, session station.ID) (net.Conn, error) {
	return sandbox.DialGuest(ctx, session, func(ctx context.Context) (net.Conn, error) { return guestsock.Dial(ctx, r.path(session)) })
}

// List finds every sandbox: by the containers' labels, and by the folders of
// those that have no container.
func (r *Runtime) List(ctx context.Context) ([]sandbox.Info, error) {
	seen := map[station.ID]bool{}
	containers, err := r.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", labelData+"="+r.id)})
	if err != nil {
		return nil, r.down(err)
	}
	for _, c := range containers.Items {
		seen[station.ID(c.Labels[labelSession])] = true
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	for _, e := range entries {
		seen[station.ID(e.Name())] = true
	}
	var out []sandbox.Info
	for id := range seen {
		if !id.Valid() {
			continue
		}
		info, err := r.inspect(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, nil
}

// Find looks for one sandbox; see sandbox.Runtime. Of a session without a folder
// there is none, which the service need not be asked for.
func (r *Runtime) Find(ctx context.Context, session station.ID) (sandbox.Info, bool, error) {
	if !session.Valid() || !r.there(session) {
		return sandbox.Info{Session: session, Runtime: string(r.kind)}, false, nil
	}
	info, err := r.inspect(ctx, session)
	return info, err == nil, err
}

// inspect asks the service how a session's container is.
func (r *Runtime) inspect(ctx context.Context, session station.ID) (sandbox.Info, error) {
	info := sandbox.Info{Session: session, Runtime: string(r.kind)}
	c, err := r.api.ContainerInspect(ctx, r.name(session), client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return info, nil
	}
	if err != nil {
		return info, r.down(err)
	}
	if s := c.Container.State; s != nil && s.Pid > 0 && (s.Running || s.Paused) {
		// Without a record it is a half-made one, whose guest has no socket.
		if rec, err := r.read(session); err == nil && rec.PID == s.Pid && rec.Alive() {
			info.Running, info.Frozen, info.PID = true, s.Paused, s.Pid
		}
	}
	return info, nil
}

// read reads a session's record: its guest.
func (r *Runtime) read(session station.ID) (hostproc.Process, error) {
	return hostproc.ReadRecord[hostproc.Process](filepath.Join(r.path(session), recordName))
}

func (r *Runtime) write(session station.ID, p hostproc.Process) error {
	return hostproc.WriteRecord(filepath.Join(r.path(session), recordName), p)
}
