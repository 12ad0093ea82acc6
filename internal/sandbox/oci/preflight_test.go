package oci

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestContainerIsSeen(t *testing.T) {
	for file, want := range map[string]container{
		"":                              "",
		".dockerenv":                    "docker",
		"run/.containerenv":             "podman",
		"run/systemd/container":         "systemd-nspawn",
		"var/run/secrets/kubernetes.io": "kubernetes",
		"proc/1/environ":                "lxc",
	} {
		root := t.TempDir()
		if file != "" {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("PATH=/bin\x00container=lxc\x00HOME=/\x00"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := findContainer(root); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}

// A check's detail says what is wrong and its fix what to do: both once.
func TestAMissingEngineSaysWhatToDoOnce(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, engine := range []string{"crun", "runsc", "other"} {
		c := checkEngine(engine, true)
		if c.OK {
			t.Skipf("SKIP: %s is found outside of PATH too: %s", engine, c.Detail)
		}
		if c.Detail == "" || c.Fix == "" || strings.Contains(c.Detail, c.Fix) || strings.HasSuffix(c.Detail, ".") {
			t.Errorf("%q: %q, to fix it: %q", engine, c.Detail, c.Fix)
		}
	}
}

// What is not enforced is said, with the exact way to have it.
func TestCgroupsSayWhatDoesNotHold(t *testing.T) {
	for _, c := range []struct {
		root, delegated bool
		layout          cgroupLayout
		ok              bool
		says, fix       string
	}{
		{false, true, cgroupV2, true, "limits hold", ""},
		{false, false, cgroupV2, true, "do not hold", "Delegate=yes"},
		{false, false, cgroupV1, true, "do not hold", "unified_cgroup_hierarchy=1"},
		{false, false, cgroupHybrid, false, "together", "unified_cgroup_hierarchy=1"},
		{true, false, cgroupNone, true, "do not hold", "mount -t cgroup2"},
	} {
		got := checkCgroups(c.root, c.layout, c.delegated)
		if got.OK != c.ok || !strings.Contains(got.Detail, c.says) || !strings.Contains(got.Fix, c.fix) || (c.fix == "") != (got.Fix == "") {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// In a namespace whose /proc is masked in part, as container engines do it, no
// sandbox can have its own. The child is this test in such a namespace.
func TestMaskedProcIsSeen(t *testing.T) {
	if os.Getenv("STAITHE_MASKED") != "" {
		c := checkNewNamespaces("docker")
		if c.OK || !strings.Contains(c.Fix, "docker run --privileged") || !strings.Contains(c.Detail, "container (docker)") {
			t.Errorf("%+v", c)
		}
		if c := checkNewNamespaces(""); c.OK || !strings.Contains(c.Fix, "dmesg") {
			t.Errorf("%+v", c)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root can mask a part of /proc as container engines do")
	}
	if c := checkNewNamespaces(""); !c.OK {
		t.Fatalf("without a mask: %+v", c)
	}
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs none /proc/irq && exec "$0" -test.run '^TestMaskedProcIsSeen$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "STAITHE_MASKED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
