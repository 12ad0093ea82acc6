package oci

import (
	"bytes"
	"log/slog"
	"os"
	"testing"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/sandboxtest"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// each runs a test with every engine there is code for. Root must have both:
// what is not tried is not true.
func each(t *testing.T, f func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities)) {
	for _, kind := range engineKinds {
		t.Run(string(kind), func(t *testing.T) { needEngine(t, kind); f(t, opener(t, string(kind)), abilities(kind)) })
	}
}

// abilities is what this process can do here: without cgroups, little is
// limited and nothing measured.
func abilities(kind engineKind) sandboxtest.Abilities {
	var a sandboxtest.Abilities
	c := newCgroups(os.Geteuid() == 0)
	missing := func(ctl controller) string {
		if c.have[ctl] {
			return ""
		}
		return "there is no cgroup controller \"" + string(ctl) + "\" for this account"
	}
	a.NoFreeze, a.NoUsage, a.NoMemory, a.NoCPU = missing(ctlFreeze), missing(ctlMemory), missing(ctlMemory), missing(ctlCPU)
	if os.Geteuid() != 0 {
		a.NoOOMName = "only root reads the kernel's log"
	}
	if kind == runsc {
		gvisorAbilities(&a)
	}
	return a
}

func opener(t *testing.T, engine string) sandboxtest.Open {
	t.Helper()
	if bad := firstFailed(Preflight(engine)); bad != nil {
		if os.Geteuid() == 0 {
			t.Fatal(bad)
		}
		t.Skip(bad)
	}
	return func(t *testing.T, data string) sandbox.Runtime {
		t.Helper()
		rt, err := New(Options{Data: data, Engine: engine, Log: discard})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rt.Close() })
		return rt
	}
}

func TestConformance(t *testing.T) { each(t, sandboxtest.Run) }

func TestAbuse17_NamesAreNeverFolded(t *testing.T) { each(t, sandboxtest.NamesAreNeverFolded) }

func TestAbuse35_HostIsOutOfReach(t *testing.T) { each(t, sandboxtest.HostIsOutOfReach) }

func TestAbuse37_Bombs(t *testing.T) { each(t, sandboxtest.Bombs) }

func TestAbuse38_KernelIsClosed(t *testing.T) { each(t, sandboxtest.KernelIsClosed) }

func TestAbuse40_GuestSurvivesTheGateway(t *testing.T) { eachKilled(t, sandboxtest.GuestSurvives) }

func TestAbuse40_FreezeSurvivesTheGateway(t *testing.T) { eachKilled(t, sandboxtest.FreezeSurvives) }

func TestAbuse40_KilledInTheMiddleOfAStart(t *testing.T) { eachKilled(t, sandboxtest.KilledStarts) }

func TestAbuse40_StopWithoutNotes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("without cgroups, the notes are all there is")
	}
	each(t, sandboxtest.StopWithoutNotes)
}

// An ordinary life has nothing to complain of: the engine itself removes what it
// made.
func TestStopIsQuiet(t *testing.T) {
	for _, kind := range engineKinds {
		if _, err := lookPath(string(kind)); err != nil && kind == runsc {
			t.Log("not tested with runsc, which is not installed")
			continue
		}
		opener(t, string(kind)) // or skip, or fail
		var said bytes.Buffer
		rt, err := New(Options{Data: t.TempDir(), Engine: string(kind), Log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))})
		if err != nil {
			t.Fatal(err)
		}
		defer rt.Close()
		spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
		if err := rt.Start(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		if err := rt.Stop(t.Context(), spec.Session); err != nil {
			t.Fatal(err)
		}
		if said.Len() > 0 {
			t.Errorf("%s: %s", kind, said.String())
		}
	}
}

// childEngineEnv names the engine of a gateway that is killed.
const childEngineEnv = "STAITHE_TEST_ENGINE"

// eachKilled runs a test with every engine, whose child test has that engine too.
func eachKilled(t *testing.T, f func(t *testing.T, open sandboxtest.Open, able sandboxtest.Abilities, childTest string)) {
	for _, kind := range engineKinds {
		t.Run(string(kind), func(t *testing.T) {
			needEngine(t, kind)
			t.Setenv(childEngineEnv, string(kind))
			f(t, opener(t, string(kind)), abilities(kind), "TestChild")
		})
	}
}

// TestChild is the gateway that tests kill.
func TestChild(t *testing.T) {
	if os.Getenv("SANDBOXTEST_CHILD") != "" {
		sandboxtest.Child(t, opener(t, os.Getenv(childEngineEnv)))
	}
}
