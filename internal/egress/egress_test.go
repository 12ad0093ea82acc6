package egress_test

import (
	"context"
	"os"
	"testing"

	"staithe/internal/egress"
	"staithe/internal/station"
)

// newEgress is a gateway's Egress over a fresh data directory.
func newEgress(t testing.TB, path egress.Path) *egress.Egress {
	t.Helper()
	needWorld(t)
	return egressOver(t, t.TempDir(), path)
}

func egressOver(t testing.TB, data string, path egress.Path) *egress.Egress {
	t.Helper()
	e, err := egress.New(egress.Options{Data: data, Binary: egressBinary, ResolvConf: resolvConf, Path: wish(path)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// onBothPaths runs a test on the userspace path and on the kernel's.
func onBothPaths(t *testing.T, f func(*testing.T, egress.Path)) {
	t.Helper()
	for _, path := range []egress.Path{egress.PathUserspace, egress.PathKernel} {
		t.Run(string(path), func(t *testing.T) {
			needWorld(t)
			if path == egress.PathKernel && os.Geteuid() != 0 {
				t.Skip("the kernel's path is for a server that is root: run the tests as root to try it")
			}
			f(t, path)
		})
	}
}

// wish is the setting that leads to a path.
func wish(path egress.Path) egress.Path {
	if path == egress.PathKernel {
		return egress.PathAuto
	}
	return path
}

// takes fails the test unless the way out goes by the path.
func takes(t *testing.T, e *egress.Egress, id station.ID, path egress.Path) {
	t.Helper()
	if st, err := e.Status(t.Context(), id); err != nil || st.Path != path {
		t.Fatalf("not on the path %s: %+v %v", path, st, err)
	}
}

// connected is a box with a way out.
func connected(t testing.TB, e *egress.Egress, policy station.NetworkPolicy) (*box, egress.Spec) {
	t.Helper()
	b := newBox(t)
	spec := b.spec(policy)
	if err := e.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.Background(), spec.Session); err != nil {
			t.Error(err)
		}
	})
	return b, spec
}

var internet = station.NetworkPolicy{Mode: station.NetworkInternet}

func TestInternetIsReached(t *testing.T) { onBothPaths(t, testInternetIsReached) }

func testInternetIsReached(t *testing.T, path egress.Path) {
	e := newEgress(t, path)
	b, spec := connected(t, e, internet)
	takes(t, e, spec.Session, path)
	if r := b.do(order{Do: "dial", Addr: webAddr + ":80", Send: "GET /x HTTP/1.0\r\nHost: good.example\r\n\r\n"}); r.Err != "" {
		t.Fatalf("%+v", r)
	}
	if r := b.do(order{Do: "dial", Addr: "[" + webAddr6 + "]:7", Send: "six"}); r.Got != "six" {
		t.Fatalf("%+v", r)
	}
	if r := b.do(order{Do: "udp", Addr: webAddr + ":7", Send: "datagram"}); r.Got != "datagram" {
		t.Fatalf("%+v", r)
	}
	if r := b.do(order{Do: "dns", Addr: egress.Resolver + ":53", Name: "good.example"}); len(r.Addrs) != 1 || r.Addrs[0] != webAddr {
		t.Fatalf("%+v", r)
	}
	st, err := e.Status(t.Context(), spec.Session)
	if err != nil || st.In == 0 || st.Out == 0 || len(st.Refused) != 0 {
		t.Fatalf("%+v %v", st, err)
	}
}
