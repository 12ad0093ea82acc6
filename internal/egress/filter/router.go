package filter

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"staithe/internal/egress/policy"
)

// Router is what a session's router filters by.
type Router struct {
	Sandbox, Outside  string         // its interfaces
	Resolver4         netip.Addr     // its addresses on the sandbox's link
	Resolver6         netip.Addr     //
	Inside4, Inside6  netip.Addr     // the sandbox's
	Own               []netip.Prefix // the host's own addresses
	MaxTCP, MaxUDP    uint32         // connections at the same time
	NewRate, NewBurst uint32         // new ones a second
}

const (
	// LogGroup is the NFLOG group that refusals go to, in the router's namespace.
	LogGroup = 36
	// What a refusal's prefix says.
	WhyAddress = "address" // the policy has the sentence
	WhyTooMany = "many"
	WhyPing    = "ping"
	WhyOther   = "other"

	snaplen = 64 // both headers as far as the ports
	// logRate bounds the refusals that are told a second.
	logRate, logBurst = 200, 400
	dnsPort           = 53
)

// Install makes the router's table, in the network namespace of the calling
// thread, all at once.
func (r Router) Install() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	t := newTable(conn, "router")
	reasons := map[string]*nftables.Chain{}
	for _, why := range []string{WhyAddress, WhyTooMany, WhyPing, WhyOther} {
		c := t.chain("refuse-" + why)
		t.add(c, slower(logRate, logBurst), logTo(LogGroup, why))
		t.refusing(c)
		reasons[why] = c
	}
	r.untracked(t)
	r.input(t, reasons)
	r.forward(t, reasons)
	post := t.base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, nftables.ChainPolicyAccept)
	t.add(post, to(r.Outside), masquerade())
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("set up the router's packet filter: %w", err)
	}
	return nil
}

// untracked keeps questions to our DNS out of the table of connections.
func (r Router) untracked(t rules) {
	raw := t.base("raw", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw, nftables.ChainPolicyAccept)
	out := t.base("raw-output", nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityRaw, nftables.ChainPolicyAccept)
	for _, a := range []netip.Addr{r.Resolver4, r.Resolver6} {
		t.add(raw, from(r.Sandbox), toAddress(a), notrack())
		t.add(out, to(r.Sandbox), fromAny(netip.PrefixFrom(a, a.BitLen())), notrack())
	}
}

// input is what the sandbox may say to the router itself: questions to our DNS.
func (r Router) input(t rules, reasons map[string]*nftables.Chain) {
	in := t.base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainPolicyDrop)
	for _, a := range []netip.Addr{r.Resolver4, r.Resolver6} {
		for _, p := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			t.add(in, from(r.Sandbox), toAddress(a), protocol(p), toPort(dnsPort), accept())
		}
	}
	// Pings of its gateway, and the neighbour discovery that finds it.
	t.add(in, from(r.Sandbox), toAddress(r.Resolver4), protocol(unix.IPPROTO_ICMP), transport(0, 1, expr.CmpOpEq, 8), accept())
	for _, kind := range []byte{128, 135, 136} {
		t.add(in, from(r.Sandbox), family(true), protocol(unix.IPPROTO_ICMPV6), transport(0, 1, expr.CmpOpEq, kind), accept())
	}
	t.add(in, from(r.Sandbox), protocol(unix.IPPROTO_ICMPV6), drop()) // its router solicitations
	t.add(in, from(r.Sandbox), jump(reasons[WhyAddress]))
}

// forward is the policy internet: from the sandbox's own address, to public
// addresses that are not the host's, by TCP and UDP.
func (r Router) forward(t rules, reasons map[string]*nftables.Chain) {
	f := t.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter, nftables.ChainPolicyDrop)
	refuse := jump(reasons[WhyAddress])
	t.add(f, from(r.Outside), to(r.Sandbox), isFlowing(), accept())
	t.add(f, from(r.Sandbox), notFromAddr(r.Inside4), drop())
	t.add(f, from(r.Sandbox), notFromAddr(r.Inside6), drop())
	t.add(f, from(r.Sandbox), to(r.Outside), isFlowing(), accept())
	t.add(f, from(r.Sandbox), state(expr.CtStateBitINVALID, expr.CmpOpNeq), jump(reasons[WhyOther]))
	notPublic(t, f, match(from(r.Sandbox)), refuse)
	for _, p := range r.Own {
		t.add(f, from(r.Sandbox), toAny(p), refuse)
	}
	t.add(f, protocol(unix.IPPROTO_ICMP), from(r.Sandbox), jump(reasons[WhyPing]))
	t.add(f, protocol(unix.IPPROTO_ICMPV6), from(r.Sandbox), jump(reasons[WhyPing]))
	t.add(f, from(r.Sandbox), faster(uint64(r.NewRate), r.NewBurst), jump(reasons[WhyTooMany]))
	for p, n := range map[byte]uint32{unix.IPPROTO_TCP: r.MaxTCP, unix.IPPROTO_UDP: r.MaxUDP} {
		// Port 0 is none.
		t.add(f, from(r.Sandbox), protocol(p), toPort(0), refuse)
		t.add(f, from(r.Sandbox), protocol(p), moreThan(n), jump(reasons[WhyTooMany]))
		t.add(f, from(r.Sandbox), to(r.Outside), protocol(p), accept())
	}
	t.add(f, from(r.Sandbox), jump(reasons[WhyOther]))
}

// notPublic has what is for no public unicast address refused, by the policy's
// own tables.
func notPublic(t rules, c *nftables.Chain, who, refuse match) {
	for _, p := range policy.Refused4() {
		t.add(c, who, toAny(p), refuse)
	}
	t.add(c, who, notTo(policy.Public6()), refuse)
	for _, p := range policy.Refused6() {
		t.add(c, who, toAny(p), refuse)
	}
	// ISATAP, whatever address it hides: a filter does not look at that.
	t.add(c, who, family(true), masked(32, 4, []byte{0xfd, 0xff, 0xff, 0xff}, []byte{0, 0, 0x5e, 0xfe}, expr.CmpOpEq), refuse)
}
