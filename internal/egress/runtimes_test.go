package egress_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"staithe/internal/egress"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/oci"
	"staithe/internal/station"
)

// runtimeGuest is PID 1 of a real sandbox: it writes what it reached to the
// home, as soon as there is a network.
const runtimeGuest = `#!/bin/bash
try() { timeout 5 bash -c "exec 4<>/dev/tcp/$1/$2 && echo hello >&4 && read -t 5 x <&4 && echo \$x" 2>/dev/null; }
for i in {1..100}; do
	got=$(try %s 7)
	[ "$got" = hello ] && break
	sleep 0.1
done
out=/home/ann/out
{
	echo "web $got"
	echo "name $(getent ahostsv4 good.example | head -n1 | cut -d' ' -f1)"
	for a in %s; do echo "$a $(try $a 80)$(try $a 8080)"; done
} > $out.new
mv $out.new $out
exec sleep 1000
`

// TestRealRuntimes: sandboxes of each runtime that is there reach the internet,
// and what they must not reach they do not.
func TestRealRuntimes(t *testing.T) {
	needWorld(t)
	for _, engine := range []string{"crun", "runc"} {
		t.Run(engine, func(t *testing.T) {
			if _, err := exec.LookPath(engine); err != nil {
				t.Skipf("%s is not installed: install it to try the network of its sandboxes", engine)
			}
			realRuntime(t, engine)
		})
	}
}

func realRuntime(t *testing.T, engine string) {
	dir, err := os.MkdirTemp(testFolder, "real-")
	if err != nil {
		t.Fatal(err)
	}
	shut := []string{privateAddr, metaAddr, hostPublic, egress.Resolver}
	guest, home := filepath.Join(dir, "guest"), filepath.Join(dir, "home")
	if err := os.WriteFile(guest, fmt.Appendf(nil, runtimeGuest, webAddr, strings.Join(shut, " ")), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(home, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, open := range []string{dir, home} {
		if err := os.Chmod(open, 0o777); err != nil { // the sandbox's uid 0 writes there
			t.Fatal(err)
		}
	}
	data := t.TempDir()
	rt, err := oci.New(oci.Options{Data: data, Engine: engine, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	e := egressOver(t, data, egress.PathUserspace)
	id := station.NewID()
	spec := sandbox.Spec{Session: id, Hostname: "main", UserName: "ann", Home: home, Guest: guest, Config: "{}", Resolver: egress.Resolver, Runtime: engine}
	spec.Attach = func(ctx context.Context, ns sandbox.NetNS) error {
		return e.Start(ctx, egress.Spec{Session: id, Policy: internet, NetNS: ns.Path, Owner: ns.PID, Until: ns.PID})
	}
	t.Cleanup(func() {
		if err := rt.Stop(context.Background(), id); err != nil {
			t.Error(err)
		}
		if err := e.Stop(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	if err := rt.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	want := "web hello\nname " + webAddr + "\n" + strings.Join(shut, " \n") + " \n"
	deadline := time.Now().Add(6 * boxPatience)
	for {
		got, err := os.ReadFile(filepath.Join(home, "out"))
		if err == nil {
			if string(got) != want {
				t.Errorf("%q, not %q", got, want)
			}
			return
		}
		if time.Now().After(deadline) {
			st, err := e.Status(t.Context(), id)
			t.Fatalf("nothing came; %+v %v", st, err)
		}
	}
}

// TestRunscTakesTheInterfaceOver: runsc reads its interfaces when it starts, and
// carries the packets itself from then on. The way out is there before it.
func TestRunscTakesTheInterfaceOver(t *testing.T) {
	needWorld(t)
	runsc, err := exec.LookPath("runsc")
	if err != nil {
		t.Skip("runsc is not installed: CGO_ENABLED=0 go install gvisor.dev/gvisor/runsc@latest")
	}
	if os.Geteuid() != 0 {
		t.Skip("a namespace of the host's own needs root; the test as root makes one")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "netns")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = onThread(func() (struct{}, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Error(err)
		}
		_ = unix.Unmount(filepath.Join(dir, "state", "null-netns"), 0) // runsc keeps one, if it came so far
	})
	e := newEgress(t, egress.PathUserspace)
	id := station.NewID()
	if err := e.Start(t.Context(), egress.Spec{Session: id, Policy: internet, NetNS: path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	const reach = `try() { timeout 5 bash -c "exec 4<>/dev/tcp/$1/$2 && echo hello >&4 && read -t 5 x <&4 && echo \$x" 2>/dev/null; }
echo "web $(try %s 7) web6 $(try %s 7) private $(try %s 7)$(try %s 7) host $(try %s 8080)"`
	script := fmt.Sprintf(reach, webAddr, webAddr6, privateAddr, private6, hostPublic)
	config, err := json.Marshal(specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Path: "/", Readonly: true},
		Process: &specs.Process{Args: []string{"/bin/bash", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Cwd: "/"},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
			{Type: specs.NetworkNamespace, Path: path},
		}},
		Mounts: []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}, {Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(runsc, "--root", filepath.Join(dir, "state"), "--network=sandbox", "--ignore-cgroups", "run", "-bundle", dir, "egress-"+string(id))
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if out.String() != "web hello web6 hello private  host \n" {
		st, err := e.Status(t.Context(), id)
		t.Errorf("%q, %+v %v", out.String(), st, err)
	}
}
