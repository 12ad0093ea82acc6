package oci

import (
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"staithe/internal/idmap"
	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Preflight looks whether this process can make sandboxes with the engine
// (empty: crun, else runc), and says for each thing that is not right how to
// right it. It changes nothing.
func Preflight(engine string) []sandbox.Check {
	root := os.Geteuid() == 0
	checks := []sandbox.Check{checkEngine(engine, root), checkUserNamespaces(root), checkNewNamespaces(findContainer("/"))}
	if root {
		checks = append(checks, checkAdmin(findContainer("/")))
	}
	checks = append(checks, checkNsenter())
	_, delegated := delegatedCgroup()
	checks = append(checks, checkCgroups(root, cgroupMode(), delegated))
	if !root {
		checks = append(checks, checkUIDMap())
	}
	return checks
}

// firstFailed turns a failed check into the problem a person is shown; nil when
// all hold.
func firstFailed(checks []sandbox.Check) error {
	for _, c := range checks {
		if !c.OK {
			return station.Errorf(station.ErrUnavailable, "cannot_isolate",
				"The server cannot make sandboxes: %s. To fix it: %s.", c.Detail, c.Fix)
		}
	}
	return nil
}

func checkEngine(name string, root bool) sandbox.Check {
	eng, err := findEngine(name)
	if err != nil {
		kind := crun
		if name == string(runc) || name == string(runsc) {
			kind = engineKind(name)
		}
		// The sentence goes on with what to do, and so does the check.
		detail, _, _ := strings.Cut(err.Error(), "; ")
		return sandbox.Check{Name: "runtime", Detail: detail, Fix: kind.install()}
	}
	// It hands its files to the sandbox's root, whose uid is not its own.
	if !root && eng.kind == runc {
		return sandbox.Check{Name: "runtime", Detail: "runc cannot make these sandboxes for an account that is not root", Fix: "apt-get install crun"}
	}
	// The overlay, the network namespace and the socket's folder that its sandboxes
	// need are made with root's rights.
	if !root && eng.kind == runsc {
		return sandbox.Check{Name: "runtime", Detail: "staithe makes sandboxes with runsc only when it runs as root", Fix: "run staithe as root, or choose a class of another runtime"}
	}
	return sandbox.Check{Name: "runtime", OK: true, Detail: eng.path + ", " + eng.version}
}

// namespaceSwitches are the kernel's ways to forbid user namespaces.
var namespaceSwitches = []struct {
	file, bad, fix string
	rootToo        bool
}{
	{"/proc/sys/user/max_user_namespaces", "0", keepSysctl("user.max_user_namespaces=15000"), true},
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", keepSysctl("kernel.unprivileged_userns_clone=1") + ", or run staithe as root", false},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", keepSysctl("kernel.apparmor_restrict_unprivileged_userns=0") + ", or run staithe as root", false},
}

// keepSysctl is the command that sets a switch now and at every boot.
func keepSysctl(setting string) string {
	return "sudo sh -c 'echo " + setting + " > /etc/sysctl.d/60-staithe.conf && sysctl -p /etc/sysctl.d/60-staithe.conf'"
}

func checkUserNamespaces(root bool) sandbox.Check {
	c := sandbox.Check{Name: "user namespaces", OK: true, Detail: "allowed"}
	if _, err := os.Stat("/proc/self/ns/user"); err != nil {
		return sandbox.Check{Name: c.Name, Detail: "the kernel has no user namespaces", Fix: "use a kernel with CONFIG_USER_NS"}
	}
	for _, s := range namespaceSwitches {
		b, err := os.ReadFile(s.file)
		if err == nil && strings.TrimSpace(string(b)) == s.bad && (s.rootToo || !root) {
			name := strings.ReplaceAll(strings.TrimPrefix(s.file, "/proc/sys/"), "/", ".")
			return sandbox.Check{Name: c.Name, Detail: name + " is " + s.bad + ", which forbids user namespaces", Fix: s.fix}
		}
	}
	return c
}

// delegate is how an account that is not root gets cgroups of its own.
const delegate = "run it as a systemd service with Delegate=yes, DelegateSubgroup=server and KillMode=process (systemd 254 or later), or as root"

// checkCgroups: sandboxes work without cgroups, only unlimited; but the engine
// must get along with what is mounted.
func checkCgroups(root bool, layout cgroupLayout, delegated bool) sandbox.Check {
	c := sandbox.Check{Name: "cgroups", OK: true}
	switch {
	case !root && layout == cgroupV2 && delegated:
		c.Detail = "v2, delegated to this account: a class's limits hold"
	case !root && layout == cgroupV2:
		c.Detail = "v2, none delegated to this account: a class's limits on memory, processor and disk do not hold"
		c.Fix = delegate
	case !root && layout == cgroupHybrid:
		return sandbox.Check{Name: c.Name, Detail: "cgroups v1 and v2 are mounted together, which crun refuses to an account that is not root",
			Fix: "boot with systemd.unified_cgroup_hierarchy=1, or run staithe as root"}
	case !root:
		c.Detail = string(layout) + ", which only root can use: a class's limits on memory, processor and disk do not hold"
		c.Fix = "boot with systemd.unified_cgroup_hierarchy=1 and " + delegate
	case layout == cgroupNone:
		c.Detail = "none mounted: a class's limits on memory, processor and disk do not hold"
		c.Fix = "mount -t cgroup2 cgroup2 " + cgroupRoot
	case unix.Access(cgroupRoot, unix.W_OK) != nil:
		return sandbox.Check{Name: c.Name, Detail: cgroupRoot + " is read-only", Fix: "mount -o remount,rw " + cgroupRoot + ", or give the container that staithe runs in its own cgroup namespace"}
	default:
		c.Detail = string(layout)
	}
	return c
}

// checkNsenter: some limits are written from within a sandbox's user namespace.
func checkNsenter() sandbox.Check {
	path, err := lookPath("nsenter")
	if err != nil {
		return sandbox.Check{Name: "nsenter", Detail: "nsenter is not installed", Fix: "apt-get install util-linux"}
	}
	return sandbox.Check{Name: "nsenter", OK: true, Detail: path}
}

func checkUIDMap() sandbox.Check {
	for _, program := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(program); err != nil {
			return sandbox.Check{Name: "uid map", Detail: program + " is not installed", Fix: "apt-get install uidmap"}
		}
	}
	if _, err := newRootlessIDs(); err != nil {
		name := idmap.Account()
		return sandbox.Check{Name: "uid map", Detail: "the account " + name + " has no ids for sandboxes in /etc/subuid and /etc/subgid",
			Fix: "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 " + name}
	}
	return sandbox.Check{Name: "uid map", OK: true, Detail: "newuidmap, newgidmap, /etc/subuid"}
}
