package oci

import (
	"context"
	"net"
	"net/http"
	"testing"

	"staithe/internal/sandbox/sandboxtest"
)

// BenchmarkColdStart is Start to the guest's first answer; ending the sandbox
// is not counted.
func BenchmarkColdStart(b *testing.B) {
	for _, kind := range []engineKind{crun, runc} {
		b.Run(string(kind), func(b *testing.B) {
			rt, err := New(Options{Data: b.TempDir(), Engine: string(kind), Log: discard})
			if err != nil {
				b.Fatal(err)
			}
			defer rt.Close()
			if err := rt.Prepare(b.Context()); err != nil {
				b.Fatal(err)
			}
			home := sandboxtest.Home(b, 1)
			for b.Loop() {
				b.StopTimer()
				spec := sandboxtest.Spec(b, home, 1)
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return rt.Dial(ctx, spec.Session)
				}}}
				b.StartTimer()
				if err := rt.Start(b.Context(), spec); err != nil {
					b.Fatal(err)
				}
				res, err := client.Get("http://guest/v1/health")
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				res.Body.Close()
				if err := rt.Stop(b.Context(), spec.Session); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
