package egress_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"staithe/internal/egress"
	"staithe/internal/egress/filter"
	"staithe/internal/station"
)

// onKernelPath is a box whose packets the kernel forwards.
func onKernelPath(t *testing.T) (*egress.Egress, *box, egress.Spec) {
	t.Helper()
	needWorld(t)
	if os.Geteuid() != 0 {
		t.Skip("the kernel's path is for a server that is root: run the tests as root to try it")
	}
	e := newEgress(t, egress.PathKernel)
	b, spec := connected(t, e, internet)
	takes(t, e, spec.Session, egress.PathKernel)
	return e, b, spec
}

// inBox runs lines of ip(8) in a box's network, as root over it.
func inBox(t *testing.T, b *box, lines string) {
	t.Helper()
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", b.pid()))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if _, err := inNS(ns, func() (struct{}, error) { return struct{}{}, ip(lines) }); err != nil {
		t.Fatal(err)
	}
}

// hostIP runs lines of ip(8) on the host, and others when the test ends.
func hostIP(t *testing.T, lines, undo string) {
	t.Helper()
	if err := ip(lines); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ip(undo); err != nil {
			t.Error(err)
		}
	})
}

// routerAddress is the address by which the host knows a session's router.
func routerAddress(t *testing.T, id station.ID) string {
	t.Helper()
	out, err := exec.Command("ip", "-4", "route", "show", "dev", filter.LinkName(id)).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "240.83.") {
		t.Fatalf("%s %v", out, err)
	}
	return strings.Fields(string(out))[0]
}

func TestAbuse36_AddressesTheHostGetsLater(t *testing.T) {
	_, b, _ := onKernelPath(t)
	const later, later6 = "93.184.216.200", "2606:2800:220:1::200"
	hostIP(t, "addr add "+later+"/32 dev lo\n-6 addr add "+later6+"/128 dev lo nodad", "addr del "+later+"/32 dev lo\n-6 addr del "+later6+"/128 dev lo")
	for _, a := range []string{later, later6} {
		at := net.JoinHostPort(a, "8080")
		for deadline := time.Now().Add(quick); time.Now().Before(deadline); { // the kernel adds its route in its own time
			if c, err := net.DialTimeout("tcp", at, quick); err == nil {
				c.Close()
				break
			}
		}
		reachable(t, at)
		refusedQuickly(t, b, at)
	}
}

// What the host does with destinations must not lead to what is closed.
func TestAbuse36_TranslatedDestinations(t *testing.T) {
	_, b, _ := onKernelPath(t)
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(`table ip test-nat { chain pre { type nat hook prerouting priority dstnat;
		ip daddr ` + cdnAddr + ` tcp dport 81 dnat to ` + privateAddr + `:80
		ip daddr ` + cdnAddr + ` tcp dport 82 dnat to ` + hostPublic + `:8080
	}
	}`)
	if out, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("nft", "delete", "table", "ip", "test-nat").CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, out)
		}
	})
	for _, port := range []string{":81", ":82"} {
		refusedQuickly(t, b, cdnAddr+port)
	}
	if r := b.do(order{Do: "dial", Addr: cdnAddr + ":7", Send: "on\n"}); r.Got != "on\n" {
		t.Errorf("%+v", r)
	}
}

func TestAbuse36_RoutersAndForgedSources(t *testing.T) {
	_, a, _ := onKernelPath(t)
	_, b, spec := onKernelPath(t)
	router := routerAddress(t, spec.Session)
	for _, port := range []string{":53", ":9999"} {
		refusedQuickly(t, a, router+port) // a neighbour's
		refusedQuickly(t, b, router+port) // one's own
	}
	refusedQuickly(t, a, "169.254.1.1:8080")
	// The sandbox's root takes another address: nothing of it gets out.
	inBox(t, a, "addr del "+egress.Inside+"/30 dev eth0\naddr add 192.0.0.5/29 dev eth0\nroute add default via "+egress.Resolver)
	if r := a.do(order{Do: "hold", Name: "x", Addr: webAddr + ":7"}); r.Err == "" {
		t.Errorf("a forged source gets out: %+v", r)
	}
	inBox(t, a, "addr del 192.0.0.5/29 dev eth0\naddr add "+egress.Inside+"/30 dev eth0\nroute add default via "+egress.Resolver)
	if r := a.do(order{Do: "dial", Addr: webAddr + ":7", Send: "own\n"}); r.Got != "own\n" {
		t.Errorf("%+v", r)
	}
}

// From the network's side nobody gets in, though the host forwards.
func TestAbuse36_NobodyGetsIn(t *testing.T) {
	_, b, spec := onKernelPath(t)
	if r := b.do(order{Do: "listen", Addr: ":9999"}); r.Err != "" {
		t.Fatalf("%+v", r)
	}
	router := routerAddress(t, spec.Session)
	_, err := inNS(internetNS, func() (struct{}, error) {
		if err := ip("route add 240.83.0.0/16 via " + hostPublic); err != nil {
			return struct{}{}, err
		}
		for _, port := range []string{"53", "9999"} {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(router, port), quick/5)
			if err == nil {
				c.Close()
				return struct{}{}, fmt.Errorf("%s:%s answers the internet", router, port)
			}
		}
		return struct{}{}, ip("route del 240.83.0.0/16")
	})
	if err != nil {
		t.Error(err)
	}
}

// Where the host does not forward, or somebody else filters, sessions have
// userspace, and work.
func TestKernelPathFallsBack(t *testing.T) {
	needWorld(t)
	if os.Geteuid() != 0 {
		t.Skip("the kernel's path is for a server that is root: run the tests as root to try it")
	}
	sysctl := func(path, value string) func() error {
		return func() error { return os.WriteFile("/proc/sys/net/"+path, []byte(value), 0) }
	}
	nft := func(args ...string) func() error {
		return func() error {
			out, err := exec.Command("nft", args...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w %s", err, out)
			}
			return nil
		}
	}
	for name, c := range map[string]struct{ do, undo func() error }{
		"no forwarding":           {sysctl("ipv4/ip_forward", "0"), sysctl("ipv4/ip_forward", "1")},
		"no forwarding of IPv6":   {sysctl("ipv6/conf/all/forwarding", "0"), sysctl("ipv6/conf/all/forwarding", "1")},
		"a filter that drops":     {nft("add table ip other; add chain ip other f { type filter hook forward priority 0; policy drop; }"), nft("delete table ip other")},
		"a filter that has rules": {nft("add table inet other; add chain inet other f { type filter hook forward priority 0; }; add rule inet other f tcp dport 7 drop"), nft("delete table inet other")},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := c.undo(); err != nil {
					t.Error(err)
				}
			}()
			e := newEgress(t, egress.PathKernel)
			b, spec := connected(t, e, internet)
			takes(t, e, spec.Session, egress.PathUserspace)
			if r := b.do(order{Do: "dial", Addr: webAddr + ":7", Send: "on\n"}); r.Got != "on\n" {
				t.Errorf("%+v", r)
			}
			refusedQuickly(t, b, metaAddr+":80")
		})
	}
	for name, policy := range map[string]station.NetworkPolicy{"allow-list": lists, "internet with entries": {Mode: station.NetworkInternet, Allow: []string{privateAddr}}} {
		t.Run(name, func(t *testing.T) {
			e := newEgress(t, egress.PathKernel)
			_, spec := connected(t, e, policy)
			takes(t, e, spec.Session, egress.PathUserspace)
		})
	}
}
