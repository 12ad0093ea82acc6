package wayout

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"staithe/internal/egress/policy"
	"staithe/internal/station"
)

// resolver is the session's DNS: it asks the host's name servers, as far as the
// policy lets names be resolved, and remembers which addresses it answered for
// which names. It is safe for concurrent use.
type resolver struct {
	policy   *policy.Policy
	names    *nameMemory
	refused  *refusals
	upstream *upstream
}

const (
	// plainDNS is what a client without EDNS takes by UDP (RFC 1035).
	plainDNS = 512
	// maxUDPAnswer is what goes by UDP at most, and what upstream is told: it
	// fits into every path's packets (RFC 9715).
	maxUDPAnswer = 1232
	// maxMessage is what DNS over TCP carries.
	maxMessage = 65535
	// maxCNAMEs bounds how far aliases are followed.
	maxCNAMEs = 16
)

func newResolver(p *policy.Policy, names *nameMemory, refused *refusals, resolvConf string) *resolver {
	return &resolver{policy: p, names: names, refused: refused, upstream: &upstream{path: resolvConf}}
}

// answer answers one query; nil: it deserves none. udp says how it came.
func (r *resolver) answer(ctx context.Context, query []byte, udp bool) []byte {
	q, ok := readQuery(query)
	if !ok {
		return nil
	}
	limit := maxMessage
	if udp {
		limit = q.limit
	}
	if q.bad != dnsmessage.RCodeSuccess {
		return q.failure(q.bad)
	}
	if why := r.refuseName(q.question); why != "" {
		r.refused.add("dns", q.name, netip.Addr{}, 0, why)
		// REFUSED makes some resolvers ask on and on; no such name ends it.
		return q.failure(dnsmessage.RCodeNameError)
	}
	if q.question.Type == dnsmessage.TypeHTTPS || q.question.Type == dnsmessage.TypeSVCB {
		// They would hand out addresses past the checks below, and keys to hide
		// the name in TLS; programs do without.
		return q.failure(dnsmessage.RCodeSuccess)
	}
	got, err := r.upstream.ask(ctx, q.question)
	if err != nil {
		return q.failure(dnsmessage.RCodeServerFailure)
	}
	return q.pack(r.filter(q, got), limit)
}

// refuseName says why a name is not resolved; empty: it is.
func (r *resolver) refuseName(q dnsmessage.Question) string {
	name := strings.TrimSuffix(q.Name.String(), ".")
	if r.policy.Mode() == station.NetworkAllowList {
		if !r.policy.NameAllowed(name, 0) {
			return "The name is not on the allow list."
		}
		return ""
	}
	if a, is := reverseName(name); is && r.policy.AddressRefused(a, nil) != "" {
		return "Names of addresses that are not public are not told."
	}
	return ""
}

// filter takes addresses that no connection may go to out of an answer, and
// remembers the rest.
func (r *resolver) filter(q query, m *dnsmessage.Message) *dnsmessage.Message {
	chain := aliases(q.question.Name, m.Answers)
	kept := m.Answers[:0]
	took := false
	for _, rr := range m.Answers {
		rr.Header.TTL = min(rr.Header.TTL, uint32(maxTTL/time.Second))
		if of, is := reverseName(rr.Header.Name.String()); is && r.policy.AddressRefused(of, nil) != "" {
			continue // an alias led to the name of an address that is not public
		}
		a, isAddr := address(rr.Body)
		if !isAddr {
			if rr.Header.Type != dnsmessage.TypeHTTPS && rr.Header.Type != dnsmessage.TypeSVCB {
				kept = append(kept, rr)
			}
			continue
		}
		if !chain[strings.ToLower(rr.Header.Name.String())] {
			continue // nobody asked for it
		}
		if why := r.policy.AddressRefused(a, nil); why != "" {
			r.refused.add("dns", q.name, a, 0, why)
			took = true
			continue
		}
		r.names.remember(q.name, a, time.Duration(rr.Header.TTL)*time.Second)
		kept = append(kept, rr)
	}
	m.Answers = kept
	m.Authorities = withoutAddresses(m.Authorities)
	m.Additionals = nil // addresses that nobody asked for
	if took && !hasAddress(kept) {
		m.RCode = dnsmessage.RCodeNameError
	}
	return m
}

// aliases are the names that a name leads to by CNAME, itself among them, in
// lower case.
func aliases(name dnsmessage.Name, answers []dnsmessage.Resource) map[string]bool {
	chain := map[string]bool{strings.ToLower(name.String()): true}
	for range maxCNAMEs {
		grown := false
		for _, rr := range answers {
			c, is := rr.Body.(*dnsmessage.CNAMEResource)
			if !is || !chain[strings.ToLower(rr.Header.Name.String())] {
				continue
			}
			if to := strings.ToLower(c.CNAME.String()); !chain[to] && len(chain) <= maxCNAMEs {
				chain[to], grown = true, true
			}
		}
		if !grown {
			break
		}
	}
	return chain
}

func address(body dnsmessage.ResourceBody) (netip.Addr, bool) {
	switch b := body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(b.A), true
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(b.AAAA), true
	}
	return netip.Addr{}, false
}

func withoutAddresses(list []dnsmessage.Resource) []dnsmessage.Resource {
	kept := list[:0]
	for _, rr := range list {
		if _, is := address(rr.Body); !is {
			kept = append(kept, rr)
		}
	}
	return kept
}

func hasAddress(list []dnsmessage.Resource) bool {
	for _, rr := range list {
		if _, is := address(rr.Body); is {
			return true
		}
	}
	return false
}

// reverseName reads the name under which an address's own name is asked for
// (RFC 1035 3.5, RFC 3596 2.5), or the first address of a zone of such; what
// stands before the digits counts for nothing (RFC 2317).
func reverseName(name string) (netip.Addr, bool) {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if rest, is := strings.CutSuffix(name, ".in-addr.arpa"); is {
		var b [4]byte
		n := reverseDigits(strings.Split(rest, "."), 10, b[:])
		return netip.AddrFrom4(b), n > 0
	}
	if rest, is := strings.CutSuffix(name, ".ip6.arpa"); is {
		var nibbles [32]byte
		n := reverseDigits(strings.Split(rest, "."), 16, nibbles[:])
		var b [16]byte
		for i, v := range nibbles {
			b[i/2] = b[i/2]<<4 | v&15
		}
		return netip.AddrFrom16(b), n > 0
	}
	return netip.Addr{}, false
}

// reverseDigits reads labels from the last on as numbers of base, and says how
// many there were.
func reverseDigits(labels []string, base int, into []byte) (n int) {
	for n < len(into) && n < len(labels) {
		v, err := strconv.ParseUint(labels[len(labels)-1-n], base, 8)
		if err != nil {
			break
		}
		into[n] = byte(v)
		n++
	}
	return n
}
