package egress_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"staithe/internal/egress"
	"staithe/internal/station"
)

// quick is how soon a refusal must come: at once, not by a timeout. The bound
// is wide, for machines that are busy.
const quick = 5 * time.Second

// refusedQuickly fails the test unless a TCP dial was refused at once.
func refusedQuickly(t *testing.T, b *box, addr string) {
	t.Helper()
	r := b.do(order{Do: "dial", Addr: addr, Send: "GET / HTTP/1.0\r\nHost: good.example\r\n\r\n"})
	if r.Err != "refused" && r.Err != "unreachable" && r.Err != "reset" || r.Got != "" || r.Took > quick {
		t.Errorf("TCP to %s: %+v", addr, r)
	}
}

// reachable fails the test unless the host itself can connect: what a sandbox
// must not reach is there.
func reachable(t *testing.T, addr string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, quick)
	if err != nil {
		t.Fatalf("the test's world is broken, %s does not answer the host: %v", addr, err)
	}
	c.Close()
}

// logged waits until a refusal is logged: the kernel's path tells of one in its
// own time.
func logged(t *testing.T, e *egress.Egress, id station.ID, is func(egress.Refusal) bool) {
	t.Helper()
	for deadline := time.Now().Add(quick); ; {
		st, err := e.Status(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(st.Refused, is) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a refusal is not logged; those that are: %+v", st.Refused)
		}
	}
}

// hostTargets are addresses of the host's own.
func hostTargets() []string {
	return []string{hostPublic + ":8080", "[" + hostPublic6 + "]:8080", egress.Resolver + ":8080", "[" + egress.Resolver6 + "]:8080",
		egress.Resolver + ":5432"}
}

func TestAbuse36_HostAndPrivateAddresses(t *testing.T) {
	fromEverywhere(t, bothPaths, testAbuse36_HostAndPrivateAddresses)
}

func testAbuse36_HostAndPrivateAddresses(t *testing.T, w where) {
	e := newEgress(t, w.path)
	b, spec := w.connected(t, e, internet)
	takes(t, e, spec.Session, w.path)
	reachable(t, hostPublic+":8080")
	reachable(t, "["+hostPublic6+"]:8080")
	reachable(t, "127.0.0.1:5432")
	var targets []string
	for _, a := range forbidden4 {
		reachable(t, a+":80")
		targets = append(targets, a+":80", a+":53")
	}
	for _, a := range forbidden6 {
		reachable(t, "["+a+"]:80")
		targets = append(targets, "["+a+"]:80")
	}
	targets = append(targets, hostTargets()...)
	for _, a := range targets {
		refusedQuickly(t, b, a)
	}
	// Its own loopback is its own: the host's listeners are not on it.
	for _, a := range []string{"127.0.0.1:5432", "127.0.0.1:8080", "[::1]:8080", "127.5.5.5:8080", "0.0.0.0:8080"} {
		refusedQuickly(t, b, a)
	}
	// On the wire, an IPv4 address in IPv6 clothes is IPv4.
	for _, a := range []string{"[::ffff:10.1.2.3]:80", "[::ffff:169.254.169.254]:80", "[::ffff:93.184.216.1]:8080", "[::10.1.2.3]:80"} {
		refusedQuickly(t, b, a)
	}
	for want, why := range map[string]string{metaAddr: "link-local", private6: "private", hostPublic: "the server itself", hostPublic6: "the server itself",
		"2002:a01:203::1": "a tunnel", egress.Resolver: "reserved"} {
		logged(t, e, spec.Session, func(r egress.Refusal) bool {
			return r.Address == want && r.Network == "tcp" && strings.Contains(r.Why, why) && r.Port != 0
		})
	}
}

func TestAbuse36_HostAndPrivateAddressesByUDP(t *testing.T) {
	fromEverywhere(t, bothPaths, testAbuse36_HostAndPrivateAddressesByUDP)
}

func testAbuse36_HostAndPrivateAddressesByUDP(t *testing.T, w where) {
	e := newEgress(t, w.path)
	b, _ := w.connected(t, e, internet)
	for _, a := range append(append([]string{hostPublic, hostPublic6, egress.Resolver}, forbidden4...), forbidden6...) {
		r := b.do(order{Do: "udp", Addr: net.JoinHostPort(a, "7"), Send: "hello"})
		if r.Err != "refused" && r.Err != "unreachable" || r.Took > quick {
			t.Errorf("UDP to %s: %+v", a, r)
		}
	}
}

func TestAbuse36_Neighbours(t *testing.T) { fromEverywhere(t, bothPaths, testAbuse36_Neighbours) }

func testAbuse36_Neighbours(t *testing.T, w where) {
	e := newEgress(t, w.path)
	a, _ := w.connected(t, e, internet)
	b, _ := w.connected(t, e, internet)
	if r := b.do(order{Do: "listen", Addr: ":9999"}); r.Err != "" {
		t.Fatalf("%+v", r)
	}
	if r := b.do(order{Do: "dial", Addr: egress.Inside + ":9999"}); r.Got != "inside" {
		t.Fatalf("the neighbour's server does not answer itself: %+v", r)
	}
	// All sandboxes have the same address; a's own is a itself.
	for i := range 6 {
		if addr := fmt.Sprintf("192.0.0.%d:9999", 1+i); w.engine != "runsc" || i != 2 {
			refusedQuickly(t, a, addr)
		} else {
			t.Logf("%s is not tried: it is the link's broadcast address, which gVisor's stack answers nothing to", addr)
		}
		refusedQuickly(t, a, fmt.Sprintf("[fd73:7461:6974:6865::%d]:9999", 1+i))
	}
}

func TestAbuse36_Rebinding(t *testing.T) { fromEverywhere(t, bothPaths, testAbuse36_Rebinding) }

func testAbuse36_Rebinding(t *testing.T, w where) {
	e := newEgress(t, w.path)
	for name, policy := range map[string]station.NetworkPolicy{
		"internet":   internet,
		"allow-list": {Mode: station.NetworkAllowList, Allow: []string{"*.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, spec := w.connected(t, e, policy)
			for _, name := range []string{"private.example", "meta.example", "loop.example", "mapped.example", "cloak.example"} {
				for _, kind := range []int{1, 28} {
					r := b.do(order{Do: "dns", Addr: egress.Resolver + ":53", Name: name, N: kind})
					if len(r.Addrs) != 0 || r.Err != "" {
						t.Errorf("%s %d: %+v", name, kind, r)
					}
				}
			}
			// One good address does not bring a bad one in.
			if r := b.do(order{Do: "dns", Addr: egress.Resolver + ":53", Name: "mixed.example"}); !slices.Equal(r.Addrs, []string{webAddr}) {
				t.Errorf("%+v", r)
			}
			// The name of the host itself resolves, and leads nowhere.
			b.do(order{Do: "dns", Addr: egress.Resolver + ":53", Name: "self.example"})
			refusedQuickly(t, b, hostPublic+":8080")
			// A name that is public at first and private when connected to.
			for range 4 {
				r := b.do(order{Do: "dns", Addr: egress.Resolver + ":53", Name: "flip.example"})
				if slices.Contains(r.Addrs, privateAddr) {
					t.Errorf("%+v", r)
				}
				refusedQuickly(t, b, privateAddr+":80")
			}
			st, err := e.Status(t.Context(), spec.Session)
			if err != nil || !slices.ContainsFunc(st.Refused, func(r egress.Refusal) bool { return r.Name == "meta.example" && r.Network == "dns" }) {
				t.Errorf("%+v %v", st.Refused, err)
			}
		})
	}
}

var lists = station.NetworkPolicy{Mode: station.NetworkAllowList, Allow: []string{"good.example", "cdn-a.example", "*.wild.example:7", "alias.example"}}

func TestAllowListReachesWhatIsAllowed(t *testing.T) {
	e := newEgress(t, egress.PathUserspace)
	b, _ := connected(t, e, lists)
	resolve(t, b, "good.example")
	if r := b.do(order{Do: "dial", Addr: webAddr + ":80", Send: "GET /a HTTP/1.1\r\nHost: good.example\r\n\r\n"}); !strings.Contains(string(r.Got), "host=good.example path=/a") {
		t.Errorf("%+v", r)
	}
	if r := b.do(order{Do: "tls", Addr: webAddr + ":443", Name: "good.example", Send: "GET /b HTTP/1.1\r\nHost: good.example\r\n\r\n"}); !strings.Contains(string(r.Got), "path=/b") {
		t.Errorf("%+v", r)
	}
	// Another protocol, where the client speaks first and where the server does.
	if r := b.do(order{Do: "dial", Addr: webAddr + ":7", Send: "SSH-2.0-x\r\n"}); r.Got != "SSH-2.0-x\r\n" {
		t.Errorf("%+v", r)
	}
	if r := b.do(order{Do: "pull", Addr: webAddr + ":19", N: 1000}); r.N != 1000 {
		t.Errorf("%+v", r)
	}
	resolve(t, b, "alias.example")
	if r := b.do(order{Do: "dns", Addr: egress.Resolver + ":53", Name: "good.example", N: 28}); !slices.Equal(r.Addrs, []string{webAddr6}) {
		t.Errorf("%+v", r)
	}
	if r := b.do(order{Do: "dial", Addr: "[" + webAddr6 + "]:7", Send: "six\n"}); r.Got != "six\n" {
		t.Errorf("%+v", r)
	}
}

func resolve(t *testing.T, b *box, name string) {
	t.Helper()
	if r := b.do(order{Do: "dns", Addr: egress.Resolver + ":53", Name: name}); len(r.Addrs) == 0 {
		t.Fatalf("%s: %+v", name, r)
	}
}

func TestAbuse36_AllowListByAddress(t *testing.T) {
	fromEverywhere(t, userspace, testAbuse36_AllowListByAddress)
}

func testAbuse36_AllowListByAddress(t *testing.T, w where) {
	e := newEgress(t, w.path)
	b, _ := w.connected(t, e, lists)
	// Nothing was resolved: no address is open, not even an allowed name's.
	refusedQuickly(t, b, webAddr+":80")
	refusedQuickly(t, b, webAddr+":443")
	resolve(t, b, "good.example")
	for _, a := range append([]string{cdnAddr + ":80", "[" + webAddr6 + "]:80", nameServer + ":53"}, hostTargets()...) {
		refusedQuickly(t, b, a)
	}
	// A name is open on its port only.
	b2, _ := w.connected(t, e, station.NetworkPolicy{Mode: station.NetworkAllowList, Allow: []string{"*.wild.example:7"}})
	resolve(t, b2, "sub.wild.example")
	refusedQuickly(t, b2, webAddr+":80")
	if r := b2.do(order{Do: "dial", Addr: webAddr + ":7", Send: "x\n"}); r.Got != "x\n" {
		t.Errorf("%+v", r)
	}
	// UDP is for nobody.
	if r := b.do(order{Do: "udp", Addr: webAddr + ":7", Send: "x"}); r.Err != "refused" {
		t.Errorf("%+v", r)
	}
}

func TestAbuse36_AllowListByDNS(t *testing.T) {
	fromEverywhere(t, userspace, testAbuse36_AllowListByDNS)
}

func testAbuse36_AllowListByDNS(t *testing.T, w where) {
	e := newEgress(t, w.path)
	b, spec := w.connected(t, e, lists)
	for _, name := range []string{"evil.example", "cdn-b.example", "wild.example", "xgood.example", "good.example.evil.example", "example",
		"secret-data.evil.example", "other.example", "good.examp1e"} {
		if r := b.do(order{Do: "dns", Addr: egress.Resolver + ":53", Name: name}); len(r.Addrs) != 0 || r.RCode != "NameError" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// Other name servers do not answer, neither by UDP nor by TCP.
	for _, at := range []string{nameServer + ":53", webAddr + ":53", hostPublic + ":53"} {
		for _, how := range []string{"dns", "dns-tcp"} {
			if r := b.do(order{Do: how, Addr: at, Name: "good.example"}); r.Err == "" || len(r.Addrs) != 0 {
				t.Errorf("%s at %s: %+v", how, at, r)
			}
		}
	}
	// An address that an answer has besides is not remembered.
	resolve(t, b, "alias.example")
	refusedQuickly(t, b, cdnAddr+":80")
	st, err := e.Status(t.Context(), spec.Session)
	if err != nil || !slices.ContainsFunc(st.Refused, func(r egress.Refusal) bool {
		return r.Name == "evil.example" && r.Network == "dns" && r.Address == "" && r.Count == 1
	}) {
		t.Errorf("%+v %v", st.Refused, err)
	}
}

func TestAbuse36_SNITricks(t *testing.T) { fromEverywhere(t, userspace, testAbuse36_SNITricks) }

func testAbuse36_SNITricks(t *testing.T, w where) {
	e := newEgress(t, w.path)
	b, spec := w.connected(t, e, lists)
	resolve(t, b, "good.example")
	resolve(t, b, "cdn-a.example")
	get := "GET / HTTP/1.1\r\nHost: cdn-b.example\r\n\r\n"
	for _, port := range []string{":443", ":8443"} {
		for _, sni := range []string{"cdn-b.example", "evil.example", "127.0.0.1", ""} {
			if r := b.do(order{Do: "tls", Addr: cdnAddr + port, Name: sni, Send: raw(get)}); r.Err == "" || strings.Contains(string(r.Got), "host=") {
				t.Errorf("SNI %q on %s: %+v", sni, port, r)
			}
		}
	}
	hello := clientHello(t, "cdn-a.example")
	for what, bytes := range map[string]string{
		"plain HTTP on 443":      get,
		"a hello cut short":      hello[:40],
		"another protocol":       "SSH-2.0-x\r\n",
		"two names":              twoNames(hello, "cdn-a.example", "cdn-b.example"),
		"nothing but records":    strings.Repeat("\x16\x03\x01\x00\x00", 100),
		"a name with a zero":     strings.Replace(hello, "cdn-a.example", "cdn-a\x00exampl", 1),
		"an alert, then a hello": "\x15\x03\x01\x00\x02\x01\x00" + hello,
	} {
		r := b.do(order{Do: "dial-close", Addr: cdnAddr + ":443", Send: raw(bytes)})
		if r.Got != "" {
			t.Errorf("%s: %+v", what, r)
		}
	}
	// In pieces it is read all the same.
	if r := b.do(order{Do: "dribble", Addr: cdnAddr + ":443", Send: raw(hello)}); r.Got == "" {
		st, err := e.Status(t.Context(), spec.Session)
		t.Errorf("a hello in pieces: %+v %+v %v", r, st.Refused, err)
	}
	if r := b.do(order{Do: "dribble", Addr: cdnAddr + ":443", Send: raw(clientHello(t, "cdn-b.example"))}); r.Got != "" {
		t.Errorf("a hello in pieces: %+v", r)
	}
	st, err := e.Status(t.Context(), spec.Session)
	if err != nil || !slices.ContainsFunc(st.Refused, func(r egress.Refusal) bool { return r.Name == "cdn-b.example" && r.Network == "tcp" }) {
		t.Errorf("%+v %v", st.Refused, err)
	}
}

func TestAbuse36_HostTricks(t *testing.T) { fromEverywhere(t, userspace, testAbuse36_HostTricks) }

func testAbuse36_HostTricks(t *testing.T, w where) {
	e := newEgress(t, w.path)
	b, _ := w.connected(t, e, lists)
	resolve(t, b, "cdn-a.example")
	const ok = "Host: cdn-a.example\r\n"
	for _, port := range []string{":80", ":8000"} {
		if r := b.do(order{Do: "dial", Addr: cdnAddr + port, Send: "GET / HTTP/1.1\r\n" + ok + "\r\n"}); !strings.Contains(string(r.Got), "host=cdn-a.example") {
			t.Fatalf("the control does not pass: %+v", r)
		}
		for _, req := range []string{
			"GET / HTTP/1.1\r\nHost: cdn-b.example\r\n\r\n",
			"GET / HTTP/1.1\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: cdn-b.example\r\n" + ok + "\r\n",
			"GET / HTTP/1.1\r\n" + ok + "Host: cdn-b.example\r\n\r\n",
			"GET http://cdn-b.example/ HTTP/1.1\r\n" + ok + "\r\n",
			"GET http://cdn-a.example@cdn-b.example/ HTTP/1.1\r\n" + ok + "\r\n",
			"CONNECT cdn-b.example:443 HTTP/1.1\r\n" + ok + "\r\n",
			"GET / HTTP/1.1\r\nHost : cdn-b.example\r\n" + ok + "\r\n",
			"GET / HTTP/1.1\r\n Host: cdn-b.example\r\n" + ok + "\r\n",
			"GET / HTTP/1.1\nHost: cdn-b.example\n\n",
			"GET / HTTP/1.1\r\nX: y\nHost: cdn-b.example\r\n" + ok + "\r\n",
			"GET / HTTP/1.1\r\nHost: cdn-a.example:22\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: 93.184.216.35\r\n\r\n",
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		} {
			if r := b.do(order{Do: "dial-close", Addr: cdnAddr + port, Send: raw(req)}); strings.Contains(string(r.Got), "host=") {
				t.Errorf("%s %q: %+v", port, req, r)
			}
		}
		// A second request on the same connection gets no answer.
		r := b.do(order{Do: "dial-close", Addr: cdnAddr + port, Send: "GET /1 HTTP/1.1\r\nConnection: keep-alive\r\n" + ok + "\r\nGET /2 HTTP/1.1\r\nHost: cdn-b.example\r\n\r\n"})
		if !strings.Contains(string(r.Got), "path=/1") || strings.Contains(string(r.Got), "path=/2") || strings.Contains(string(r.Got), "cdn-b") {
			t.Errorf("two requests: %+v", r)
		}
	}
	if r := b.do(order{Do: "dial-close", Addr: cdnAddr + ":80", Send: "SSH-2.0-x\r\n"}); r.Got != "" {
		t.Errorf("another protocol on 80: %+v", r)
	}
}

// clientHello is what Go's TLS client says first.
func clientHello(t *testing.T, sni string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		c := tls.Client(theirs, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
		_ = c.HandshakeContext(context.Background()) // it ends when the pipe closes
	}()
	buf := make([]byte, 16<<10)
	n, err := ours.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// twoNames puts a second name into a hello's list of names, and mends the
// lengths.
func twoNames(hello, first, second string) string {
	b := []byte(hello)
	at := strings.Index(hello, first)
	entry := append([]byte{0, byte(len(second) >> 8), byte(len(second))}, second...)
	grow := func(i, width int) {
		n := 0
		for k := range width {
			n = n<<8 | int(b[i+k])
		}
		n += len(entry)
		for k := range width {
			b[i+width-1-k] = byte(n >> (8 * k))
		}
	}
	grow(3, 2)    // record
	grow(6, 3)    // message
	grow(at-5, 2) // list
	grow(at-7, 2) // extension
	// All extensions' length is right behind session, ciphers and compression.
	i := 5 + 4 + 34
	i += 1 + int(b[i])
	i += 2 + int(b[i])<<8 + int(b[i+1])
	i += 1 + int(b[i])
	grow(i, 2)
	end := at + len(first)
	return string(b[:end]) + string(entry) + string(b[end:])
}
