package egress_test

import (
	"testing"

	"staithe/internal/rootlesstest"
)

// TestRootless runs the tests again in a gateway that is not root, in the same
// network namespace.
func TestRootless(t *testing.T) {
	needWorld(t)
	rootlesstest.Run(t, rootlesstest.Again{
		Run: "^(TestA|TestInternet|TestIt|TestStarts)",
		Env: []string{partEnv + "=" + partUser, binEnv + "=" + egressBinary, confEnv + "=" + resolvConf},
	})
}
