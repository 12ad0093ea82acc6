package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run executes a shell script in which $staithe is the binary, and returns its
// exit code and what it said.
func run(t testing.TB, script string, env ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	cmd.WaitDelay = time.Second
	cmd.Env = append(append(os.Environ(), "staithe="+binary), env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// hideRuntimes begins a shell command on a machine without an OCI runtime.
const hideRuntimes = `exec unshare -m sh -c 'for r in crun runc; do mount --bind /dev/null $(command -v $r); done; `

// Each mistake gets a sentence that says what to do, an exit code other than 0,
// and leaves nothing half made.
func TestBadStartsSayWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cases := []struct {
		name, script string
		want         []string
		left         []string // allowed in the data directory afterwards
	}{
		{"port taken", `exec $staithe serve --data $data --listen ` + taken.Addr().String(),
			[]string{"already listens", "--listen"}, []string{"lock"}},
		{"no such address", `exec $staithe serve --data $data --listen 192.0.2.1:80 --url http://x.example`,
			[]string{"does not have the address", "--listen"}, []string{"lock"}},
		{"beyond loopback without a URL", `exec $staithe serve --data $data --listen 0.0.0.0:8080`,
			[]string{"--url"}, nil},
		{"unknown flag", `exec $staithe serve --colour red`, []string{"unknown flag", "help"}, nil},
		{"unknown command", `exec $staithe sereve`, []string{"unknown command", "help"}, nil},
		{"unknown runtime", `exec $staithe serve --data $data --listen 127.0.0.1:0 --runtime lxc`, []string{"runtime", "crun"}, nil},
		{"class with a field that is none", `exec $staithe serve --data $data --listen 127.0.0.1:0 --class standard.ram=4g`, []string{"--class", "memory"}, nil},
		{"class that cannot be", `exec $staithe serve --data $data --listen 127.0.0.1:0 --class dev.sudo=yes`, []string{"class dev", "image"}, nil},
		{"default class that is none", `STAITHE_DEFAULT_CLASS=gpu exec $staithe serve --data $data --listen 127.0.0.1:0`, []string{"default-class", "gpu"}, nil},
		{"data directory is a file", `touch $data/f; exec $staithe serve --data $data/f --listen 127.0.0.1:0`,
			[]string{"--data"}, []string{"f"}},
		{"data directory not writable", `exec unshare -m sh -c 'mount -t tmpfs -o ro none $data && exec $staithe serve --data $data/x --listen 127.0.0.1:0'`,
			[]string{"may not be written", "--data"}, nil},
		{"disk full", `exec unshare -m sh -c 'mount -t tmpfs -o size=200k none $data && exec $staithe serve --data $data/x --listen 127.0.0.1:0'`,
			[]string{"full", "free some space"}, nil},
		{"disk nearly full", `exec unshare -m sh -c 'mount -t tmpfs -o size=3m none $data && exec $staithe serve --data $data/x --listen 127.0.0.1:0'`,
			[]string{"full", "free some space"}, nil},
		{"no runtime installed", hideRuntimes + `exec $staithe serve --data $data --listen 127.0.0.1:0'`,
			[]string{"crun", "apt-get install"}, nil},
		{"user namespaces forbidden", `exec unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec $staithe serve --data $data --listen 127.0.0.1:0'`,
			[]string{"user namespaces", "sysctl"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			data := dataDir(t)
			code, stdout, stderr := run(t, c.script, "data="+data)
			if code == 0 || stdout != "" {
				t.Errorf("exit code %d, standard output %q", code, stdout)
			}
			for _, w := range c.want {
				if !strings.Contains(stderr, w) {
					t.Errorf("it does not say %q but: %s", w, stderr)
				}
			}
			if strings.Contains(stderr, "goroutine ") || strings.Contains(stderr, "panic") {
				t.Errorf("a stack instead of a sentence: %s", stderr)
			}
			left, err := filepath.Glob(filepath.Join(data, "sandboxes", "*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
			if c.left != nil {
				names, err := os.ReadDir(data)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range names {
					if !strings.Contains(strings.Join(c.left, " "), n.Name()) {
						t.Errorf("left behind: %s", n.Name())
					}
				}
			}
		})
	}
}

// Two servers on one data directory would fight over its sandboxes.
func TestSecondServerOnTheSameData(t *testing.T) {
	s := serve(t)
	code, _, stderr := run(t, "exec $staithe serve --listen 127.0.0.1:0 --data "+s.data)
	if code == 0 || !strings.Contains(stderr, "Another staithe serves") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestBadRequestsSayWhatToDo(t *testing.T) {
	s := serve(t)
	c := s.bearer(s.token)
	for _, r := range []struct {
		method, path string
		in           any
		status       int
	}{
		{"GET", "/sessions/nope", nil, 404},
		{"GET", "/sessions/NOT%20an%20id", nil, 404},
		{"GET", "/sessions/..%2f..%2fetc", nil, 404},
		{"POST", "/sessions/nope/wake", nil, 404},
		{"POST", "/sessions", map[string]any{"name": "UPPER"}, 422},
		{"POST", "/sessions", map[string]any{"name": ""}, 422},
		{"POST", "/sessions", map[string]any{"name": "main"}, 409},
		{"POST", "/sessions", map[string]any{"name": 5}, 422},
		{"POST", "/sessions/main/tabs", map[string]any{"name": "a b"}, 422},
		{"POST", "/sessions/main/tabs", map[string]any{"command": []string{"/no/such"}}, 422},
		{"DELETE", "/sessions/main/tabs/nope", nil, 404},
		{"GET", "/no/such/route", nil, 404},
	} {
		status, body := c.do(r.method, r.path, r.in)
		// A bad name is 400 or 422: both say that the request cannot work.
		if status != r.status && !(r.status == 422 && status == 400) {
			t.Errorf("%s %s %v: %d, want %d: %s", r.method, r.path, r.in, status, r.status, body)
		}
		var p struct{ Code, Detail string }
		if err := unmarshal(body, &p); err != nil || p.Code == "" || len(p.Detail) < 10 {
			t.Errorf("%s %s: no code and sentence: %s", r.method, r.path, body)
		}
	}
}

func TestDoctor(t *testing.T) {
	data := dataDir(t)
	code, out, stderr := run(t, "exec $staithe doctor --listen 127.0.0.1:0 --data "+data)
	if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v %v", left, err)
	}
	if code != 0 || strings.Contains(out, "✗") {
		t.Errorf("%d\n%s\n%s", code, out, stderr)
	}
	for _, hop := range []string{"data", "listen", "store", "runtime", "user namespaces", "new namespaces", "cgroups", "network", "class standard", "files", "guest", "websocket", "pty"} {
		if !strings.Contains(out, "✓ "+hop) {
			t.Errorf("hop %q is not walked:\n%s", hop, out)
		}
	}
	for name, c := range map[string]struct{ script, want string }{
		"no runtime": {hideRuntimes + "exec $staithe doctor --listen 127.0.0.1:0 --data $data'", "apt-get install"},
		"no userns":  {"exec unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec $staithe doctor --listen 127.0.0.1:0 --data $data'", "sysctl"},
		"no image":   {"exec $staithe doctor --listen 127.0.0.1:0 --data $data --class dev.base=debian", "staithe image import debian FILE"},
		"no gVisor":  {"PATH=/usr/sbin:/usr/bin:/sbin:/bin exec $staithe doctor --listen 127.0.0.1:0 --data $data --class hardened.memory=1g", "go install gvisor.dev/gvisor/runsc"},
		// What a container engine does to /proc, and to the capabilities of root.
		"masked /proc":      {"exec unshare -m sh -c 'mount -t tmpfs none /proc/irq && exec $staithe doctor --listen 127.0.0.1:0 --data $data'", "of its own cannot be made"},
		"root by name only": {"exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin $staithe doctor --listen 127.0.0.1:0 --data $data", "CAP_SYS_ADMIN"},
		// Ubuntu 24.04 forbids user namespaces to accounts that are not root.
		"AppArmor": {`cp $staithe $data/staithe && chmod 755 $data $data/staithe && exec unshare -m sh -c 'mount -t tmpfs none /proc/sys/kernel &&
			echo 1 > /proc/sys/kernel/apparmor_restrict_unprivileged_userns &&
			exec setpriv --reuid 65534 --regid 65534 --clear-groups $data/staithe doctor --listen 127.0.0.1:0 --data /tmp/none'`,
			"echo kernel.apparmor_restrict_unprivileged_userns=0 > /etc/sysctl.d/60-staithe.conf"},
		"port taken":  {"exec $staithe doctor --data $data --listen $taken", "--listen"},
		"data a file": {"exec $staithe doctor --data /etc/passwd --listen 127.0.0.1:0", "--data"},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		code, out, stderr := run(t, c.script, "data="+data, "taken="+ln.Addr().String())
		ln.Close()
		if code == 0 || !strings.Contains(out, "✗") || !strings.Contains(out+stderr, c.want) {
			t.Errorf("%s: %d\n%s%s", name, code, out, stderr)
		}
	}
}
