package sandboxtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/sandbox"
)

// RunImage checks sandboxes on an image, which has apt, bash and sudo; rootfs
// is where it is unpacked, with the ids of the inside.
func RunImage(t *testing.T, open Open, able Abilities, rootfs string) {
	need(t, able.NoImage)
	for _, c := range []struct {
		name string
		test func(t *testing.T, open Open, able Abilities, rootfs string)
	}{
		{"ImageIsUsable", imageUsable},
		{"ImageIsSharedReadOnly", imageShared},
		{"MissingImage", imageMissing},
		{"Sudo", sudo},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open, able, rootfs) })
	}
}

func onImage(t testing.TB, home string, uidRange int, rootfs string, sudo bool) sandbox.Spec {
	t.Helper()
	spec := Spec(t, home, uidRange)
	spec.Base, spec.Sudo = rootfs, sudo
	return spec
}

// imageUsable: the person is an account of the image, in its own home, and has
// no way up.
func imageUsable(t *testing.T, open Open, _ Abilities, rootfs string) {
	b := start(t, open(t, t.TempDir()), onImage(t, Home(t, 1), 1, rootfs, false))
	for script, want := range map[string]string{
		"id -un && id -u && id -g":                  "ann\n1000\n1000",
		"hostname && cd ~ann && pwd":                "main\n/home/ann",
		"getent hosts localhost | wc -l":            "1",
		"getent passwd root _apt | cut -d: -f1":     "root\n_apt",
		"stat -c '%U %u' / /usr /etc/passwd":        "root 0\nroot 0\nroot 0",
		"echo x > ~ann/a && stat -c %U ~ann/a":      "ann",
		"grep CapEff /proc/self/status":             "CapEff:\t0000000000000000",
		"grep NoNewPrivs /proc/self/status":         "NoNewPrivs:\t1",
		"stat -c %a /tmp /var/tmp":                  "1777\n1777",
		"dpkg --version | head -n1 | cut -d' ' -f1": "Debian",
	} {
		if got := b.sh(t, script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	for _, path := range []string{"/usr/x", "/etc/x", "/x", "/run/x", "/home/x", "/etc/passwd"} {
		if a := b.run(t, false, "/bin/sh", "-c", "echo x >> "+path); a.Code == 0 {
			t.Errorf("the person can write %s", path)
		}
	}
	for _, script := range []string{"sudo -n true", "su -c true </dev/null"} {
		if a := b.run(t, false, "/bin/sh", "-c", script); a.Code == 0 {
			t.Errorf("%s worked: %s", script, a.Out)
		}
	}
}

// imageShared: what one session's root changes in the image is nobody else's,
// and gone with the sandbox.
func imageShared(t *testing.T, open Open, able Abilities, rootfs string) {
	data := t.TempDir()
	rt := open(t, data)
	before := stamp(t, rootfs)
	a, b := start(t, rt, onImage(t, Home(t, 1), 1, rootfs, true)), start(t, rt, onImage(t, Home(t, 2), 2, rootfs, true))
	a.asRoot(t, "echo changed > /usr/needle && rm /etc/os-release && chmod 0 /usr/bin/dpkg && echo x >> /usr/bin/apt-get")
	if got := b.sh(t, "ls /usr/needle 2>&1; test -e /etc/os-release && dpkg --version >/dev/null && tail -c2 /usr/bin/apt-get | grep -c x; true"); strings.Contains(got, "\n1") || !strings.Contains(got, "No such file") {
		t.Errorf("the other session sees %q", got)
	}
	if now := stamp(t, rootfs); now != before {
		t.Errorf("the image changed: %v, was %v", now, before)
	}
	// Deeper than a process has descriptors or a path has bytes.
	a.asRoot(t, "exec perl -e 'mkdir q(/deep); chdir q(/deep) or die; for (1..200) { mkdir q(d)x200 or die; chdir q(d)x200 or die }'")
	mounts := hostMounts(t)
	if err := rt.Stop(t.Context(), a.Session); err != nil {
		t.Fatal(err)
	}
	Traceless(t, data, a.Session)
	if now := hostMounts(t); strings.Join(now, "\n") != strings.Join(mounts, "\n") {
		t.Errorf("mounts changed: %v\n%v", mounts, now)
	}
	if err := rt.Start(t.Context(), a.Spec); err != nil {
		t.Fatal(err)
	}
	a.sh(t, "test ! -e /usr/needle && test -e /etc/os-release")
}

// stamp is what a change of an image would change.
func stamp(t *testing.T, rootfs string) string {
	t.Helper()
	var out strings.Builder
	for _, name := range []string{"", "usr", "usr/bin/dpkg", "usr/bin/apt-get", "etc"} {
		info, err := os.Lstat(filepath.Join(rootfs, name))
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(info.Mode().String() + " " + info.ModTime().String() + "\n")
	}
	return out.String()
}

func imageMissing(t *testing.T, open Open, _ Abilities, rootfs string) {
	data := t.TempDir()
	rt := open(t, data)
	for _, base := range []string{rootfs + "-missing", "relative", "/etc/passwd"} {
		spec := onImage(t, Home(t, 1), 1, base, false)
		if err := rt.Start(t.Context(), spec); err == nil {
			t.Errorf("%s was taken as an image", base)
		}
		Traceless(t, data, spec.Session)
	}
	spec := Spec(t, Home(t, 1), 1)
	spec.Sudo = true
	if err := rt.Start(t.Context(), spec); err == nil {
		t.Error("root inside on the host's own programs")
	}
	Traceless(t, data, spec.Session)
}

// sudo: the person becomes root inside, and packages can be installed.
func sudo(t *testing.T, open Open, able Abilities, rootfs string) {
	need(t, able.NoSudo)
	b := start(t, open(t, t.TempDir()), onImage(t, Home(t, 1), 1, rootfs, true))
	if got := b.sh(t, "id -u; sudo id -u; sudo -u _apt id -un; sudo su -c 'id -un'"); got != "1000\n0\n_apt\nroot" {
		t.Errorf("who is who: %q", got)
	}
	b.sh(t, buildPackage)
	b.sh(t, "sudo apt-get install -y /tmp/staithe-hello.deb </dev/null >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }")
	if got := b.sh(t, "staithe-hello; stat -c '%U %a' /usr/bin/staithe-hello; dpkg -s staithe-hello | grep ^Status; getent passwd hello | cut -d: -f1"); got != "hello\nroot 755\nStatus: install ok installed\nhello" {
		t.Errorf("the package: %q", got)
	}
	b.sh(t, "sudo dpkg -r staithe-hello >/dev/null && ! command -v staithe-hello")
	b.sh(t, "sudo chown root: ~ann && sudo chown ann: ~ann && sudo touch ~ann/of-root && sudo chmod u+s ~ann/of-root")
	if a := b.run(t, false, "/bin/sh", "-c", "grep -h CapEff /proc/self/status"); !strings.Contains(a.Out, "0000000000000000") {
		t.Errorf("the person has capabilities without sudo: %s", a.Out)
	}
}

// buildPackage makes a small package that has a program and adds an account.
const buildPackage = `set -e
mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin
printf '#!/bin/sh\necho hello\n' > /tmp/p/usr/bin/staithe-hello
chmod 755 /tmp/p/usr/bin/staithe-hello
printf 'Package: staithe-hello\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a greeting\n' > /tmp/p/DEBIAN/control
printf '#!/bin/sh\nset -e\nuseradd --system --no-create-home hello\nchown hello: /var/lib/misc\n' > /tmp/p/DEBIAN/postinst
chmod 755 /tmp/p/DEBIAN/postinst
dpkg-deb --root-owner-group --build /tmp/p /tmp/staithe-hello.deb >/dev/null`

// asRoot runs a shell command as the root that the person can be.
func (b *box) asRoot(t testing.TB, script string) string {
	t.Helper()
	a := b.run(t, false, "/usr/bin/sudo", "-n", "/bin/bash", "-c", script)
	if a.Code != 0 {
		t.Fatalf("as root: %s: exit %d\n%s", script, a.Code, a.Out)
	}
	return strings.TrimSpace(a.Out)
}
