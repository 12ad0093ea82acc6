package docker

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/rootlesstest"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/docker/servicetest"
	"staithe/internal/sandbox/sandboxtest"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	code := sandboxtest.Main(m)
	servicetest.Stop()
	os.Exit(code)
}

// need starts a service or skips, loudly.
func need(t testing.TB, kind Kind) string {
	t.Helper()
	return servicetest.Need(t, string(kind))
}

// able is what a container service honestly cannot do.
func able(kind Kind) sandboxtest.Abilities {
	a := sandboxtest.Abilities{
		NoUserNS:    "the service maps no user ids of ours: the guest is the host's root with four capabilities",
		NoOOMName:   "the service does not say what was killed",
		NoPTYs:      "the service's devpts has no limit",
		NoInotify:   "without a user namespace there is no limit of a sandbox's own",
		NoImage:     "the provider takes no images yet",
		NoSudo:      "without a user namespace root inside would be the host's",
		NoLogBound:  "the service keeps what a guest logs, and is told how much",
		NoInodes:    "the API bounds them by size alone; the files take of the session's memory, which is limited",
		LateService: "the service may still be making the container that a killed server asked for, under the same name",
	}
	if os.Geteuid() == 0 {
		return a
	}
	a.NoUserNS = "the person has the account's own uid inside too"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		a.NoFreeze, a.NoUsage, a.NoMemory, a.NoCPU, a.NoPIDCount = noLimits, noLimits, noLimits, noLimits, noLimits
	}
	return a
}

func opener(t testing.TB, kind Kind) sandboxtest.Open {
	t.Helper()
	host := need(t, kind)
	return func(t *testing.T, data string) sandbox.Runtime {
		t.Helper()
		rt, err := New(Options{Data: data, Kind: kind, Host: host, Log: discard})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rt.Close() })
		return rt
	}
}

// each runs a test with every service.
func each(t *testing.T, f func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities)) {
	for _, kind := range []Kind{Docker, Podman} {
		t.Run(string(kind), func(t *testing.T) { f(t, opener(t, kind), able(kind)) })
	}
}

func TestConformance(t *testing.T) { each(t, sandboxtest.Run) }

func TestAbuse35_HostIsOutOfReach(t *testing.T) { each(t, sandboxtest.HostIsOutOfReach) }

func TestAbuse37_Bombs(t *testing.T) { each(t, sandboxtest.Bombs) }

func TestAbuse38_KernelIsClosed(t *testing.T) { each(t, sandboxtest.KernelIsClosed) }

func TestAbuse40_GuestSurvivesTheGateway(t *testing.T) {
	for _, kind := range []Kind{Docker, Podman} {
		t.Run(string(kind), func(t *testing.T) {
			open := opener(t, kind)
			t.Setenv(servicetest.HostEnv+string(kind), need(t, kind))
			t.Setenv("STAITHE_TEST_KIND", string(kind))
			sandboxtest.GuestSurvives(t, open, able(kind), "TestChild")
		})
	}
}

// TestRootless runs the suite and the attacks again by an account that is not
// root, with a Podman service of its own.
func TestRootless(t *testing.T) {
	rootlesstest.Run(t, rootlesstest.Again{
		Run:     "^(TestConformance|TestAbuse.*|TestPodmansMode)$/^podman$",
		Copies:  map[string]string{sandboxtest.GuestEnv: sandboxtest.Guest(t)},
		Prepare: "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified # crun takes pure layouts only",
	})
}

// TestChild is the gateway that TestAbuse40_GuestSurvivesTheGateway kills.
func TestChild(t *testing.T) {
	if kind := Kind(os.Getenv("STAITHE_TEST_KIND")); kind != "" {
		sandboxtest.Child(t, opener(t, kind))
	}
}

// A service that is down is said to be, and of what no session knows it is not
// asked.
func TestServiceDown(t *testing.T) {
	rt, err := New(Options{Data: t.TempDir(), Kind: Docker, Host: "unix://" + filepath.Join(t.TempDir(), "none.sock"), Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	if err := rt.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "systemctl start docker") {
		t.Errorf("start: %v", err)
	}
	if _, err := rt.List(t.Context()); err == nil {
		t.Error("an empty list of a service that is down")
	}
	if _, there, err := rt.Find(t.Context(), spec.Session); there || err != nil {
		t.Errorf("find: %v %v", there, err)
	}
	if err := rt.Stop(context.Background(), spec.Session); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := New(Options{Data: t.TempDir(), Kind: Docker, Host: "tcp://127.0.0.1:2375", Log: discard}); err == nil {
		t.Error("a service elsewhere was taken")
	}
}
