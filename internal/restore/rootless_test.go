package restore

import (
	"testing"

	"staithe/internal/rootlesstest"
)

// TestRootless does some of this again in an account that is not root.
func TestRootless(t *testing.T) {
	if passed := rootlesstest.Run(t, rootlesstest.Again{Run: "^(TestWholeHomeInPlaceAndUndo|TestFolderAndFileBeside|TestTotalLoss)$"}); passed < 3 {
		t.Errorf("%d tests passed", passed)
	}
}
