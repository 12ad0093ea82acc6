package oci

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// nsenterLimit bounds a step that takes 3 ms.
const nsenterLimit = 10 * time.Second

// limitNamespace writes the limits that the kernel keeps per user namespace
// (namespaces(7), /proc/sys/user): inotify's, and that no further user
// namespace is made below. They must be written by a process in that namespace
// which has CAP_SYS_RESOURCE there; the sandbox's own have not, so one of the
// host's goes in, and no further: its files and processes stay the host's. Only
// a process with a single thread may do that, which no Go program is.
func limitNamespace(ctx context.Context, pid int, b bounds) error {
	ctx, cancel := context.WithTimeout(ctx, nsenterLimit)
	defer cancel()
	var script strings.Builder
	for name, value := range map[string]int{
		"max_inotify_watches": b.watches, "max_inotify_instances": b.instances, "max_user_namespaces": 0,
	} {
		fmt.Fprintf(&script, "echo %d > /proc/sys/user/%s || exit 1\n", value, name)
	}
	cmd := exec.CommandContext(ctx, "nsenter", fmt.Sprintf("--user=/proc/%d/ns/user", pid), "/bin/sh", "-c", script.String())
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("limit the sandbox's user namespace: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
