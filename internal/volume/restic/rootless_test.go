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
	if passed := rootlesstest.Run(t, rootlesstest.Again{Run: "^Test(RoundTrip|Overlay|Unread.*|Abuse24_Restics.*)$",
		Prepare: `mkdir -m 777 "$HOME/foreign"; echo x >"$HOME/foreign/theirs"; chmod 600 "$HOME/foreign/theirs"`}); passed < 6 {
		t.Errorf("only %d tests", passed)
	}
}
