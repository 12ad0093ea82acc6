package oci

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// onV2 shows this process's descendants a host with cgroups v2 alone: what is
// mounted beside v1 on many machines. Its controllers are taken by v1, but the
// core is there: freezing, killing, measuring processor time.
const onV2 = `set -e
mount --make-rprivate /
mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup
exec "$TEST" -test.run="$RUN" -test.v=$VERBOSE
`

const onV2Env = "OCI_TEST_ON_V2"

// TestUnifiedCgroups runs what has to do with cgroups again on v2.
func TestUnifiedCgroups(t *testing.T) {
	switch {
	case os.Geteuid() != 0:
		t.Skip("needs root to mount cgroups another way")
	case cgroupMode() == cgroupV2:
		t.Skip("this host has cgroups v2 alone: all tests run on it")
	case cgroupMode() != cgroupHybrid:
		t.Skip("this host mounts no cgroups v2 beside v1; boot with systemd.unified_cgroup_hierarchy=1 to test on v2")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	verbose := "false"
	if testing.Verbose() {
		verbose = "true"
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-c", onV2)
	cmd.Env = append(os.Environ(), "TEST="+self, "VERBOSE="+verbose, onV2Env+"=1",
		"RUN=^(TestConformance|TestAbuse37.*|TestAbuse40_StopWithoutNotes|TestIsOnV2)$/^(crun|runc)$/^(StartDialStop|StopLeavesNothing|FreezeThaw|StopFrozen|.*record|.*state|neither)$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// TestIsOnV2 sees to it that TestUnifiedCgroups tests what it says.
func TestIsOnV2(t *testing.T) {
	if os.Getenv(onV2Env) == "" {
		t.Skip("a part of TestUnifiedCgroups")
	}
	if got := newCgroups(true).layout; got != cgroupV2 {
		t.Errorf("cgroups are %s", got)
	}
}
