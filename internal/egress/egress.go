package egress

import (
	"time"

	"staithe/internal/station"
)

// The addresses of the link between a sandbox and its way out. Every session
// has the same ones: they are seen by nobody else. The IPv4 block is the one
// that RFC 7335 sets aside for a host and its own translator; it is routed
// nowhere. The IPv6 block is a local one (RFC 4193).
const (
	// Resolver is the address at which, inside a sandbox, our DNS answers. It
	// is the gateway of the default route, too.
	Resolver  = "192.0.0.1"
	Resolver6 = "fd73:7461:6974:6865::1"
	// Inside and Inside6 are the sandbox's own addresses.
	Inside  = "192.0.0.2"
	Inside6 = "fd73:7461:6974:6865::2"

	Bits  = 30  // of the IPv4 link
	Bits6 = 126 // of the IPv6 link

	// Interface is what the sandbox's interface is called inside.
	Interface = "eth0"
)

// Path is how a session's packets get out.
type Path string

const (
	// PathAuto is the kernel's path where it can be had, else userspace.
	PathAuto Path = "auto"
	// PathUserspace ends all packets in a stack of the way out's process.
	PathUserspace Path = "userspace"
	// PathKernel forwards them, past a packet filter. It is a report, not a wish.
	PathKernel Path = "kernel"
)

// Spec is all that one session's way out needs.
type Spec struct {
	Session station.ID
	Policy  station.NetworkPolicy
	NetNS   string // path of the sandbox's network namespace
	Owner   int    // a process in the user namespace that owns it; 0: the host's
	Until   int    // the process with whose end the way out ends; 0: Stop ends it
}

// Info is one way out that was found.
type Info struct {
	Session station.ID
	Running bool // false: something is left of it, nothing runs
	PID     int
}

// Status is what a way out has done.
type Status struct {
	Path        Path      // how its packets go
	In, Out     int64     // bytes that came in and went out; on the kernel's path with headers and DNS
	Connections int       // open now, TCP and UDP; on the kernel's path those lately closed too
	Refused     []Refusal // at most MaxRefusals, newest first
}

// MaxRefusals is how many different refusals a way out remembers.
const MaxRefusals = 200

// Refusal is one destination that the policy refused, newest first in a list.
type Refusal struct {
	Name    string    `json:"name"`    // as asked of our DNS; empty when only an address was used
	Address string    `json:"address"` // empty when the name was not resolved
	Port    int       `json:"port"`    // 0 for a name that was not resolved
	Network string    `json:"network"` // tcp, udp, icmp or dns
	Why     string    `json:"why"`     // a sentence
	Count   int       `json:"count"`
	Last    time.Time `json:"last"`
}

// Config is what a way out's process reads from its control socket, in JSON,
// before it does anything. The descriptors that it works on come with the first
// byte (SCM_RIGHTS, unix(7)): in this order a listening unix socket that answers
// with a Status, the sandbox's network namespace, and what Owner and Until say.
type Config struct {
	Session    station.ID
	Policy     station.NetworkPolicy
	ResolvConf string // the host's resolver configuration
	Path       Path   // auto or userspace
	Owner      bool   // there is a user namespace to work in
	Until      bool   // there is a pidfd of the process with whose end this one ends
}

// ControlFD is the control socket in a way out's process: the Config comes from
// there, one Ready goes back, and both ends close it.
const ControlFD = 0

// Ready is what a way out's process says once: empty when the sandbox has its
// network, else what failed.
type Ready struct {
	Failed string
	Path   Path   // how packets go
	Why    string // when they do not go by the kernel though they might: the reason
}
