package sandboxtest

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"

	"staithe/internal/sandbox"
)

// attach: the network is attached once, to the sandbox's own namespace, and a
// failure of that fails the start.
func attach(t *testing.T, open Open, able Abilities) {
	need(t, able.NoAttach)
	data := t.TempDir()
	rt := open(t, data)
	spec := Spec(t, Home(t, 1), 1)
	var calls atomic.Int32
	var seen string
	spec.Attach = func(_ context.Context, ns sandbox.NetNS) error {
		calls.Add(1)
		var err error
		if seen, err = os.Readlink(ns.Path); err != nil {
			// A mount of the namespace is no link; it is enough that it opens.
			var f *os.File
			if f, err = os.Open(ns.Path); err == nil {
				f.Close()
			}
		}
		return err
	}
	b := start(t, rt, spec)
	if n := calls.Load(); n != 1 {
		t.Errorf("attached %d times", n)
	}
	host, err := os.Readlink("/proc/self/ns/net")
	if err != nil || seen == host {
		t.Errorf("attached to %s, the host is in %s, %v", seen, host, err)
	}
	if err := rt.Start(t.Context(), spec); err != nil || calls.Load() != 1 {
		t.Errorf("start of a running one: %v, attached %d times", err, calls.Load())
	}
	if err := b.health(); err != nil {
		t.Error(err)
	}

	broken := errors.New("the way out is blocked")
	spec = Spec(t, spec.Home, 1)
	spec.Attach = func(context.Context, sandbox.NetNS) error { return broken }
	if err := rt.Start(t.Context(), spec); !errors.Is(err, broken) {
		t.Errorf("start with a network that cannot be attached: %v", err)
	}
	Traceless(t, data, spec.Session)
}
