package oci

import (
	"testing"

	"staithe/internal/rootlesstest"
	"staithe/internal/sandbox/sandboxtest"
)

// TestRootless runs the conformance suite and the attacks again in a gateway
// that is not root.
func TestRootless(t *testing.T) {
	rootlesstest.Run(t, rootlesstest.Again{
		Run:    "^(TestConformance|TestAbuse.*)$",
		Copies: map[string]string{sandboxtest.GuestEnv: sandboxtest.Guest(t)},
		// crun takes pure layouts only; without it this is v1, which will do.
		Prepare: "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified",
	})
}
