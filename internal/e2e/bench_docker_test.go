package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"staithe/internal/sandbox/docker/servicetest"
	"staithe/internal/sandbox/hostbase"
)

// BenchmarkDockerRun is what BenchmarkSessionStart is to be compared with: from
// `docker run --rm -it` to the first byte of the prompt of bash, in a container
// that has the host's /usr and no network. The image is made as the provider for
// Docker makes its own.
func BenchmarkDockerRun(b *testing.B) {
	if _, err := exec.LookPath("docker"); err != nil {
		b.Skip("SKIP(docker): no docker command; run tools/setup.sh test")
	}
	host := servicetest.Need(b, "docker")
	image := dockerImage(b, host)
	run := []string{"run", "--rm", "-it", "--network", "none", "--read-only", "-v", "/usr:/usr:ro", "-e", "HOME=/", image, "/bin/bash", "-l"}
	var prompt times
	for b.Loop() {
		begun := time.Now()
		cmd := exec.Command("docker", append([]string{"-H", host}, run...)...)
		f, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 80, Rows: 24})
		if err != nil {
			b.Fatal(err)
		}
		first := make([]byte, 512)
		n, err := f.Read(first)
		if err != nil {
			b.Fatal(err)
		}
		prompt = append(prompt, time.Since(begun))
		b.StopTimer()
		if _, err := f.WriteString("exit 7\n"); err != nil {
			b.Fatal(err)
		}
		said, err := io.ReadAll(f)
		if err != nil && !errors.Is(err, syscall.EIO) { // how a PTY says that its other end is gone
			b.Fatal(err)
		}
		f.Close()
		// That status only bash gives: it was its prompt, and no complaint of docker's.
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 7 {
			b.Fatalf("docker run: %v: %s%s", cmd.ProcessState, first[:n], said)
		}
		b.StartTimer()
	}
	prompt.report(b, "prompt")
}

// dockerImage imports the base that sandboxes share.
func dockerImage(b *testing.B, host string) string {
	b.Helper()
	base, err := hostbase.Ensure(b.TempDir(), func(string) bool { return false })
	if err != nil {
		b.Fatal(err)
	}
	if len(base.Bound) > 0 {
		b.Skip("SKIP(docker): this host has folders beside /usr that the benchmark does not mount: " + strings.Join(base.Bound, " "))
	}
	tar := exec.Command("tar", "-C", base.Rootfs, "-c", ".")
	load := exec.Command("docker", "-H", host, "import", "-", "staithe-bench:base")
	load.Stderr = os.Stderr
	if load.Stdin, err = tar.StdoutPipe(); err != nil {
		b.Fatal(err)
	}
	if err := tar.Start(); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(load.Run(), tar.Wait()); err != nil {
		b.Fatal(err)
	}
	return "staithe-bench:base"
}
