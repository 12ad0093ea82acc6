package egress_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"staithe/internal/egress"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/docker"
	"staithe/internal/sandbox/docker/servicetest"
	"staithe/internal/sandbox/oci"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

// where is from where something is tried, and how it gets out.
type where struct {
	path   egress.Path
	engine string // of a real sandbox; empty: a process in a sandbox's namespaces that may do all there
	root   bool   // in a real sandbox: as its root, not as the person
}

var (
	bothPaths = []egress.Path{egress.PathUserspace, egress.PathKernel}
	userspace = []egress.Path{egress.PathUserspace}
)

// fromEverywhere runs a test on the paths, from bare namespaces and from real
// sandboxes of every runtime, there as root and as the person.
func fromEverywhere(t *testing.T, paths []egress.Path, f func(*testing.T, where)) {
	t.Helper()
	for _, path := range paths {
		t.Run(string(path), func(t *testing.T) {
			needWorld(t)
			if path == egress.PathKernel && os.Geteuid() != 0 {
				t.Skip("the kernel's path is for a server that is root: run the tests as root to try it")
			}
			t.Run("namespaces", func(t *testing.T) { f(t, where{path: path}) })
			engines := []string{"crun", "runc", "runsc"}
			if path == egress.PathUserspace { // on the kernel's a container is no other than runc's
				engines = append(engines, "docker", "podman")
			}
			for _, engine := range engines {
				for name, root := range map[string]bool{"root": true, "person": false} {
					t.Run(engine+"-"+name, func(t *testing.T) {
						needEngine(t, engine)
						f(t, where{path, engine, root})
					})
				}
			}
		})
	}
}

// needEngine skips, loudly, where sandboxes of a runtime cannot be had.
func needEngine(t *testing.T, engine string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("real sandboxes are tried by the tests as root; without root the network of bare namespaces is")
	}
	if kind := docker.Kind(engine); kind == docker.Docker || kind == docker.Podman {
		servicetest.Need(t, engine)
	} else if _, err := exec.LookPath(engine); err != nil {
		t.Skipf("%s is not installed, so that the network of its sandboxes is not tried: tools/setup.sh test", engine)
	}
}

// connected is a box with a way out: a new sandbox's, or what stands for one.
func (w where) connected(t *testing.T, e *egress.Egress, policy station.NetworkPolicy) (*box, egress.Spec) {
	t.Helper()
	if w.engine == "" {
		return connected(t, e, policy)
	}
	rt := realRuntime(t, w.engine)
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	spec.Runtime, spec.Resolver = w.engine, egress.Resolver
	if err := os.Link(boxProgram(t), filepath.Join(spec.Home, "box")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(spec.Home, 0o755); err != nil { // the sandbox's root has no right to pass by modes
		t.Fatal(err)
	}
	way := egress.Spec{Session: spec.Session, Policy: policy}
	spec.Attach = func(ctx context.Context, ns sandbox.NetNS) error {
		way.NetNS, way.Owner, way.Until = ns.Path, ns.PID, ns.PID
		return e.Start(ctx, way)
	}
	t.Cleanup(func() {
		if err := rt.Stop(context.Background(), spec.Session); err != nil {
			t.Error(err)
		}
		if err := e.Stop(context.Background(), spec.Session); err != nil {
			t.Error(err)
		}
	})
	if err := rt.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	b := w.enter(t, rt, spec)
	if got := sandboxtest.Command(t, rt, spec, w.root, "id -u"); w.root != (got == "0") {
		t.Fatalf("the attacks would be made as %s", got)
	}
	return b, way
}

// enter has the program of the boxes run in a sandbox.
func (w where) enter(t *testing.T, rt sandbox.Runtime, spec sandbox.Spec) *box {
	t.Helper()
	pipe := sandboxtest.Pipe(t, rt, spec, w.root, "/usr/bin/env", partEnv+"="+partBox, "/home/"+spec.UserName+"/box")
	b := &box{t: t, in: pipe, out: json.NewDecoder(pipe)}
	b.do(order{Do: "hello"})
	return b
}

var realRuntimes = map[string]sandbox.Runtime{}

// realRuntime is one for all tests, as sandboxes share what is made once; it lasts
// as long as the tests' program.
func realRuntime(t *testing.T, engine string) sandbox.Runtime {
	t.Helper()
	if rt := realRuntimes[engine]; rt != nil {
		return rt
	}
	guest := filepath.Join(testFolder, "probeguest")
	if os.Getenv(sandboxtest.GuestEnv) == "" {
		build := exec.Command("go", "build", "-o", guest, "staithe/internal/sandbox/sandboxtest/testdata/probeguest")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.Setenv(sandboxtest.GuestEnv, guest); err != nil {
			t.Fatal(err)
		}
	}
	var rt sandbox.Runtime
	var err error
	data, log := filepath.Join(testFolder, "real-"+engine), slog.New(slog.DiscardHandler)
	if kind := docker.Kind(engine); kind == docker.Docker || kind == docker.Podman {
		rt, err = docker.New(docker.Options{Data: data, Kind: kind, Host: servicetest.Need(t, engine), Log: log})
	} else {
		rt, err = oci.New(oci.Options{Data: data, Engine: engine, Log: log})
	}
	if err != nil {
		t.Fatal(err)
	}
	realRuntimes[engine] = rt
	return rt
}

// TestRealRuntimes: sandboxes of each runtime reach the internet by both
// protocols, and names of it as any program asks for them.
func TestRealRuntimes(t *testing.T) {
	fromEverywhere(t, bothPaths, func(t *testing.T, w where) {
		e := newEgress(t, w.path)
		b, spec := w.connected(t, e, internet)
		takes(t, e, spec.Session, w.path)
		for _, addr := range []string{webAddr, webAddr6} {
			if r := b.do(order{Do: "retry", Addr: fmt.Sprintf("[%s]:7", addr), Send: "hello\n"}); r.Got != "hello\n" {
				t.Errorf("%s: %+v", addr, r)
			}
		}
		resolve(t, b, "good.example")
		if w.engine == "" {
			return // its files are the host's
		}
		inside := sandbox.Spec{Session: spec.Session}
		if got := sandboxtest.Command(t, realRuntime(t, w.engine), inside, w.root, "getent ahostsv4 good.example | head -n1 | cut -d' ' -f1"); got != webAddr {
			t.Errorf("good.example is %q", got)
		}
	})
}
