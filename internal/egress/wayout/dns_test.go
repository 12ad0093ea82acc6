package wayout

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"staithe/internal/egress/policy"
	"staithe/internal/station"
)

func testResolver(t testing.TB, mode station.NetworkMode, allow ...string) *resolver {
	t.Helper()
	p, err := policy.Compile(station.NetworkPolicy{Mode: mode, Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	return newResolver(p, &nameMemory{}, &refusals{}, "/dev/null")
}

func packed(t testing.TB, m dnsmessage.Message) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ask(t testing.TB, name string, kind dnsmessage.Type) []byte {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}
	return packed(t, dnsmessage.Message{Header: dnsmessage.Header{ID: 9, RecursionDesired: true}, Questions: []dnsmessage.Question{q}})
}

func rcode(t *testing.T, b []byte) dnsmessage.RCode {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil || !m.Response || m.ID != 9 {
		t.Fatalf("%x: %v", b, err)
	}
	return m.RCode
}

func TestWhatIsNotAskedOn(t *testing.T) {
	list := testResolver(t, station.NetworkAllowList, "good.example")
	open := testResolver(t, station.NetworkInternet)
	for _, c := range []struct {
		r    *resolver
		name string
		kind dnsmessage.Type
		want dnsmessage.RCode
	}{
		{list, "evil.example.", dnsmessage.TypeA, dnsmessage.RCodeNameError},
		{list, "good.example.", dnsmessage.TypeHTTPS, dnsmessage.RCodeSuccess},
		{list, "34.216.184.93.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError},
		{open, "3.2.1.10.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError},
		{open, "1.0-127.0.0.10.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError},
		{open, "x.3.2.1.10.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError},
		{open, "03.2.1.10.IN-ADDR.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError},
		{open, "_dns-sd._udp.0.0.168.192.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError},
		{open, "8.8.8.8.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeServerFailure},
		{open, "10.in-addr.arpa.", dnsmessage.TypeSOA, dnsmessage.RCodeNameError},
		{open, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError},
		{open, "example.", dnsmessage.TypeAXFR, dnsmessage.RCodeRefused},
		{open, "anything.example.", dnsmessage.TypeA, dnsmessage.RCodeServerFailure}, // the host has no name server
	} {
		if got := rcode(t, c.r.answer(t.Context(), ask(t, c.name, c.kind), true)); got != c.want {
			t.Errorf("%s %v: %v", c.name, c.kind, got)
		}
	}
	if list.answer(t.Context(), []byte("no query"), true) != nil {
		t.Error("what is no query was answered")
	}
}

// TestAbuse36_AliasesOfReverseNames: a public name that is an alias does not tell
// what the host's name servers call a private address.
func TestAbuse36_AliasesOfReverseNames(t *testing.T) {
	r := testResolver(t, station.NetworkInternet)
	asked := dnsmessage.MustNewName("evil.example.")
	header := func(name string, kind dnsmessage.Type) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}
	}
	for name, kept := range map[string]int{"1.0.0.10.in-addr.arpa.": 1, "1.1.1.1.in-addr.arpa.": 2} {
		m := &dnsmessage.Message{Answers: []dnsmessage.Resource{
			{Header: header("evil.example.", dnsmessage.TypeCNAME), Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(name)}},
			{Header: header(name, dnsmessage.TypePTR), Body: &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName("db.corp.example.")}},
		}}
		q := query{question: dnsmessage.Question{Name: asked, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET}, name: "evil.example"}
		if got := r.filter(q, m); len(got.Answers) != kept {
			t.Errorf("%s: %v", name, got.Answers)
		}
	}
}

func TestNamesRunOut(t *testing.T) {
	now := time.Now()
	m := nameMemory{now: func() time.Time { return now }}
	a := netip.MustParseAddr("93.184.216.34")
	m.remember("short", a, 0)
	m.remember("long", a, 24*time.Hour)
	now = now.Add(minKept - time.Second)
	if got := m.names(a); len(got) != 2 {
		t.Fatal(got)
	}
	now = now.Add(2 * time.Second)
	if got := m.names(a); len(got) != 1 || got[0] != "long" {
		t.Fatal(got)
	}
	now = now.Add(maxKept)
	if got := m.names(a); len(got) != 0 {
		t.Fatal(got)
	}
}

func TestMemoryOfNamesIsBounded(t *testing.T) {
	var m nameMemory
	for i := range 3 * maxAddresses {
		m.remember("name", netip.AddrFrom4([4]byte{1, byte(i >> 16), byte(i >> 8), byte(i)}), time.Hour)
	}
	for i := range 3 * maxNamesOfAddr {
		m.remember(string(rune('a'+i%26))+string(rune('a'+i/26)), netip.AddrFrom4([4]byte{9, 9, 9, 9}), time.Hour)
	}
	if len(m.addr) > maxAddresses || len(m.names(netip.AddrFrom4([4]byte{9, 9, 9, 9}))) > maxNamesOfAddr {
		t.Error(len(m.addr))
	}
}

func TestRefusalsAreBoundedCountedAndNewestFirst(t *testing.T) {
	var r refusals
	for i := range 500 {
		r.add("tcp", "", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80, "no")
	}
	r.add("dns", "evil\x1b[2J\n.example", netip.Addr{}, 0, "no")
	r.add("dns", "evil\x1b[2J\n.example", netip.Addr{}, 0, "no")
	got := r.list()
	if len(got) != 200 || got[0].Name != "evil[2J.example" || got[0].Count != 2 || got[1].Address != "10.0.1.243" {
		t.Errorf("%d %+v", len(got), got[:2])
	}
}

// FuzzAnswer: no query brings the resolver down, and an answer, whatever a name
// server said, holds no address that the policy refuses, and is remembered only
// for what was asked.
func FuzzAnswer(f *testing.F) {
	name := dnsmessage.MustNewName("good.example.")
	h := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60}
	f.Add(ask(f, "good.example.", dnsmessage.TypeA), packed(f, dnsmessage.Message{
		Header: dnsmessage.Header{Response: true},
		Answers: []dnsmessage.Resource{
			{Header: h, Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}}},
			{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("b.example.")}},
			{Header: h, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("::ffff:10.0.0.1").As16()}},
		},
	}))
	f.Fuzz(func(t *testing.T, question, reply []byte) {
		q, ok := readQuery(question)
		if !ok {
			return
		}
		_ = q.failure(dnsmessage.RCodeRefused)
		var m dnsmessage.Message
		if m.Unpack(reply) != nil {
			return
		}
		r := testResolver(t, station.NetworkInternet)
		b := q.pack(r.filter(q, &m), maxUDPAnswer)
		if len(b) > maxUDPAnswer {
			t.Fatalf("%d bytes", len(b))
		}
		var out dnsmessage.Message
		if b == nil || out.Unpack(b) != nil {
			return
		}
		for _, rr := range append(out.Answers, out.Additionals...) {
			if a, is := address(rr.Body); is && policy.NotPublic(a) != "" {
				t.Fatalf("%s passed", a)
			}
		}
		for a, names := range r.names.addr {
			if _, ok := names[q.name]; !ok || len(names) != 1 || policy.NotPublic(a) != "" {
				t.Fatalf("%s is remembered for %v", a, names)
			}
		}
	})
}
