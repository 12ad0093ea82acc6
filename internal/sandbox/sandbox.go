package sandbox

import (
	"context"
	"net"

	"staithe/internal/station"
)

// Spec is all a provider needs to make one sandbox.
type Spec struct {
	Session  station.ID // also the sandbox's name
	Hostname string     // inside
	UserName string     // the login name of uid 1000 inside
	Home     string     // host folder that is the home, mounted at HomeInside; must exist
	UIDRange int        // index of the user's host uid range (root gateways)
	Guest    string     // host path of the staithe-guest binary
	Config   string     // the guest's configuration, given in its environment (guestapi.ConfigEnv)
}

// Info is one sandbox that a provider found.
type Info struct {
	Session station.ID
	Running bool // false: something is left of it, nothing runs
	PID     int  // of the guest on the host, when running
}

// Runtime makes and ends sandboxes. All methods are safe for concurrent use;
// calls for one session are serialised by the provider. Every method is
// idempotent, and one that fails leaves nothing behind.
//
// A sandbox outlives the process that started it: a new Runtime over the same
// data directory finds it with List and reaches it with Dial.
type Runtime interface {
	// Start makes the sandbox and starts its guest, which inherits a listening
	// socket made by the host. It returns as soon as Dial can queue a
	// connection. Starting a running sandbox does nothing. Errors wrap
	// station.ErrUnavailable (no runtime, user namespaces forbidden, …) or
	// station.ErrNoSpace, with a sentence that says what to do.
	Start(ctx context.Context, spec Spec) error
	// Dial connects to the guest's socket. It never starts anything.
	// The error wraps station.ErrUnavailable when no guest listens.
	Dial(ctx context.Context, session station.ID) (net.Conn, error)
	// Stop kills everything in the sandbox and removes every trace of it from
	// the host but the home. Stopping what is not there is no error.
	Stop(ctx context.Context, session station.ID) error
	// List finds every sandbox, also half-made ones and those of an earlier
	// process. It waits for no Start or Stop under way: a sandbox that is just
	// being made or ended is shown as it is at that moment.
	List(ctx context.Context) ([]Info, error)
	// Find is List for one sandbox; there is false when nothing is left of it.
	Find(ctx context.Context, session station.ID) (info Info, there bool, err error)
	// Describe says in one sentence what the boundary is.
	Describe() string
}
