package oci

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"staithe/internal/sandbox/confine"
	"staithe/internal/sandbox/hostbase"
)

// sharedSpec is the part of the bundle that all sandboxes of a process have in
// common. Nothing in it is changed after it was made.
type sharedSpec struct {
	mounts   []specs.Mount
	seccomp  *specs.LinuxSeccomp
	caps     *specs.LinuxCapabilities
	rlimits  []specs.POSIXRlimit
	cgroups  bool
	resource *specs.LinuxResources
	spaces   []specs.LinuxNamespace
}

func newSharedSpec(base hostbase.Base, root bool, layout cgroupLayout) (*sharedSpec, error) {
	s := &sharedSpec{cgroups: root && layout != cgroupNone, caps: confine.Capabilities()}
	s.mounts = append(baseMounts(), hostMounts(base)...)
	for _, t := range []specs.LinuxNamespaceType{specs.PIDNamespace, specs.MountNamespace, specs.NetworkNamespace,
		specs.IPCNamespace, specs.UTSNamespace, specs.UserNamespace} {
		s.spaces = append(s.spaces, specs.LinuxNamespace{Type: t})
	}
	if s.cgroups {
		s.spaces = append(s.spaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
		s.resource = limits()
	}
	if err := s.addRlimits(); err != nil {
		return nil, err
	}
	var err error
	s.seccomp, err = confine.Seccomp(s.caps)
	return s, err
}

// limits are generous: they protect the host, not neighbours from each other.
func limits() *specs.LinuxResources {
	pids := int64(confine.MaxPIDs)
	res := &specs.LinuxResources{
		Pids:    &specs.LinuxPids{Limit: &pids},
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, // engines add null, tty and the like
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		memory := int64(info.Totalram) * int64(info.Unit) / 4 * 3
		res.Memory = &specs.LinuxMemory{Limit: &memory}
	}
	return res
}

func (s *sharedSpec) addRlimits() error {
	// 1 byte, not 0: with 0 the kernel still starts a core_pattern program,
	// which is the host's and runs as the host's root.
	s.rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 1, Hard: 1}}
	files, err := confine.Capped(unix.RLIMIT_NOFILE, 1<<16, 1<<20)
	if err != nil {
		return err
	}
	s.rlimits = append(s.rlimits, specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: files.Cur, Hard: files.Max})
	return nil
}

// limitProcesses holds a fork bomb where no cgroup does. It must come after the
// sandbox's user namespace was made: a limit from before would become that of
// all namespaces of this account together, and one session could starve the
// others. The guest has started nothing yet; what it starts inherits the limit.
func limitProcesses(pid int) error {
	procs, err := confine.Capped(unix.RLIMIT_NPROC, confine.MaxPIDs, confine.MaxPIDs)
	if err != nil {
		return err
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NPROC, &procs, nil); err != nil {
		return fmt.Errorf("limit the guest's processes: %w", err)
	}
	return nil
}

// baseMounts are the file systems a sandbox has of its own.
func baseMounts() []specs.Mount {
	tmpfs := func(dest string, options ...string) specs.Mount {
		return specs.Mount{Destination: dest, Type: "tmpfs", Source: "tmpfs", Options: append([]string{"nosuid", "nodev"}, options...)}
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		tmpfs("/dev/shm", "noexec", "mode=1777"),
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		tmpfs("/tmp", "mode=1777"),
		tmpfs("/var/tmp", "mode=1777"),
		tmpfs("/run", "mode=755", "size=64m"),
		tmpfs("/run/user/1000", "mode=700", "uid=1000", "gid=1000"),
		tmpfs("/home", "mode=755", "size=64k"),
	}
}

// hostMounts show the host's programs. A read-only bind of /usr carries what is
// mounted below it along; nothing there can be written by a mapped uid anyway.
func hostMounts(base hostbase.Base) []specs.Mount {
	out := []specs.Mount{bindReadOnly("/usr", "/usr")}
	for _, dir := range base.Bound {
		out = append(out, bindReadOnly(dir, dir))
	}
	return out
}

func bindReadOnly(source, dest string) specs.Mount {
	return specs.Mount{Destination: dest, Type: "bind", Source: source, Options: []string{"rbind", "ro", "nosuid", "nodev"}}
}
