package sandbox

import (
	"context"
	"net"
	"time"

	"staithe/internal/station"
)

// Spec is all a provider needs to make one sandbox.
type Spec struct {
	Session  station.ID // also the sandbox's name
	Hostname string     // inside
	UserName string     // the login name of uid 1000 inside
	Home     string     // host folder that is the home, mounted at /home/UserName; must exist
	UIDRange int        // index of the user's host uid range (root gateways)
	Guest    string     // host path of the staithe-guest binary
	Config   string     // the guest's configuration, given in its environment (guestapi.ConfigEnv)

	Runtime string         // crun, runc, runsc, docker, podman, process; empty: the default
	Base    string         // host path of an image's root file system; empty: the host's /usr
	Sudo    bool           // the person may become root inside; only with Base
	Limits  station.Limits // zero fields: the provider's own
	// Resolver is the address of the name server for the sandbox's
	// /etc/resolv.conf; empty: none.
	Resolver string
	// Attach, when set, is called once with the sandbox's network namespace, as
	// soon as that exists: for most runtimes beside the guest's start, for one
	// that reads its interfaces at its own start (runsc) before it. When it
	// fails, Start fails and leaves nothing.
	Attach func(ctx context.Context, ns NetNS) error `json:"-"`
}

// NetNS names a sandbox's network namespace on the host.
type NetNS struct {
	Path string // /proc/PID/ns/net or a mount of it; opened by who attaches
	// PID is a process whose user namespace owns the network namespace; 0 when
	// that is the host's.
	PID int
}

// Info is one sandbox that a provider found.
type Info struct {
	Session station.ID
	Runtime string // crun, runc, runsc, docker, podman, process
	Running bool   // false: something is left of it, nothing runs
	Frozen  bool   // running, but gets no processor
	PID     int    // of the guest on the host, when running
}

// Usage is what a sandbox has used and uses. What a provider cannot know is -1.
type Usage struct {
	CPU          time.Duration // since its start
	Memory       int64         // bytes now, without the page cache that can go
	PIDs         int           // now
	Read, Write  int64         // bytes from and to disks, since its start
	OOMKills     int64         // processes that the kernel ended for want of memory, since its start
	LastOOMKill  string        // what the last one was, "python3 (pid 412)", where it can be known
	LimitsHonest string        // what of the asked limits is not enforced here, in words; empty: nothing
}

// Runtime makes and ends sandboxes. All methods are safe for concurrent use;
// calls for one session are serialised by the provider. Every method is
// idempotent, and one that fails leaves nothing behind.
//
// A sandbox outlives the process that started it: a new Runtime over the same
// data directory finds it with List and reaches it with Dial. Nothing outside
// a provider knows how a guest is reached: by a socket's path, an inherited
// descriptor, or an address with a credential of the provider's.
type Runtime interface {
	// Start makes the sandbox and starts its guest, which inherits a listening
	// socket made by the host. It returns as soon as Dial can queue a
	// connection. Starting a running sandbox does nothing. Errors wrap
	// station.ErrUnavailable (no runtime, user namespaces forbidden, …) or
	// station.ErrNoSpace, with a sentence that says what to do.
	Start(ctx context.Context, spec Spec) error
	// Dial connects to the guest's socket. It never starts or thaws anything.
	// The error wraps station.ErrUnavailable when no guest listens.
	Dial(ctx context.Context, session station.ID) (net.Conn, error)
	// Freeze takes the processor from everything in a running sandbox; memory
	// and connections stay. Freezing a frozen one does nothing. The error wraps
	// ErrNoFreeze where the host cannot, station.ErrNotFound when none runs.
	Freeze(ctx context.Context, session station.ID) error
	// Thaw ends a freeze. Thawing one that is not frozen does nothing.
	Thaw(ctx context.Context, session station.ID) error
	// Usage measures a running or frozen sandbox. The error wraps
	// station.ErrNotFound when none runs.
	Usage(ctx context.Context, session station.ID) (Usage, error)
	// Stop kills everything in the sandbox, frozen or not, and removes every
	// trace of it from the host but the home. Stopping what is not there is no
	// error.
	Stop(ctx context.Context, session station.ID) error
	// List finds every sandbox, also half-made ones and those of an earlier
	// process. It waits for no Start or Stop under way: a sandbox that is just
	// being made or ended is shown as it is at that moment. With an error that
	// wraps ErrUnknown the list is good as far as it goes: what is not in it may
	// be there all the same.
	List(ctx context.Context) ([]Info, error)
	// Find is List for one sandbox; there is false when nothing is left of it. An
	// error that wraps ErrUnknown says that this cannot be told now.
	Find(ctx context.Context, session station.ID) (info Info, there bool, err error)
	// Describe says in plain words what the boundary of a class's sandboxes is.
	Describe(class station.Class) string
}

// Unisolated is the name of the runtime that isolates nothing.
const Unisolated = "process"

// ErrNoFreeze says that a provider cannot freeze here; the session can only be
// stopped.
var ErrNoFreeze = station.Errorf(station.ErrUnavailable, "no_freeze",
	"Sessions cannot be frozen on this server; they are stopped instead.")
