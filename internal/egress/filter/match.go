package filter

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// match is a part of a rule: expressions that all must hold, or that do something.
type match []expr.Any

const reg = 1 // the register that all matches use

// rules collects the rules of one table.
type rules struct {
	conn  *nftables.Conn
	table *nftables.Table
}

// newTable begins a table that takes the place of one of the same name, all at
// once when the connection is flushed.
func newTable(conn *nftables.Conn, name string) rules {
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: name}
	conn.AddTable(t) // so that there is one to delete
	conn.DelTable(t)
	return rules{conn, conn.AddTable(t)}
}

// base adds a chain at a hook.
func (r rules) base(name string, kind nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority, policy nftables.ChainPolicy) *nftables.Chain {
	return r.conn.AddChain(&nftables.Chain{Table: r.table, Name: name, Type: kind, Hooknum: hook, Priority: prio, Policy: &policy})
}

// chain adds a chain that others jump to.
func (r rules) chain(name string) *nftables.Chain {
	return r.conn.AddChain(&nftables.Chain{Table: r.table, Name: name})
}

func (r rules) add(c *nftables.Chain, parts ...match) {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	r.conn.AddRule(&nftables.Rule{Table: r.table, Chain: c, Exprs: all})
}

func meta(key expr.MetaKey, op expr.CmpOp, data []byte) match {
	return match{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: op, Register: reg, Data: data}}
}

// device is an interface's name as the kernel compares it; a prefix of names is
// the name without the zero.
func device(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func from(name string) match       { return meta(expr.MetaKeyIIFNAME, expr.CmpOpEq, device(name)) }
func to(name string) match         { return meta(expr.MetaKeyOIFNAME, expr.CmpOpEq, device(name)) }
func fromPrefix(name string) match { return meta(expr.MetaKeyIIFNAME, expr.CmpOpEq, []byte(name)) }
func toPrefix(name string) match   { return meta(expr.MetaKeyOIFNAME, expr.CmpOpEq, []byte(name)) }
func notToPrefix(name string) match {
	return meta(expr.MetaKeyOIFNAME, expr.CmpOpNeq, []byte(name))
}

func family(v6 bool) match {
	if v6 {
		return meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV6})
	}
	return meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV4})
}

func protocol(p byte) match { return meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{p}) }

func transport(offset, size uint32, op expr.CmpOp, data ...byte) match {
	return match{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: size},
		&expr.Cmp{Op: op, Register: reg, Data: data},
	}
}

// toPort matches a destination port of TCP or UDP.
func toPort(port uint16) match {
	return transport(2, 2, expr.CmpOpEq, binaryutil.BigEndian.PutUint16(port)...)
}

// Where the addresses are in the two headers.
func addressAt(v6, destination bool) (offset, size uint32) {
	switch {
	case v6 && destination:
		return 24, 16
	case v6:
		return 8, 16
	case destination:
		return 16, 4
	}
	return 12, 4
}

// within matches packets of the prefix's family whose source or destination is in
// it, or with CmpOpNeq is not.
func within(p netip.Prefix, destination bool, op expr.CmpOp) match {
	v6 := p.Addr().Is6()
	offset, size := addressAt(v6, destination)
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return append(family(v6), masked(offset, size, mask, p.Masked().Addr().AsSlice(), op)...)
}

func masked(offset, size uint32, mask, want []byte, op expr.CmpOp) match {
	return match{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: op, Register: reg, Data: want},
	}
}

func toAny(p netip.Prefix) match     { return within(p, true, expr.CmpOpEq) }
func notTo(p netip.Prefix) match     { return within(p, true, expr.CmpOpNeq) }
func fromAny(p netip.Prefix) match   { return within(p, false, expr.CmpOpEq) }
func notFrom(p netip.Prefix) match   { return within(p, false, expr.CmpOpNeq) }
func toAddress(a netip.Addr) match   { return toAny(netip.PrefixFrom(a, a.BitLen())) }
func notFromAddr(a netip.Addr) match { return notFrom(netip.PrefixFrom(a, a.BitLen())) }

// state matches the connection's state.
func state(bits uint32, op expr.CmpOp) match {
	return match{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: reg, Data: make([]byte, 4)},
	}
}

const flowing = expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED

func isFlowing() match  { return state(flowing, expr.CmpOpNeq) }
func notFlowing() match { return state(flowing, expr.CmpOpEq) }

// slower matches what stays below a rate, faster what goes beyond it.
func slower(rate uint64, burst uint32) match { return limit(rate, burst, false) }
func faster(rate uint64, burst uint32) match { return limit(rate, burst, true) }

func limit(rate uint64, burst uint32, over bool) match {
	return match{&expr.Limit{Type: expr.LimitTypePkts, Rate: rate, Unit: expr.LimitTimeSecond, Burst: burst, Over: over}}
}

// moreThan matches a connection that is one too many of those that pass here.
func moreThan(n uint32) match {
	return match{&expr.Connlimit{Count: n, Flags: expr.NFT_CONNLIMIT_F_INV}}
}

func verdict(k expr.VerdictKind) match { return match{&expr.Verdict{Kind: k}} }
func accept() match                    { return verdict(expr.VerdictAccept) }
func drop() match                      { return verdict(expr.VerdictDrop) }
func jump(c *nftables.Chain) match {
	return match{&expr.Verdict{Kind: expr.VerdictJump, Chain: c.Name}}
}
func masquerade() match { return match{&expr.Masq{Random: true, FullyRandom: true}} }
func notrack() match    { return match{&expr.Notrack{}} }

// logTo hands the packet's begin to those who listen to the group (NFLOG).
func logTo(group uint16, prefix string) match {
	return match{&expr.Log{
		Key:        1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_SNAPLEN | 1<<unix.NFTA_LOG_QTHRESHOLD,
		Group:      group,
		Snaplen:    snaplen,
		QThreshold: 1, // at once: the kernel would wait for more, up to a second
		Data:       []byte(prefix),
	}}
}

// refusing adds the rules of a chain that refuses whatever comes, so that
// programs learn of it at once: a reset, or that the port is unreachable.
func (r rules) refusing(c *nftables.Chain) {
	r.add(c, protocol(unix.IPPROTO_TCP), match{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
	r.add(c, protocol(unix.IPPROTO_UDP), match{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}})
	r.add(c, match{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}})
	r.add(c, drop())
}
