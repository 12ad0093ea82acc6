package sandboxtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// HostIsOutOfReach attacks, from inside, the host's processes, files and
// sockets, the gateway's data, other users and other sessions.
func HostIsOutOfReach(t *testing.T, open Open, able Abilities) {
	hostIsOutOfReach(t, open, able, Spec(t, Home(t, 1), 1))
}

// HostIsOutOfReachOfRoot is HostIsOutOfReach by the root that a person can be
// in a class with sudo.
func HostIsOutOfReachOfRoot(t *testing.T, open Open, able Abilities, rootfs string) {
	need(t, able.NoImage)
	need(t, able.NoSudo)
	hostIsOutOfReach(t, open, able, onImage(t, Home(t, 1), 1, rootfs, true))
}

func hostIsOutOfReach(t *testing.T, open Open, able Abilities, spec sandbox.Spec) {
	data := t.TempDir()
	rt := open(t, data)
	b := start(t, rt, spec)
	b.able, b.up = able, spec.Sudo
	other := start(t, rt, Spec(t, Home(t, 2), 2))
	other.sh(t, "echo secret > ~ann/needle-of-the-other")
	secret := filepath.Join(data, "needle-of-the-gateway")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}

	t.Run("processes", func(t *testing.T) { hostProcesses(t, b, other) })
	t.Run("files", func(t *testing.T) { hostFiles(t, data, secret, b, other) })
	t.Run("sockets", func(t *testing.T) { hostSockets(t, data, b, other) })
	if os.Geteuid() == 0 {
		t.Run("uids", func(t *testing.T) { hostUIDs(t, b, other) })
	}
}

func hostFiles(t *testing.T, data, secret string, b, other *box) {
	paths := []string{secret, data, other.Home, filepath.Join(other.Home, "needle-of-the-other"), "/boot/grub", "/root/.ssh",
		"/proc/kcore", "/proc/keys", "/proc/1/environ", "/proc/1/maps", "/proc/sched_debug", "/dev/mem", "/dev/kmsg", "/dev/fuse"}
	if b.Base == "" { // an image has its own
		paths = append(paths, "/etc/shadow", "/etc/gshadow", "/etc/machine-id", "/etc/ssh/ssh_config", "/etc/fstab")
	}
	for _, root := range []bool{false, true} {
		for _, path := range paths {
			b.denied(t, root, "read", path)
			b.denied(t, root, "read", "/proc/1/root"+path)
		}
		if out := b.run(t, root, "/bin/sh", "-c", "find / -name 'needle-of-*' 2>/dev/null").Out; out != "" {
			t.Errorf("found %s (root inside: %v)", out, root)
		}
		for _, name := range []string{"fd/1", "fd/3", "cwd", "exe"} { // root inside may see their numbers
			if a := b.run(t, root, "/bin/readlink", "/proc/1/"+name); a.Code == 0 {
				t.Errorf("the guest's %s: %s (root inside: %v)", name, a.Out, root)
			}
			b.denied(t, root, "read", "/proc/1/"+name)
		}
	}
	if out := b.sh(t, "ls -A /sys/fs/cgroup"); out != "" {
		t.Errorf("the host's cgroups: %s", out)
	}
}

func hostProcesses(t *testing.T, b, other *box) {
	const mark = "1234567.89"
	victim := exec.Command("sleep", mark)
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = victim.Process.Kill(); _ = victim.Wait() }()
	if out := b.sh(t, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"); strings.Contains(out, mark) {
		t.Errorf("sees a host process: %s", out)
	}
	// The host's numbers mean nothing inside. (Small ones may be taken there.)
	for _, pid := range []int{victim.Process.Pid, os.Getpid(), other.pid(t)} {
		if pid > 300 {
			b.denied(t, false, "kill", strconv.Itoa(pid))
			b.denied(t, true, "kill", strconv.Itoa(pid))
		}
	}
	if n := b.sh(t, "ls -d /proc/[0-9]* | wc -l"); len(n) > 1 {
		t.Errorf("%s processes inside", n)
	}
}

func hostSockets(t *testing.T, data string, b, other *box) {
	open := filepath.Join(t.TempDir(), "docker.sock")
	abstract := "@staithe-test-" + string(b.Session)
	for _, l := range [][2]string{{"unix", open}, {"unix", abstract}} {
		listener, err := net.Listen(l[0], l[1])
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{open, abstract, "/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock",
		"/run/dbus/system_bus_socket", "/run/systemd/private",
		filepath.Join(data, "sandboxes", string(other.Session), "guest.sock"),
		filepath.Join(data, "sandboxes", string(b.Session), "guest.sock")} {
		for _, root := range []bool{false, true} {
			b.denied(t, root, "connect-unix", path)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, root := range []bool{false, true} {
		b.denied(t, root, "connect-tcp", listener.Addr().String())
	}
}

// hostUIDs: on the host, two users' files and processes belong to two uids, and
// neither is anyone else's.
func hostUIDs(t *testing.T, b, other *box) {
	person := *b
	person.up = false
	for _, x := range []*box{&person, other} {
		x.sh(t, "touch ~ann/mine && chmod u+s ~ann/mine")
		info, err := os.Stat(filepath.Join(x.Home, "mine"))
		if err != nil {
			t.Fatal(err)
		}
		// The user's own, or where homes are mounted idmapped everyone's 1000.
		own := uint32(station.HostUID(x.UIDRange, station.SandboxUID))
		if st := info.Sys().(*syscall.Stat_t); st.Uid != st.Gid || st.Uid != own && st.Uid != station.SandboxUID {
			t.Errorf("file of range %d belongs to %d:%d", x.UIDRange, st.Uid, st.Gid)
		}
		if b.able.NoUserNS != "" {
			t.Log("the guest's uid is not looked at: " + b.able.NoUserNS)
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", x.pid(t)))
		if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nUid:\t%d\t", station.HostUID(x.UIDRange, 0))) {
			t.Errorf("guest of range %d: %v\n%s", x.UIDRange, err, status)
		}
	}
}

// kernelAttacks are the doors that have led out of containers.
var kernelAttacks = []string{"af-alg", "af-vsock", "af-packet", "raw-ip", "raw-ip6", "socketcall-32", "userfaultfd", "keyctl", "add-key",
	"bpf", "perf", "io-uring", "mount", "remount-usr", "umount-masked", "fsopen", "open-tree-clone", "unshare-user", "unshare-net",
	"clone-user", "clone3-user", "pivot", "init-module", "sethostname", "open-by-handle"}

// kernelFiles are the host's switches and devices.
var kernelFiles = []string{"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/proc/sys/net/ipv4/ip_forward",
	"/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_helper", "/sys/power/state", "/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda"}

// guestAttacks are tried on the guest.
var guestAttacks = []string{"ptrace-attach", "ptrace-seize", "read-memory", "open-mem", "pidfd-getfd"}

// KernelIsClosed tries, from inside, the doors that have led out of containers,
// as the person and as the guest's own uid 0.
func KernelIsClosed(t *testing.T, open Open, able Abilities) {
	b := start(t, open(t, t.TempDir()), Spec(t, Home(t, 1), 1))
	b.able = able
	if a := b.run(t, false, b.guestInside(t), "probe", "control"); a.Code != 1 || !strings.HasPrefix(a.Out, "ALLOWED") {
		t.Fatalf("probes do not work: %+v", a)
	}
	for _, attack := range append([]string{"kill", "setns"}, guestAttacks...) {
		b.denied(t, false, attack, "1")
	}
	for _, attack := range []string{"setuid-0", "setgroups"} {
		b.denied(t, false, attack)
	}
	for _, root := range []bool{false, true} {
		b.closed(t, root)
		b.denied(t, root, "chroot")
		for _, path := range []string{"/etc/probe", "/usr/bin/probe", "/usr/probe", "/probe"} {
			b.denied(t, root, "create", path)
		}
	}
	b.denied(t, false, "open-write", b.guestInside(t))
	setuidGivesNothing(t, b)
}

// KernelIsClosedToRoot is KernelIsClosed by the root that a person can be in a
// class with sudo, with all its capabilities.
func KernelIsClosedToRoot(t *testing.T, open Open, able Abilities, rootfs string) {
	need(t, able.NoImage)
	need(t, able.NoSudo)
	b := start(t, open(t, t.TempDir()), onImage(t, Home(t, 1), 1, rootfs, true))
	b.able, b.up = able, true
	if got := b.sh(t, "id -u; grep CapEff /proc/self/status"); !strings.HasPrefix(got, "0\n") || strings.HasSuffix(got, "0000000000000000") {
		t.Fatalf("not root: %s", got)
	}
	for _, attack := range append([]string{"setns"}, guestAttacks...) {
		b.denied(t, false, attack, "1")
	}
	b.closed(t, false)
	b.denied(t, false, "open-write", b.guestInside(t))
	if reason := able.Harmless["kill-init"]; reason != "" {
		t.Log("root inside does not signal the guest on this provider: " + reason)
		return
	}
	b.run(t, false, "/bin/sh", "-c", "kill -9 1; kill -STOP 1") // PID 1 takes neither from inside
	if err := b.health(); err != nil {
		t.Errorf("the guest: %v", err)
	}
}

// closed tries everything that nobody inside may do.
func (b *box) closed(t *testing.T, root bool) {
	t.Helper()
	for _, attack := range kernelAttacks {
		b.denied(t, root, attack)
	}
	for _, path := range kernelFiles {
		b.denied(t, root, "open-write", path)
	}
	for _, path := range []string{"/tmp/node", "/home/ann/node", "/dev/shm/node"} {
		b.denied(t, root, "mknod-mem", path)
		b.denied(t, root, "mknod-disk", path)
	}
}

// setuidGivesNothing: neither the host's setuid programs nor one that the
// sandbox's own root plants make the person anyone else.
func setuidGivesNothing(t *testing.T, b *box) {
	if a := b.run(t, true, "/bin/sh", "-c", "cp /usr/bin/id /tmp/rootid && chmod 4755 /tmp/rootid"); a.Code != 0 {
		t.Fatalf("plant: %+v", a)
	}
	if got := b.sh(t, "/tmp/rootid -u"); got != b.person(t, b.able) {
		t.Errorf("a planted setuid program ran as %s", got)
	}
	status := b.sh(t, "grep -h '^Cap\\(Prm\\|Eff\\|Inh\\|Amb\\)' /proc/self/status | awk '{print $2}' | sort -u")
	if status != "0000000000000000" {
		t.Errorf("the person has capabilities: %s", status)
	}
	if a := b.run(t, false, "/usr/bin/su", "-c", "id"); a.Code == 0 {
		t.Errorf("su worked: %s", a.Out)
	}
}

// NamesAreNeverFolded tries names that normalise alike, or into another path.
func NamesAreNeverFolded(t *testing.T, open Open, _ Abilities) {
	data := t.TempDir()
	rt := open(t, data)
	for what, spoil := range map[string]func(*sandbox.Spec, string){
		"session": func(s *sandbox.Spec, v string) { s.Session = station.ID(v) },
		"user":    func(s *sandbox.Spec, v string) { s.UserName = v },
		"host":    func(s *sandbox.Spec, v string) { s.Hostname = v },
	} {
		for _, v := range []string{"", ".", "..", "a.b", "A-B", "a_b", "a b", "-a", "a/b", "../x", "a\x00", "a\n", "ａｂ", "ﬁn", "naı̈ve", "Kelvin", "аbc",
			"a:b", "a,b", strings.Repeat("a", 64)} {
			spec := Spec(t, Home(t, 1), 1)
			spoil(&spec, v)
			if err := rt.Start(t.Context(), spec); err == nil {
				t.Errorf("%s name %+q was taken", what, v)
				if err := rt.Stop(t.Context(), spec.Session); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if left := list(t, rt); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	// What is allowed and looks alike is two sandboxes.
	home := Home(t, 1)
	var seen []string
	for _, name := range []string{"a-b", "ab", "a--b"} {
		spec := Spec(t, home, 1)
		spec.UserName, spec.Hostname = name, name
		b := start(t, rt, spec)
		seen = append(seen, b.sh(t, "echo $(id -un) $(hostname) ~"+name+" $(readlink /proc/self/ns/pid)"))
	}
	for i, got := range seen {
		name := []string{"a-b", "ab", "a--b"}[i]
		if !strings.HasPrefix(got, fmt.Sprintf("%s %s /home/%s pid:", name, name, name)) {
			t.Errorf("%s is %s", name, got)
		}
	}
}
