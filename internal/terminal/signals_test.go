package terminal

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a server was started with ignored, as by nohup, is not ignored in its shells.
func TestShellsHearSignalsThatTheServerIgnores(t *testing.T) {
	if os.Getenv("STAITHE_TEST_IGNORES") == "" {
		again := exec.Command("/bin/sh", "-c", `trap '' HUP INT TSTP TTIN TTOU; exec "$0" -test.run '^TestShellsHearSignals' -test.v`, os.Args[0])
		again.Env = append(os.Environ(), "STAITHE_TEST_IGNORES=1")
		out, err := again.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	if len(ignoredSignals()) < 5 {
		t.Fatalf("this process ignores %v only", ignoredSignals())
	}
	p := pull(sh(t, `trap 'echo heard; exit' HUP; grep SigIgn /proc/self/status; kill -HUP $$; echo deaf`), Join{Fresh: true})
	p.until(t, "exit", func() bool { return p.exit() != nil })
	got := p.got.String()
	mask, _, _ := strings.Cut(got[max(strings.Index(got, "SigIgn:"), 0):], "\r\n")
	ignored, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(mask, "SigIgn:")), 16, 64)
	const asked = 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)
	if err != nil || ignored&asked != 0 || !strings.Contains(got, "heard") || strings.Contains(got, "deaf") {
		t.Errorf("%q", got)
	}
}
