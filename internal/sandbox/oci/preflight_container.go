package oci

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/sandbox"
)

// container is what this process itself runs in; empty: nothing that shows.
type container string

// findContainer looks for the marks that container engines leave. root stands
// before the paths, for tests.
func findContainer(root string) container {
	for _, m := range []struct {
		file string
		name container
	}{
		{".dockerenv", "docker"},
		{"run/.containerenv", "podman"},
		{"run/systemd/container", "systemd-nspawn"},
		{"var/run/secrets/kubernetes.io", "kubernetes"},
	} {
		if _, err := os.Stat(filepath.Join(root, m.file)); err == nil {
			return m.name
		}
	}
	// An unprivileged process may not read it; then there is nothing to see.
	b, _ := os.ReadFile(filepath.Join(root, "proc/1/environ"))
	for entry := range strings.SplitSeq(string(b), "\x00") {
		if name, ok := strings.CutPrefix(entry, "container="); ok && name != "" {
			return container(name)
		}
	}
	return ""
}

// privileged is what to start such a container with.
func (c container) privileged() string {
	switch c {
	case "docker", "podman":
		return string(c) + " run --privileged --cgroupns=private …, or run staithe outside of the container"
	case "kubernetes":
		return "give the pod securityContext.privileged: true, or run staithe outside of the cluster"
	}
	return "give the container all capabilities and an unmasked /proc, or run staithe outside of it"
}

// trialLimit bounds the trial of namespaces; it takes some milliseconds.
const trialLimit = 10 * time.Second

// checkNewNamespaces makes the namespaces of a sandbox and mounts a /proc in
// them: what forbids that is not always a switch that can be read (an AppArmor
// profile, a seccomp filter, a masked /proc in a container).
func checkNewNamespaces(in container) sandbox.Check {
	c := sandbox.Check{Name: "new namespaces", OK: true, Detail: "a user namespace with a /proc of its own can be made"}
	if in != "" {
		c.Detail += ", also in this container (" + string(in) + ")"
	}
	said, err := tryNamespaces()
	if err == nil {
		return c
	}
	c.OK = false
	c.Detail = fmt.Sprintf("a user namespace with a /proc of its own cannot be made: %s", said)
	c.Fix = "see what forbids it in the kernel's log (dmesg | grep -i -e apparmor -e denied), allow it for " + self() + ", or run staithe as root"
	if in != "" {
		c.Detail += "; staithe runs in a container (" + string(in) + ")"
		c.Fix = in.privileged()
	}
	return c
}

// tryNamespaces runs mount in new namespaces; what it mounts goes with them.
func tryNamespaces() (said string, err error) {
	mount, err := lookPath("mount")
	if err != nil {
		return "the program mount is not installed", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), trialLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, mount, "-t", "proc", "proc", "/proc")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", nil
	}
	said, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	if said == "" {
		said = err.Error()
	}
	return said, err
}

func self() string {
	path, err := os.Executable()
	if err != nil {
		return "staithe"
	}
	return path
}

// checkAdmin: root in a container may be root by name only.
func checkAdmin(in container) sandbox.Check {
	c := sandbox.Check{Name: "root", OK: true, Detail: "may mount and make cgroups"}
	if hasCapability(unix.CAP_SYS_ADMIN) {
		return c
	}
	c.OK = false
	c.Detail, c.Fix = "this root lacks CAP_SYS_ADMIN, which mounts need", "run staithe as a full root, or as another user"
	if in != "" {
		c.Detail += "; staithe runs in a container (" + string(in) + ")"
		c.Fix = in.privileged()
	}
	return c
}
