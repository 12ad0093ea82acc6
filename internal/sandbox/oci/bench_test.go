package oci

import (
	"context"
	"net"
	"net/http"
	"testing"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

// BenchmarkColdStart is Start to the guest's first answer, each time of a new
// sandbox beside the ones before.
func BenchmarkColdStart(b *testing.B) {
	for _, kind := range engineKinds {
		b.Run(string(kind), func(b *testing.B) {
			if _, err := lookPath(string(kind)); err != nil {
				b.Skip(err)
			}
			rt, err := New(Options{Data: b.TempDir(), Engine: string(kind), Log: discard})
			if err != nil {
				b.Fatal(err)
			}
			defer rt.Close()
			if err := rt.Prepare(b.Context()); err != nil {
				b.Fatal(err)
			}
			home := sandboxtest.Home(b, 1)
			sandboxtest.Guest(b) // is built now
			var made []sandbox.Spec
			for b.Loop() {
				spec := sandboxtest.Spec(b, home, 1)
				made = append(made, spec)
				if err := rt.Start(b.Context(), spec); err != nil {
					b.Fatal(err)
				}
				if err := ask(b.Context(), rt, spec.Session); err != nil {
					b.Fatal(err)
				}
			}
			// Only now: the kernel takes down network namespaces one by one, and
			// a start would wait for that.
			for _, spec := range made {
				if err := rt.Stop(b.Context(), spec.Session); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// ask waits for the guest's first answer.
func ask(ctx context.Context, rt *Runtime, session station.ID) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return rt.Dial(ctx, session)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://guest/v1/health", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
