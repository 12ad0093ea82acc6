package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"staithe/internal/hostproc"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/confine"
	"staithe/internal/sandbox/guestsock"
	"staithe/internal/sandbox/hostbase"
	"staithe/internal/station"
)

// startLimit bounds the making of a container.
const startLimit = 45 * time.Second

// handInside is where the hand-over socket's folder is in a sandbox.
const handInside = "/run/staithe/hand"

// Start makes the container and starts its guest; see sandbox.Runtime.
func (r *Runtime) Start(ctx context.Context, spec sandbox.Spec) error {
	if err := sandbox.CheckSpec(spec); err != nil {
		return err
	}
	if spec.Base != "" || spec.Sudo {
		return station.Errorf(station.ErrInvalid, "bad_sandbox",
			"This class asks for an image or for sudo, which sessions of the runtime %s do not have. Take another class; or let the administrator give this one the runtime crun or runc, or take base and sudo out of it.", r.kind)
	}
	unlock, err := r.locks.Lock(ctx, spec.Session)
	if err != nil {
		return err
	}
	defer unlock()
	if r.there(spec.Session) {
		info, err := r.inspect(ctx, spec.Session)
		if err != nil || info.Running {
			return err
		}
		if err := r.destroy(context.WithoutCancel(ctx), spec.Session); err != nil {
			return fmt.Errorf("remove what is left of the sandbox: %w", err)
		}
	}
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := r.create(limited, spec); err != nil {
		err = sandbox.StartFailed(err)
		// The person may have gone; the rubble must go all the same.
		if e := r.destroy(context.WithoutCancel(ctx), spec.Session); e != nil {
			err = fmt.Errorf("%w; and its remains: %w", err, e)
		}
		return err
	}
	return nil
}

func (r *Runtime) create(ctx context.Context, spec sandbox.Spec) error {
	m, image, base, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	dir := r.path(spec.Session)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	person, err := owner(spec.Home)
	if err != nil {
		return err
	}
	if err := hostbase.WriteEtcAs(filepath.Join(dir, "etc"), spec, person); err != nil {
		return err
	}
	sock, err := guestsock.Listen(dir)
	if err != nil {
		return err
	}
	defer sock.Close()
	hand, err := guestsock.NewHand(filepath.Join(dir, "hand"))
	if err != nil {
		return err
	}
	defer hand.Close()
	options, err := r.options(spec, image, base, person, m)
	if err != nil {
		return err
	}
	if err := r.createContainer(ctx, m, options); err != nil {
		return r.refused(ctx, err)
	}
	if _, err := r.api.ContainerStart(ctx, r.name(spec.Session), client.ContainerStartOptions{}); err != nil {
		return r.refused(ctx, err)
	}
	return r.adopt(ctx, spec, m, hand, sock)
}

// createContainer makes the container, which does not run yet. Podman (4.3) that
// is asked for several keep-id containers at once now and then finds no
// subordinate ids for one of them: so it is asked for one at a time, and again
// where somebody else asked too, such as the server before this one.
func (r *Runtime) createContainer(ctx context.Context, m mode, options client.ContainerCreateOptions) error {
	if m.rootless {
		r.createMu.Lock()
		defer r.createMu.Unlock()
	}
	for again := 5; ; again-- {
		_, err := r.api.ContainerCreate(ctx, options)
		if err == nil || again == 0 || !m.rootless || !strings.Contains(err.Error(), "keep-id requires additional UIDs") {
			return err
		}
		if e := pause(ctx); e != nil {
			return e
		}
	}
}

// refused tells a service that is down from one that could not make this
// container.
func (r *Runtime) refused(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case client.IsErrConnectionFailed(err), errdefs.IsPermissionDenied(err):
		return r.down(err)
	}
	return err
}

// adopt finds the guest, gives it its socket and notes it.
func (r *Runtime) adopt(ctx context.Context, spec sandbox.Spec, m mode, hand *guestsock.Hand, sock *os.File) error {
	c, err := r.api.ContainerInspect(ctx, r.name(spec.Session), client.ContainerInspectOptions{})
	if err != nil {
		return r.refused(ctx, err)
	}
	if c.Container.State == nil || c.Container.State.Pid <= 1 {
		return errors.New("the guest ended at once")
	}
	guest, err := hostproc.Note(c.Container.State.Pid)
	if err != nil {
		return fmt.Errorf("the guest ended at once: %w", err)
	}
	if err := m.hold(guest.PID, spec.Limits); err != nil {
		return err
	}
	if spec.Attach != nil {
		if err := spec.Attach(ctx, sandbox.NetNS{Path: fmt.Sprintf("/proc/%d/ns/net", guest.PID), PID: guest.PID}); err != nil {
			return fmt.Errorf("attach the network: %w", err)
		}
	}
	if err := hand.Over(ctx, sock, guest.PID, guest.Alive); err != nil {
		return err
	}
	return r.write(spec.Session, guest)
}

// owner is who the person is, in the sandbox and on the host.
func owner(home string) (int, error) {
	info, err := os.Stat(home)
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return 0, errors.New("the home belongs to root: nothing of a person's runs as that")
	}
	return int(st.Uid), nil
}

// guestConfig is the guest's configuration with the person's ids as they are
// here. What this room does not know of it is left as it is.
func guestConfig(config string, person int) (string, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(config), &fields); err != nil {
		return "", fmt.Errorf("guest configuration: %w", err)
	}
	id := json.RawMessage(strconv.Itoa(person))
	fields["uid"], fields["gid"] = id, id
	b, err := json.Marshal(fields)
	return string(b), err
}

// options are the container.
func (r *Runtime) options(spec sandbox.Spec, image string, base hostbase.Base, person int, m mode) (client.ContainerCreateOptions, error) {
	none := client.ContainerCreateOptions{}
	config, err := guestConfig(spec.Config, person)
	if err != nil {
		return none, err
	}
	security, err := r.security()
	if err != nil {
		return none, err
	}
	limits, err := resources(spec.Limits)
	if err != nil {
		return none, err
	}
	if m.old { // such a service refuses what it cannot do
		limits = container.Resources{Ulimits: limits.Ulimits}
	}
	dns, err := resolver(spec)
	if err != nil {
		return none, err
	}
	noInit := false
	return client.ContainerCreateOptions{
		Name: r.name(spec.Session),
		Config: &container.Config{
			Image: image, Hostname: spec.Hostname, User: "0:0", WorkingDir: "/", Entrypoint: []string{confine.GuestInside},
			Env:    []string{"PATH=/usr/local/bin:/usr/bin:/bin", confine.ConfigEnv + "=" + config, confine.SocketEnv + "=" + handInside + "/" + guestsock.HandName},
			Labels: map[string]string{labelData: r.id, labelSession: string(spec.Session)},
		},
		HostConfig: &container.HostConfig{
			NetworkMode: "none", DNS: dns, DNSSearch: []string{"."}, Sysctls: r.sysctls(),
			IpcMode: "private", UsernsMode: m.usernsMode(), CgroupnsMode: "private", Init: &noInit,
			ReadonlyRootfs: true, CapDrop: []string{"ALL"}, CapAdd: confine.GuestCapabilities, SecurityOpt: security,
			MaskedPaths: confine.MaskedPaths, ReadonlyPaths: confine.ReadonlyPaths,
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
			LogConfig:     r.logs(),
			Tmpfs:         r.tmpfs(spec, person), ShmSize: shm(spec),
			Mounts:    r.mounts(spec, base),
			Resources: limits,
		},
	}, nil
}

// resolver is the name server in the container's resolv.conf, which services write
// themselves: one that reaches nobody, rather than the host's, where there is none.
func resolver(spec sandbox.Spec) ([]netip.Addr, error) {
	if spec.Resolver == "" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	a, err := netip.ParseAddr(spec.Resolver)
	if err != nil {
		return nil, fmt.Errorf("the sandbox's name server: %w", err)
	}
	return []netip.Addr{a}, nil
}

// sysctls turn IPv6 on, which Docker turns off in a container without a network
// of Docker's.
func (r *Runtime) sysctls() map[string]string {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil || r.kind != Docker {
		return nil
	}
	return map[string]string{"net.ipv6.conf.all.disable_ipv6": "0"}
}

// logs bounds what the service keeps of a guest's log.
func (r *Runtime) logs() container.LogConfig {
	if r.kind == Podman {
		return container.LogConfig{Type: "k8s-file", Config: map[string]string{"max-size": "1m"}}
	}
	return container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}}
}

// security is the seccomp profile as each service wants it: Docker its text,
// Podman the path of a file.
func (r *Runtime) security() ([]string, error) {
	profile, err := confine.Seccomp(confine.Capabilities())
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(profile)
	if err != nil {
		return nil, fmt.Errorf("encode the seccomp profile: %w", err)
	}
	out := []string{"no-new-privileges"}
	if r.kind == Docker {
		return append(out, "seccomp="+string(b)), nil
	}
	path := filepath.Join(r.dir, "seccomp.json")
	r.profileMu.Lock()
	defer r.profileMu.Unlock()
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return nil, err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return nil, err
	}
	return append(out, "seccomp="+path, "mask="+strings.Join(confine.MaskedPaths, ":")), nil
}

// mounts are what the sandbox sees of the host.
func (r *Runtime) mounts(spec sandbox.Spec, base hostbase.Base) []mount.Mount {
	bind := func(source, target string, readOnly bool) mount.Mount {
		return mount.Mount{Type: mount.TypeBind, Source: source, Target: target, ReadOnly: readOnly}
	}
	dir := r.path(spec.Session)
	out := []mount.Mount{
		bind("/usr", "/usr", true),
		bind(spec.Guest, confine.GuestInside, true),
		bind(filepath.Join(dir, "etc"), hostbase.EtcInside, true),
		bind(filepath.Join(dir, "hand"), handInside, true),
		bind(spec.Home, hostbase.HomeInside(spec), false),
	}
	for _, d := range base.Bound {
		out = append(out, bind(d, d, true))
	}
	return out
}

// scratch is how much a file system in memory may hold, as an option.
func scratch(spec sandbox.Spec) string {
	if spec.Limits.Scratch <= 0 {
		return ""
	}
	return fmt.Sprintf(",size=%d", spec.Limits.Scratch)
}

func shm(spec sandbox.Spec) int64 {
	if spec.Limits.Scratch > 0 {
		return spec.Limits.Scratch
	}
	return 64 << 20
}

// tmpfs are the file systems in memory.
func (r *Runtime) tmpfs(spec sandbox.Spec, person int) map[string]string {
	own := fmt.Sprintf("mode=700,uid=%d,gid=%d", person, person)
	if r.kind == Podman {
		own = "mode=1777" // it takes no owner; there is nobody else in the sandbox
	}
	return map[string]string{
		"/tmp":           "rw,exec,nosuid,nodev,mode=1777" + scratch(spec),
		"/var/tmp":       "rw,exec,nosuid,nodev,mode=1777" + scratch(spec),
		"/run":           "rw,nosuid,nodev,mode=755,size=64m",
		"/run/user/1000": "rw,nosuid,nodev," + own,
		"/home":          "rw,nosuid,nodev,mode=755,size=64k",
	}
}

// resources are the limits as the API has them.
func resources(l station.Limits) (container.Resources, error) {
	pids := maxPIDs(l)
	// 1 byte, not 0: with 0 the kernel still starts a core_pattern program.
	out := container.Resources{PidsLimit: &pids, Ulimits: []*container.Ulimit{{Name: "core", Soft: 1, Hard: 1}}}
	// Named all, or a service asks for its own defaults, which may be more than it
	// may give itself. What this process may have is a good guess at what it may.
	files, err := openFiles(l)
	if err != nil {
		return out, err
	}
	procs, err := confine.Capped(unix.RLIMIT_NPROC, 1<<15, 1<<15)
	if err != nil {
		return out, err
	}
	out.Ulimits = append(out.Ulimits, &container.Ulimit{Name: "nofile", Soft: int64(files.Cur), Hard: int64(files.Max)})
	out.Ulimits = append(out.Ulimits, &container.Ulimit{Name: "nproc", Soft: int64(procs.Cur), Hard: int64(procs.Max)})
	out.NanoCPUs = int64(l.CPU * 1e9)
	if l.CPUWeight > 0 {
		out.CPUShares = max(2, int64(l.CPUWeight)*1024/100) // cgroup v1's scale, which the API speaks
	}
	memory := l.Memory
	var host unix.Sysinfo_t
	if memory == 0 && unix.Sysinfo(&host) == nil { // the host is protected all the same
		memory = int64(host.Totalram) * int64(host.Unit) / 4 * 3
	}
	out.Memory, out.MemorySwap = memory, memory
	return out, nil
}
