package station

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Class says what kind of sandbox a session gets. Classes come from the
// server's configuration; a session names one.
type Class struct {
	Name     string // as CheckName("class", …) has it
	Runtime  string // crun, runc, runsc, docker, podman, process; empty: the server's default
	Base     string // BaseHost, or the name of an imported image
	Limits   Limits // of one session
	Disk     int64  // bytes a user's home may hold; 0: no quota
	Sudo     bool   // the person may become root in the user namespace; needs an image
	Network  NetworkPolicy
	Idle     IdleRule
	Boundary string // what the boundary is, in plain words; filled in by the server
}

// BaseHost is the base file system that shows the host's /usr read-only.
const BaseHost = "host"

// Limits bound one sandbox. Zero means no limit of its own (the provider may
// still have one that protects the host).
type Limits struct {
	CPU       float64 // cores at most
	CPUWeight int     // share under contention, 1 to 10000 as in cgroup v2; 100 is usual
	Memory    int64   // bytes, with swap
	PIDs      int     // processes and threads
	Files     int     // open files of a process
	PTYs      int     // terminals of the sandbox
	Inotify   int     // inotify watches of the sandbox
	IOWeight  int     // share of the disk under contention, 1 to 10000; 100 is usual
	Scratch   int64   // bytes of each of /tmp and /var/tmp; not of an image session's writable layer, which has no bound of its own
}

// NetworkMode is how far a session reaches.
type NetworkMode string

const (
	NetworkNone      NetworkMode = "none"       // its own loopback
	NetworkInternet  NetworkMode = "internet"   // public addresses only
	NetworkAllowList NetworkMode = "allow-list" // the named hosts only
)

// NetworkPolicy is a class's network.
type NetworkPolicy struct {
	Mode NetworkMode
	// Allow, for NetworkAllowList, holds host names ("git.example.org",
	// "*.example.net" for those below), each with an optional ":port", and
	// addresses or CIDRs. For NetworkInternet it opens further addresses, which
	// may be private: an operator's own services; names are refused there.
	Allow []string
}

// IdleRule says when a session goes to sleep by itself. Zero durations: never.
type IdleRule struct {
	Freeze time.Duration // idle for so long: frozen, wakes in milliseconds with its shells
	Stop   time.Duration // asleep for so long: its sandbox ends; the next wake starts anew
}

// Check refuses what cannot be a class. Errors wrap ErrInvalid and name the
// field.
func (c Class) Check() error {
	bad := func(format string, args ...any) error {
		return Errorf(ErrInvalid, "bad_class", "Session class "+c.Name+": "+format, args...)
	}
	if err := CheckName("class", c.Name); err != nil {
		return err
	}
	l := c.Limits
	switch {
	case l.CPU < 0 || l.Memory < 0 || l.PIDs < 0 || l.Files < 0 || l.PTYs < 0 || l.Inotify < 0 || l.Scratch < 0 || c.Disk < 0:
		return bad("a limit cannot be negative; leave it out for none.")
	case l.CPUWeight < 0 || l.CPUWeight > 10000 || l.IOWeight < 0 || l.IOWeight > 10000:
		return bad("a weight is 1 to 10000.")
	case c.Sudo && (c.Base == "" || c.Base == BaseHost):
		return bad("sudo needs an image of its own: the host's programs are shared; set base to an imported image, or sudo to no.")
	case c.Idle.Freeze < 0 || c.Idle.Stop < 0:
		return bad("an idle time cannot be negative; 0 is never.")
	}
	switch c.Network.Mode {
	case NetworkNone, NetworkInternet, NetworkAllowList:
	default:
		return bad("network is none, internet or allow-list, not %+q.", c.Network.Mode)
	}
	for _, a := range c.Network.Allow {
		if err := checkAllow(a); err != nil {
			return bad("%v.", err)
		}
		// Who lists hosts means those alone, and would get all of the internet.
		if c.Network.Mode == NetworkInternet && isName(a) {
			return bad("allow has the host %+q, which counts with network = allow-list only; set that, or leave the host out: with internet it is reached anyway.", a)
		}
	}
	return nil
}

// isName says whether an entry that checkAllow takes is a host's name.
func isName(entry string) bool {
	_, noPrefix := netip.ParsePrefix(entry)
	_, noAddr := netip.ParseAddr(entry)
	_, noPort := netip.ParseAddrPort(entry)
	return noPrefix != nil && noAddr != nil && noPort != nil
}

// checkAllow takes what the session's network will take (egress/policy, whose
// test holds the two together).
func checkAllow(entry string) error {
	addr := func(a netip.Addr) error {
		if a.Is4In6() || a.Zone() != "" {
			return fmt.Errorf("allow has %+q; write an IPv4 address as such, and no address of one link", entry)
		}
		return nil
	}
	if p, err := netip.ParsePrefix(entry); err == nil {
		return addr(p.Addr())
	}
	if a, err := netip.ParseAddr(entry); err == nil {
		return addr(a)
	}
	if ap, err := netip.ParseAddrPort(entry); err == nil && ap.Port() != 0 {
		return addr(ap.Addr())
	}
	host, port, hasPort := strings.Cut(entry, ":")
	if hasPort {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("allow has %+q, whose port is not 1 to 65535", entry)
		}
	}
	if !hostName(strings.TrimPrefix(host, "*.")) {
		return fmt.Errorf("allow has %+q, which is no lower-case host name, *.name, address or CIDR", entry)
	}
	return nil
}

// hostName says whether s is a host's name in lower case, without the root's dot.
func hostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}
