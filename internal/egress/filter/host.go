package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

const (
	// TableName is the one table that the host gets.
	TableName = "staithe"
	// linkPrefix and a session's id, which has twelve letters, are an interface's
	// name, which has fifteen at most.
	linkPrefix = "stw"
)

// The addresses by which the host knows routers: of the reserved class E (RFC
// 1112), which nobody routes, and of a local block (RFC 4193). The sandbox's
// policy refuses both.
var (
	Routers4 = netip.MustParsePrefix("240.83.0.0/16")
	Routers6 = netip.MustParsePrefix("fd73:7461:6974:6866::/64")
)

// LinkName is what the host's end of a session's link is called.
func LinkName(id station.ID) string { return linkPrefix + string(id) }

// InstallHost makes the host's table, in the network namespace of the calling
// thread. It is the same for all sessions; making it again changes nothing. The
// caller holds the lock.
func InstallHost() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	t := newTable(conn, TableName)
	refuse := t.chain("refuse")
	t.refusing(refuse)
	// To the host itself routers have nothing to say, whatever address it got
	// since theirs was set up.
	in := t.base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainPolicyAccept)
	t.add(in, fromPrefix(linkPrefix), jump(refuse))
	f := t.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter, nftables.ChainPolicyAccept)
	t.add(f, fromPrefix(linkPrefix), toPrefix(linkPrefix), jump(refuse)) // a neighbour
	t.add(f, fromPrefix(linkPrefix), isFlowing(), accept())
	// Once more, behind whatever translation of destinations the host does.
	notPublic(t, f, fromPrefix(linkPrefix), jump(refuse))
	t.add(f, fromPrefix(linkPrefix), notFrom(Routers4), drop())
	t.add(f, fromPrefix(linkPrefix), notFrom(Routers6), drop())
	t.add(f, toPrefix(linkPrefix), notFlowing(), drop()) // nobody asked for it
	post := t.base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, nftables.ChainPolicyAccept)
	for _, p := range []netip.Prefix{Routers4, Routers6} {
		t.add(post, fromAny(p), notToPrefix(linkPrefix), masquerade())
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("set up the host's packet filter: %w", err)
	}
	return nil
}

// Clean removes what is left on the host of a session's link, and the table when
// there is no other. Where nothing is, it does nothing.
func Clean(id station.ID) error {
	unlock, err := Lock()
	if err != nil {
		return err
	}
	defer unlock()
	if old, err := netlink.LinkByName(LinkName(id)); err == nil {
		if err := netlink.LinkDel(old); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove %s: %w", LinkName(id), err)
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list the interfaces: %w", err)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, linkPrefix) && l.Type() == "veth" {
			return nil
		}
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	conn.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: TableName})
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the host's packet filter: %w", err)
	}
	return nil
}

// lockLimit bounds the wait for others who make or remove the table.
const lockLimit = 2 * time.Second

// Lock makes the caller the only one who changes the host's table. It is a lock on
// the network namespace itself, whose table it is: it ends with the process, and
// leaves no file.
func Lock() (unlock func(), err error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	// flock(2) knows no time limit and cannot be waited for in another way, and
	// anybody in this namespace may hold this lock: so it is asked for again.
	for deadline := time.Now().Add(lockLimit); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("wait for others who set up the host's packet filter: %w", err)
		}
	}
}
