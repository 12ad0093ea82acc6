package egress

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"staithe/internal/station"
)

// ProbeCommand is the argument with which the program tries to make a way out's
// interfaces in the namespaces it was started in, and ends.
const ProbeCommand = "probe"

// Probe says whether ways out can be made on this machine: it has the program
// make their interfaces in namespaces of their own, which go with it. The error
// wraps station.ErrUnavailable, and its sentence says what to do.
func Probe(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, binary, ProbeCommand)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(string(out))
	fix := "Allow it network namespaces and veth pairs (in a container: --privileged), or give the classes network = none."
	if strings.Contains(said, syscall.EOPNOTSUPP.Error()) {
		fix = "Load the kernel's module for veth pairs (sudo modprobe veth), or give the classes network = none."
	}
	if said == "" {
		said = err.Error()
	}
	return station.Errorf(station.ErrUnavailable, "no_way_out", "Sessions cannot have a network on this machine: %s. %s", said, fix).Because(err)
}
