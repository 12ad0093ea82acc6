package sandbox_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/process"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// service is a real provider behind a service that can be down, as a daemon is.
type service struct {
	*process.Runtime
	down bool
}

var errDown = station.Errorf(station.ErrUnavailable, "docker_down", "The service is down.")

func newService(t *testing.T, data string) *service {
	t.Helper()
	rt, err := process.New(process.Options{Data: data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return &service{Runtime: rt}
}

func (s *service) Start(ctx context.Context, spec sandbox.Spec) error {
	if s.down {
		return errDown
	}
	spec.Runtime = process.Name
	for dir := filepath.Dir(spec.Home); dir != os.TempDir(); dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755) // the guest's account walks there
	}
	return s.Runtime.Start(ctx, spec)
}

func (s *service) Stop(ctx context.Context, id station.ID) error {
	if s.down {
		return errDown
	}
	return s.Runtime.Stop(ctx, id)
}

func (s *service) List(ctx context.Context) ([]sandbox.Info, error) {
	if s.down {
		return nil, errDown
	}
	return s.Runtime.List(ctx)
}

func (s *service) Find(ctx context.Context, id station.ID) (sandbox.Info, bool, error) {
	if s.down {
		return sandbox.Info{}, false, errDown
	}
	return s.Runtime.Find(ctx, id)
}

func (s *service) Dial(ctx context.Context, id station.ID) (net.Conn, error) {
	if s.down {
		return nil, errDown
	}
	return s.Runtime.Dial(ctx, id)
}

// routed is a router over two services with a session in each.
type routed struct {
	*sandbox.Router
	a, b     *service
	inA, inB sandbox.Spec
	fresh    func() *sandbox.Router // as the next gateway makes it
}

func newRouted(t *testing.T) *routed {
	t.Helper()
	r := &routed{a: newService(t, t.TempDir()), b: newService(t, t.TempDir())}
	r.fresh = func() *sandbox.Router {
		router, err := sandbox.NewRouter(map[string]sandbox.Runtime{"a": r.a, "also-a": r.a, "b": r.b}, "a")
		if err != nil {
			t.Fatal(err)
		}
		return router
	}
	r.Router = r.fresh()
	home := sandboxtest.Home(t, 1)
	r.inA, r.inB = sandboxtest.Spec(t, home, 1), sandboxtest.Spec(t, home, 1)
	r.inB.Runtime = "b"
	for _, spec := range []sandbox.Spec{r.inA, r.inB} {
		if err := r.Start(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			r.a.down, r.b.down = false, false
			if err := r.fresh().Stop(context.Background(), spec.Session); err != nil {
				t.Error(err)
			}
		})
	}
	return r
}

func has(t *testing.T, rt sandbox.Runtime, want bool, id station.ID) {
	t.Helper()
	if _, there, err := rt.Find(t.Context(), id); err != nil || there != want {
		t.Errorf("there: %v %v, want %v", there, err, want)
	}
}

func TestRouterSendsEachSessionToItsRuntime(t *testing.T) {
	r := newRouted(t)
	has(t, r.a.Runtime, true, r.inA.Session)
	has(t, r.b.Runtime, true, r.inB.Session)
	has(t, r.a.Runtime, false, r.inB.Session)
	for _, router := range []*sandbox.Router{r.Router, r.fresh()} {
		list, err := router.List(t.Context())
		if err != nil || len(list) != 2 {
			t.Errorf("list: %v %v", list, err)
		}
		for _, id := range []station.ID{r.inA.Session, r.inB.Session} {
			conn, err := router.Dial(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if _, err := router.Usage(t.Context(), id); err != nil {
				t.Error(err)
			}
			for _, f := range []func(context.Context, station.ID) error{router.Freeze, router.Thaw} {
				if err := f(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		}
	}
	// Once more, under another runtime's name: the running one is used.
	moved := r.inB
	moved.Runtime = "a"
	if err := r.fresh().Start(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	has(t, r.a.Runtime, false, moved.Session)
	if err := r.Stop(t.Context(), moved.Session); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	has(t, r.a.Runtime, true, moved.Session)
	has(t, r.b.Runtime, false, moved.Session)
}

func TestRouterWithoutTheRuntimeSaysSo(t *testing.T) {
	r := newRouted(t)
	spec := sandboxtest.Spec(t, r.inA.Home, 1)
	spec.Runtime = "docker"
	err := r.Start(t.Context(), spec)
	var p *station.Problem
	if !errors.As(err, &p) || !errors.Is(err, station.ErrUnavailable) || !strings.Contains(p.Sentence, "docker") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(r.Describe(station.Class{Runtime: "docker"}), "docker") {
		t.Error(r.Describe(station.Class{Runtime: "docker"}))
	}
	if _, err := sandbox.NewRouter(map[string]sandbox.Runtime{"a": r.a}, ""); err == nil {
		t.Error("a router without a default")
	}
	none := station.NewID()
	if _, err := r.Dial(t.Context(), none); !errors.Is(err, station.ErrUnavailable) {
		t.Errorf("dial of nothing: %v", err)
	}
	if err := r.Freeze(t.Context(), none); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("freeze of nothing: %v", err)
	}
	if err := errors.Join(r.Thaw(t.Context(), none), r.Stop(t.Context(), none)); err != nil {
		t.Errorf("thaw and stop of nothing: %v", err)
	}
}

// A service that is down hides nothing of the others, and what it has is
// unknown, not gone.
func TestRouterWithARuntimeDown(t *testing.T) {
	r := newRouted(t)
	r.b.down = true
	for _, router := range []*sandbox.Router{r.Router, r.fresh()} {
		list, err := router.List(t.Context())
		if !errors.Is(err, sandbox.ErrUnknown) || !errors.Is(err, station.ErrUnavailable) || len(list) != 1 || list[0].Session != r.inA.Session {
			t.Errorf("list: %v %v", list, err)
		}
		has(t, router, true, r.inA.Session)
		if _, _, err := router.Find(t.Context(), r.inB.Session); !errors.Is(err, sandbox.ErrUnknown) {
			t.Errorf("find: %v", err)
		}
		if err := router.Stop(t.Context(), r.inB.Session); err == nil {
			t.Error("stopped what cannot be reached")
		}
		if err := router.Ready(t.Context()); err != nil {
			t.Errorf("the default answers: %v", err)
		}
	}
	// What is known to have been elsewhere is known to be gone, and can be ended.
	other := sandboxtest.Spec(t, r.inA.Home, 1)
	if err := r.Start(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := r.a.Runtime.Stop(t.Context(), other.Session); err != nil {
		t.Fatal(err)
	}
	has(t, r.Router, false, other.Session)
	if err := r.Stop(t.Context(), other.Session); err != nil {
		t.Errorf("stop: %v", err)
	}
	r.b.down = false
	has(t, r.Router, true, r.inB.Session)
}
