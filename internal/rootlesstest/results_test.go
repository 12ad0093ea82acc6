package rootlesstest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestResults(t *testing.T) {
	passed, skips := results(`=== RUN   TestOne
    one_test.go:4: a word
--- PASS: TestOne (0.00s)
=== RUN   TestAll
=== RUN   TestAll/first
=== PAUSE TestAll/first
=== RUN   TestAll/second
    all_test.go:7: not here: apt-get install it
=== CONT  TestAll/first
    all_test.go:9: some log
=== NAME  TestAll/first
    all_test.go:9: no such thing
        on two lines
--- PASS: TestAll (0.01s)
    --- SKIP: TestAll/second (0.00s)
    --- SKIP: TestAll/first (0.00s)
=== RUN   TestNone
    none_test.go:3: never
--- SKIP: TestNone (0.00s)
PASS
`)
	want := []skipped{{"TestAll/second", "all_test.go:7: not here: apt-get install it"},
		{"TestAll/first", "all_test.go:9: some log\nall_test.go:9: no such thing\non two lines"},
		{"TestNone", "none_test.go:3: never"}}
	if passed != 2 || !slices.Equal(skips, want) {
		t.Errorf("%d passed, skipped %q", passed, skips)
	}
}

// TestHere is what TestAgain runs in the account.
func TestHere(t *testing.T) {
	if want := os.Getenv("ROOTLESSTEST_COPY"); want == "" {
		return // it says something in the account alone
	} else if b, err := os.ReadFile(want); err != nil || string(b) != "a copy" || os.Getuid() < 1000 {
		t.Fatalf("uid %d: %q %v", os.Getuid(), b, err)
	}
	t.Run("skips", func(t *testing.T) { t.Skip("to be seen") })
}

// The tests run in an account that is not root, which has its files, and what
// became of them is told.
func TestAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making an account needs root; run the tests as root")
	}
	file := filepath.Join(t.TempDir(), "file") // in a folder that only root can enter
	if err := os.WriteFile(file, []byte("a copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := Again{Run: "^(TestHere|TestResults)$", Copies: map[string]string{"ROOTLESSTEST_COPY": file}, Prepare: "test $(id -u) = 0"}
	passed, skips, out, err := run(t, again)
	if err != nil || passed != 2 || len(skips) != 1 || skips[0].test != "TestHere/skips" || !strings.HasSuffix(skips[0].why, "to be seen") {
		t.Errorf("%d passed, skipped %q: %v\n%s", passed, skips, err, out)
	}
	again.Copies = map[string]string{"ROOTLESSTEST_COPY": "/dev/null"}
	if _, _, out, err := run(t, again); err == nil || !strings.Contains(out, "--- FAIL: TestHere") {
		t.Errorf("a test that fails in the account: %v\n%s", err, out)
	}
}
