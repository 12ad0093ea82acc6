package docker

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"staithe/internal/sandbox/docker/servicetest"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

// Where dockerd maps ids for all containers, a session has its home all the same,
// and doctor and the class say whose ids the sandbox's are.
func TestRemappedServiceIsAskedNotToMap(t *testing.T) {
	host := servicetest.Need(t, servicetest.Remapped)
	rt, err := New(Options{Data: t.TempDir(), Kind: Docker, Host: host, Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	if err := rt.Prepare(t.Context()); err != nil || rt.image == "" {
		t.Fatalf("the image %q: %v", rt.image, err)
	}
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	if err := rt.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Stop(context.Background(), spec.Session); err != nil {
			t.Error(err)
		}
	})
	if got := sandboxtest.Command(t, rt, spec, false, "echo kept > ~ann/file && cat ~ann/file && cat /proc/self/uid_map"); strings.Join(strings.Fields(got), " ") != "kept 0 0 4294967295" {
		t.Errorf("inside: %q", got)
	}
	const plain = "in no user namespace of its own, even where the service is set up to have one"
	if text := rt.Describe(station.Class{}); !strings.Contains(text, plain) {
		t.Errorf("a class says: %s", text)
	}
	checks := Preflight(t.Context(), Docker, host)
	if len(checks) != 1 || !checks[0].OK || !strings.Contains(checks[0].Detail, plain) {
		t.Errorf("doctor says: %+v", checks)
	}
}

// What a class cannot have of this provider is refused with what to do.
func TestImageAndSudoAreRefused(t *testing.T) {
	rt, err := New(Options{Data: t.TempDir(), Kind: Docker, Host: "unix:///nowhere", Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	spec.Base, spec.Sudo = "debian", true
	err = rt.Start(t.Context(), spec)
	var p *station.Problem
	if !errors.As(err, &p) || !errors.Is(err, station.ErrInvalid) || !strings.Contains(p.Sentence, "Take another class") || !strings.Contains(p.Sentence, "crun") {
		t.Errorf("%v", err)
	}
}

// Docker that is not root is refused, by doctor and at a start.
func TestRootlessDockerIsRefused(t *testing.T) {
	err := mode{rootless: true}.serves(Docker)
	if !errors.Is(err, station.ErrUnavailable) || !strings.Contains(err.Error(), "podman") {
		t.Errorf("%v", err)
	}
	for kind, m := range map[Kind]mode{Podman: {rootless: true}, Docker: {}} {
		if err := m.serves(kind); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// How a service runs is told by who serves it.
func TestPodmansMode(t *testing.T) {
	rt, err := New(Options{Data: t.TempDir(), Kind: Podman, Host: need(t, Podman), Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	m, err := rt.mode(t.Context())
	if err != nil || m.rootless != (os.Geteuid() != 0) {
		t.Errorf("%+v %v", m, err)
	}
}
