package docker

import (
	"context"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/sandboxtest"
)

// BenchmarkStart is Start to the guest's first answer, each time of a new
// sandbox beside the ones before.
func BenchmarkStart(b *testing.B) {
	for _, kind := range []Kind{Docker, Podman} {
		b.Run(string(kind), func(b *testing.B) {
			host := need(b, kind)
			rt, err := New(Options{Data: b.TempDir(), Kind: kind, Host: host, Log: discard})
			if err != nil {
				b.Fatal(err)
			}
			defer rt.Close()
			home := sandboxtest.Home(b, 1)
			first := sandboxtest.Spec(b, home, 1) // imports the base
			made := []sandbox.Spec{first}
			begin(b, rt, first)
			var took []time.Duration
			for b.Loop() {
				spec := sandboxtest.Spec(b, home, 1)
				made = append(made, spec)
				took = append(took, begin(b, rt, spec))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
			for _, spec := range made {
				if err := rt.Stop(context.Background(), spec.Session); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func begin(b *testing.B, rt *Runtime, spec sandbox.Spec) time.Duration {
	b.Helper()
	began := time.Now()
	if err := rt.Start(b.Context(), spec); err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return rt.Dial(ctx, spec.Session)
	}}}
	res, err := client.Get("http://guest/v1/health")
	if err != nil {
		b.Fatal(err)
	}
	res.Body.Close()
	return time.Since(began)
}
