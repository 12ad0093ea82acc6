package oci

import (
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"staithe/internal/sandbox/confine"
	"staithe/internal/sandbox/hostbase"
)

// sharedSpec is the part of the bundle that all sandboxes of a process have in
// common. Nothing in it is changed after it was made.
type sharedSpec struct {
	hostMounts  []specs.Mount
	plain, sudo confinement
	spaces      []specs.LinuxNamespace
	sysctls     map[string]string
}

// confinement is what the processes of a class may do.
type confinement struct {
	caps    *specs.LinuxCapabilities
	seccomp *specs.LinuxSeccomp
}

func newSharedSpec(base hostbase.Base, withCgroups bool) (*sharedSpec, error) {
	s := &sharedSpec{hostMounts: hostMounts(base), plain: confinement{caps: confine.Capabilities()}, sudo: confinement{caps: sudoCaps()}}
	// Ping without privileges, for every id that there is inside.
	s.sysctls = map[string]string{"net.ipv4.ping_group_range": "0 65535"}
	for _, t := range []specs.LinuxNamespaceType{specs.PIDNamespace, specs.MountNamespace, specs.NetworkNamespace,
		specs.IPCNamespace, specs.UTSNamespace, specs.UserNamespace} {
		s.spaces = append(s.spaces, specs.LinuxNamespace{Type: t})
	}
	if withCgroups {
		s.spaces = append(s.spaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	for _, c := range []*confinement{&s.plain, &s.sudo} {
		var err error
		if c.seccomp, err = confine.Seccomp(c.caps); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// baseMounts are the file systems a sandbox has of its own.
func baseMounts(b bounds) []specs.Mount {
	tmpfs := func(dest string, size int64, options ...string) specs.Mount {
		options = append([]string{"nosuid", "nodev"}, append(options, tmpfsSize(size)...)...)
		return specs.Mount{Destination: dest, Type: "tmpfs", Source: "tmpfs", Options: options}
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
			"gid=5", "max=" + strconv.Itoa(b.ptys)}},
		tmpfs("/dev/shm", b.shm, "noexec", "mode=1777"),
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		tmpfs("/tmp", b.scratch, "mode=1777"),
		tmpfs("/var/tmp", b.scratch, "mode=1777"),
		tmpfs("/run", 64<<20, "mode=755"),
		tmpfs("/run/user/1000", 64<<20, "mode=700", "uid=1000", "gid=1000"),
		tmpfs("/home", 64<<10, "mode=755"),
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
