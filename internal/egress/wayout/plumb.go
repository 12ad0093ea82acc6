package wayout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"staithe/internal/egress"
)

// link is our end of the veth pair.
type link struct {
	fd  int              // an AF_PACKET socket bound to it
	mac net.HardwareAddr // of our end
	mtu int
}

const (
	outerName = "wayout"
	mtu       = 1500
	// packetBuffer is what the kernel may queue for us, in bytes; without
	// CAP_NET_ADMIN on the host it is cut to net.core.rmem_max.
	packetBuffer = 2 << 20
)

// onThread runs f on an operating system thread that ends with it, so that
// whatever namespace it enters is left for good.
func onThread[T any](f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread never ends, and stands for the process in /proc:
			// take another, while this goroutine keeps it busy.
			v, err := onThread(f)
			runtime.UnlockOSThread()
			done <- result{v, err}
			return
		}
		v, err := f()
		done <- result{v, err}
	}()
	r := <-done
	return r.value, r.err
}

// plumb makes the pair and opens our end for the userspace stack. The caller must
// have CAP_SYS_ADMIN and CAP_NET_ADMIN where the sandbox's belongs.
func plumb(sandbox int) (link, error) { return plumbWith(sandbox, openOuter) }

// plumbWith makes the pair: one end in the sandbox's network namespace, with
// address and default route, the other in a namespace of its own, in which it then
// calls outside. That namespace lives as long as something that outside opens.
func plumbWith[T any](sandbox int, outside func(*netlink.Handle) (T, error)) (T, error) {
	return onThread(func() (none T, err error) {
		// A namespace that the sandbox's owner owns, so that both ends are ours.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return none, fmt.Errorf("make a network namespace: %w", err)
		}
		outer, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return none, fmt.Errorf("netlink: %w", err)
		}
		defer outer.Close()
		own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return none, fmt.Errorf("open our network namespace: %w", err)
		}
		defer unix.Close(own)

		if err := unix.Setns(sandbox, unix.CLONE_NEWNET); err != nil {
			return none, fmt.Errorf("enter the sandbox's network namespace: %w", err)
		}
		inner, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return none, fmt.Errorf("netlink: %w", err)
		}
		defer inner.Close()
		if err := makePair(inner, own); err != nil {
			return none, err
		}
		if err := configureInside(inner); err != nil {
			return none, err
		}
		if err := unix.Setns(own, unix.CLONE_NEWNET); err != nil {
			return none, fmt.Errorf("return to our network namespace: %w", err)
		}
		return outside(outer)
	})
}

// makePair makes the veth pair from inside, with our end moved out at once. An
// interface that a killed way out left, which the kernel is about to remove
// anyway, goes first.
func makePair(inner *netlink.Handle, outer int) error {
	if old, err := inner.LinkByName(egress.Interface); err == nil {
		if old.Type() != "veth" {
			return fmt.Errorf("the sandbox already has an interface %s (%s)", egress.Interface, old.Type())
		}
		if err := inner.LinkDel(old); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove the old interface: %w", err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = egress.Interface
	attrs.MTU = mtu
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: outerName, PeerNamespace: netlink.NsFd(outer), PeerMTU: mtu}
	if err := inner.LinkAdd(pair); err != nil {
		return fmt.Errorf("make the interface: %w", err)
	}
	return nil
}

// configureInside gives the sandbox its addresses and routes. A kernel without
// IPv6 is no error.
func configureInside(h *netlink.Handle) error {
	if lo, err := h.LinkByName("lo"); err == nil {
		if err := h.LinkSetUp(lo); err != nil {
			return fmt.Errorf("set up loopback: %w", err)
		}
	}
	eth, err := h.LinkByName(egress.Interface)
	if err != nil {
		return fmt.Errorf("find the interface: %w", err)
	}
	if err := h.LinkSetUp(eth); err != nil {
		return fmt.Errorf("set up the interface: %w", err)
	}
	if err := addressAndRoute(h, eth, egress.Inside, egress.Bits, egress.Resolver); err != nil {
		return err
	}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return nil
	}
	err = addressAndRoute(h, eth, egress.Inside6, egress.Bits6, egress.Resolver6)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPERM) {
		return nil // IPv6 is turned off here
	}
	return err
}

func addressAndRoute(h *netlink.Handle, eth netlink.Link, addr string, bits int, gateway string) error {
	ip := net.ParseIP(addr)
	size := 8 * net.IPv6len
	flags := unix.IFA_F_NODAD // nobody else is on the link
	if v4 := ip.To4(); v4 != nil {
		ip, size, flags = v4, 8*net.IPv4len, 0
	}
	a := &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, size)}, Flags: flags}
	if err := h.AddrAdd(eth, a); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s: %w", addr, err)
	}
	all := &net.IPNet{IP: make(net.IP, size/8), Mask: net.CIDRMask(0, size)}
	r := &netlink.Route{LinkIndex: eth.Attrs().Index, Dst: all, Gw: net.ParseIP(gateway)}
	if err := h.RouteAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add the default route by %s: %w", gateway, err)
	}
	return nil
}

// openOuter opens a packet socket on our end. It is the only thing that holds
// the namespace.
func openOuter(h *netlink.Handle) (_ link, err error) {
	// The kernel's own stack has nothing to say on our end. Should the file not
	// be writable, its router solicitations are noise and no harm.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+outerName+"/disable_ipv6", []byte("1"), 0)
	way, err := h.LinkByName(outerName)
	if err != nil {
		return link{}, fmt.Errorf("find our end: %w", err)
	}
	// Before bind, which would begin with the error that it is down.
	if err := h.LinkSetUp(way); err != nil {
		return link{}, fmt.Errorf("set up our end: %w", err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return link{}, fmt.Errorf("packet socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	// Before bind: each packet then comes with a header that says how it is to
	// be cut, so that 64 KiB cross at once, and checksums are left to nobody.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return link{}, fmt.Errorf("packet socket: %w", err)
	}
	for force, plain := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, packetBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, packetBuffer) // what the host permits
		}
	}
	const allProtocols = 0x0300 // ETH_P_ALL in network order
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: allProtocols, Ifindex: way.Attrs().Index}); err != nil {
		return link{}, fmt.Errorf("bind packet socket: %w", err)
	}
	return link{fd: fd, mac: way.Attrs().HardwareAddr, mtu: mtu}, nil
}

// plumbAs is plumb for a sandbox whose user namespace is not ours. A process
// with threads cannot enter one, and a Go program has threads from its start:
// nsenter enters and executes this program anew, which plumbs as root there and
// sends the socket back.
func plumbAs(owner, sandbox int) (link, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return link{}, fmt.Errorf("socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "link"), os.NewFile(uintptr(pair[1]), "link")
	defer ours.Close()
	defer theirs.Close()
	self, err := os.OpenFile("/proc/self/exe", unix.O_PATH, 0)
	if err != nil {
		return link{}, fmt.Errorf("open this program: %w", err)
	}
	defer self.Close()
	var files []*os.File
	for _, fd := range []int{sandbox, owner} {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return link{}, fmt.Errorf("duplicate a namespace: %w", err)
		}
		f := os.NewFile(uintptr(dup), "namespace")
		defer f.Close()
		files = append(files, f)
	}
	path, err := exec.LookPath("nsenter")
	if err != nil {
		return link{}, fmt.Errorf("nsenter is missing; install util-linux: %w", err)
	}
	cmd := exec.Command(path, "--user=/proc/self/fd/5", "/proc/self/fd/6", helperCommand)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{theirs, files[0], files[1], self} // 3, 4, 5, 6
	out, err := cmd.CombinedOutput()
	if err != nil {
		return link{}, fmt.Errorf("plumb in the sandbox's user namespace: %w %s", err, out)
	}
	theirs.Close() // or a helper that sent nothing would be waited for
	return receiveLink(pair[0])
}

// helperCommand is the argument that makes this program a helper of plumbAs.
const helperCommand = "plumb"

const (
	helperLinkFD  = 3
	helperNetNSFD = 4
)

// plumbHelper runs in the sandbox's user namespace.
func plumbHelper() error {
	l, err := plumb(helperNetNSFD)
	if err != nil {
		return err
	}
	b, err := json.Marshal(linkMessage{MAC: l.mac, MTU: l.mtu})
	if err != nil {
		return fmt.Errorf("encode the link: %w", err)
	}
	return unix.Sendmsg(helperLinkFD, b, unix.UnixRights(l.fd), nil, 0)
}

type linkMessage struct {
	MAC net.HardwareAddr
	MTU int
}

func receiveLink(fd int) (link, error) {
	buf := make([]byte, 512)
	n, fds, err := receiveRights(fd, buf)
	if err != nil {
		return link{}, fmt.Errorf("receive the link: %w", err)
	}
	if len(fds) != 1 {
		return link{}, fmt.Errorf("receive the link: %d descriptors came", len(fds))
	}
	var m linkMessage
	if err := json.Unmarshal(buf[:n], &m); err != nil {
		return link{}, fmt.Errorf("receive the link: %w", err)
	}
	return link{fd: fds[0], mac: m.MAC, mtu: m.MTU}, nil
}
