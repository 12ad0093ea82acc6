package egress_test

import (
	"context"
	"testing"

	"staithe/internal/egress"
	"staithe/internal/station"
)

// newEgress is a gateway's Egress over a fresh data directory.
func newEgress(t testing.TB) *egress.Egress {
	t.Helper()
	needWorld(t)
	return egressOver(t, t.TempDir())
}

func egressOver(t testing.TB, data string) *egress.Egress {
	t.Helper()
	e, err := egress.New(egress.Options{Data: data, Binary: egressBinary, ResolvConf: resolvConf})
	if err != nil {
		t.Fatal(err)
	}
	return e
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

func TestInternetIsReached(t *testing.T) {
	e := newEgress(t)
	b, spec := connected(t, e, internet)
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
