package restic

import (
	"os"
	"testing"

	"staithe/internal/rootlesstest"
)

// All this once more by an account that is not root: in a user namespace.
func TestRootless(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this is the account that is not root")
	}
	if passed := rootlesstest.Run(t, rootlesstest.Again{Run: "^Test(RoundTrip|Overlay|Abuse24_Restics.*)$"}); passed < 4 {
		t.Errorf("only %d tests", passed)
	}
}
