package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"staithe/internal/station"
)

func compile(t testing.TB, mode station.NetworkMode, allow ...string) *Policy {
	t.Helper()
	p, err := Compile(station.NetworkPolicy{Mode: mode, Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var closed = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.1.2.3",
	"168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1",
	"198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::10.0.0.1", "::93.184.216.34", "::ffff:93.184.216.34", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254",
	"64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:a00:1::1", "2002:7f00:1::",
	"2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0",
	"fec0::1", "ff02::1", "ff0e::1",
}

var open = []string{
	"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
	"172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255",
	"2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8", "2002:808:808::1", "2606:4700::5efe:8.8.8.8",
}

func TestInternetIsPublicAddressesOnly(t *testing.T) {
	p := compile(t, station.NetworkInternet)
	for _, udp := range []bool{false, true} {
		for _, a := range closed {
			if v := p.Decide(Dest{Addr: netip.MustParseAddr(a), Port: 443, UDP: udp}, nil); v.OK || v.Why == "" {
				t.Errorf("%s: %+v", a, v)
			}
		}
		for _, a := range open {
			if v := p.Decide(Dest{Addr: netip.MustParseAddr(a), Port: 443, UDP: udp}, nil); !v.OK || v.CheckName {
				t.Errorf("%s: %+v", a, v)
			}
		}
	}
	if p.Decide(Dest{}, nil).OK || p.Decide(Dest{Addr: netip.MustParseAddr("1.1.1.1")}, nil).OK {
		t.Error("no address, or no port, is open")
	}
}

func TestTheHostItself(t *testing.T) {
	host := netip.MustParseAddr("93.184.216.1")
	own := func(a netip.Addr) bool { return a == host }
	for _, c := range []struct {
		allow []string
		addr  string
		ok    bool
	}{
		{nil, "93.184.216.1", false},
		{nil, "64:ff9b::93.184.216.1", false},
		{nil, "2002:5db8:d801::1", false},
		{nil, "93.184.216.2", true},
		{[]string{"93.184.216.0/24"}, "93.184.216.1", false}, // a range around it opens nothing
		{[]string{"0.0.0.0/0", "::/0"}, "93.184.216.1", false},
		{[]string{"93.184.216.1"}, "93.184.216.1", true},
		{[]string{"93.184.216.1:8443"}, "93.184.216.1", false},
	} {
		p := compile(t, station.NetworkInternet, c.allow...)
		if v := p.Decide(Dest{Addr: netip.MustParseAddr(c.addr), Port: 443}, own); v.OK != c.ok {
			t.Errorf("%v %s: %+v", c.allow, c.addr, v)
		}
	}
	p := compile(t, station.NetworkInternet, "93.184.216.1:8443")
	if v := p.Decide(Dest{Addr: host, Port: 8443}, own); !v.OK {
		t.Errorf("%+v", v)
	}
}

func TestInternetWithMoreAddresses(t *testing.T) {
	p := compile(t, station.NetworkInternet, "10.1.2.3", "10.9.0.0/16", "10.7.7.7:5432", "fd00:1::/64", "git.example")
	for target, ok := range map[string]bool{
		"10.1.2.3:1": true, "10.1.2.4:1": false, "10.9.3.3:9": true, "10.7.7.7:5432": true, "10.7.7.7:22": false,
		"[fd00:1::9]:1": true, "[fd00:2::9]:1": false, "1.1.1.1:443": true, "[::ffff:10.1.2.3]:1": false,
	} {
		ap := netip.MustParseAddrPort(target)
		// A name opens no private address, whoever listed it.
		if v := p.Decide(Dest{Addr: ap.Addr(), Port: ap.Port(), Names: []string{"git.example"}}, nil); v.OK != ok {
			t.Errorf("%s: %+v", target, v)
		}
	}
}

// TestAbuse36_RangesOpenNoDisguise: whatever range is opened, an address that the
// host's kernel would take for another one stays closed.
func TestAbuse36_RangesOpenNoDisguise(t *testing.T) {
	for _, mode := range []station.NetworkMode{station.NetworkInternet, station.NetworkAllowList} {
		p := compile(t, mode, "0.0.0.0/0", "::/0")
		for _, a := range []string{"0.0.0.0", "::", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:1.1.1.1", "fe80::1%eth0"} {
			if v := p.Decide(Dest{Addr: netip.MustParseAddr(a), Port: 443}, nil); v.OK {
				t.Errorf("%s, %s: %+v", mode, a, v)
			}
		}
		if v := p.Decide(Dest{Addr: netip.MustParseAddr("10.0.0.1"), Port: 443}, nil); !v.OK {
			t.Errorf("%s: the control is refused: %+v", mode, v)
		}
	}
}

// TestClassesAndPoliciesTakeTheSame: what a class's check lets through and the
// policy then refuses would fail at each session's start instead of the server's.
func TestClassesAndPoliciesTakeTheSame(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, entry := range []string{
		"good.example", "*.good.example", "good.example:443", "*.good.example:443", "10.1.2.3", "10.1.2.3:5432", "10.0.0.0/8", "fd00::1", "[fd00::1]:443",
		"fd00::/8", "a_b.example", "", "*", "*.", "a b", "A.example", "a..b", ".a", "a.", "good.example:0", "good.example:65536", "good.example:x",
		"good.example:+1", "good.example:01", "::ffff:10.0.0.1", "[::ffff:10.0.0.1]:80", "::ffff:10.0.0.0/104", "fe80::1%eth0", "[fe80::1%eth0]:80",
		"[fd00::1]:0", "[fd00::1]", "1.2.3.4/33", "1.2.3.4:0", "a.*.b", "*.*.b", long + ".example", strings.Repeat("a.", 127) + "b",
	} {
		network := station.NetworkPolicy{Mode: station.NetworkAllowList, Allow: []string{entry}}
		class := station.Class{Name: "x", Network: network}.Check()
		if _, err := Compile(network); (err == nil) != (class == nil) {
			t.Errorf("%q: class says %v, policy says %v", entry, class, err)
		}
	}
}

func TestAllowList(t *testing.T) {
	p := compile(t, station.NetworkAllowList, "good.example", "*.wild.example:7", "10.1.2.3", "8.8.0.0/16")
	web := netip.MustParseAddr("93.184.216.34")
	for _, c := range []struct {
		d         Dest
		ok, check bool
	}{
		{Dest{Addr: web, Port: 443}, false, false},
		{Dest{Addr: web, Port: 443, Names: []string{"good.example"}}, true, true},
		{Dest{Addr: web, Port: 443, Names: []string{"evil.example", "good.example"}}, true, true},
		{Dest{Addr: web, Port: 443, Names: []string{"evil.example"}}, false, false},
		{Dest{Addr: web, Port: 443, UDP: true, Names: []string{"good.example"}}, false, false},
		{Dest{Addr: web, Port: 7, Names: []string{"a.wild.example"}}, true, true},
		{Dest{Addr: web, Port: 8, Names: []string{"a.wild.example"}}, false, false},
		{Dest{Addr: web, Port: 7, Names: []string{"wild.example"}}, false, false},
		{Dest{Addr: netip.MustParseAddr("10.1.2.3"), Port: 1}, true, false},
		{Dest{Addr: netip.MustParseAddr("10.1.2.4"), Port: 1, Names: []string{"good.example"}}, false, false},
		{Dest{Addr: netip.MustParseAddr("8.8.4.4"), Port: 53, UDP: true}, true, false},
	} {
		if v := p.Decide(c.d, nil); v.OK != c.ok || v.CheckName != c.check {
			t.Errorf("%+v: %+v", c.d, v)
		}
	}
	for name, ok := range map[string]bool{
		"good.example": true, "GOOD.example.": true, "a.good.example": false, "xgood.example": false, "wild.example": false, "a.b.wild.example": true,
		"awild.example": false, "": false, ".": false, "good.example\x00": false, "good.example.evil": false, "*.wild.example": false,
	} {
		if p.NameAllowed(name, 0) != ok {
			t.Errorf("%q", name)
		}
	}
	if p.NameAllowed("a.wild.example", 8) || !p.NameAllowed("a.wild.example", 7) {
		t.Error("a name's port counts for nothing")
	}
}

func TestNoneIsNone(t *testing.T) {
	p := compile(t, station.NetworkNone, "1.1.1.1", "good.example")
	if p.Decide(Dest{Addr: netip.MustParseAddr("1.1.1.1"), Port: 443}, nil).OK || p.NameAllowed("good.example", 0) {
		t.Error("none lets something through")
	}
}

func TestBadPolicies(t *testing.T) {
	for _, entry := range []string{"", "*", "*.", "a b", "A.example", "a..b", "good.example:0", "good.example:65536", "good.example:x", "::ffff:10.0.0.1", "1.2.3.4/33", "a.*.b", "fe80::1%eth0"} {
		if _, err := Compile(station.NetworkPolicy{Mode: station.NetworkAllowList, Allow: []string{entry}}); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("%q: %v", entry, err)
		}
	}
	if _, err := Compile(station.NetworkPolicy{Mode: "all"}); !errors.Is(err, station.ErrInvalid) {
		t.Error(err)
	}
}

// FuzzDecide: whatever is asked, what is not public is open only where an entry
// names it, and names alone open nothing that is closed.
func FuzzDecide(f *testing.F) {
	for _, a := range append(closed, open...) {
		b, _ := netip.MustParseAddr(a).MarshalBinary()
		f.Add(b, uint16(443), false, "good.example")
	}
	host := netip.MustParseAddr("93.184.216.1")
	own := func(a netip.Addr) bool { return a == host }
	internet, list := compile(f, station.NetworkInternet), compile(f, station.NetworkAllowList, "good.example", "*.wild.example:7")
	f.Fuzz(func(t *testing.T, raw []byte, port uint16, udp bool, name string) {
		var a netip.Addr
		if a.UnmarshalBinary(raw) != nil {
			return
		}
		d := Dest{Addr: a, Port: port, UDP: udp, Names: []string{name}}
		shut := NotPublic(a) != "" || a == host || port == 0
		if v := internet.Decide(d, own); v.OK == shut || v.OK == (v.Why != "") {
			t.Fatalf("internet, %s: %+v", a, v)
		}
		v := list.Decide(d, own)
		if v.OK && (shut || udp || !v.CheckName || !list.NameAllowed(name, port)) || v.OK == (v.Why != "") {
			t.Fatalf("allow-list, %s: %+v", a, v)
		}
		if a.Is4() && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified()) && !shut {
			t.Fatalf("%s counts as public", a)
		}
	})
}
