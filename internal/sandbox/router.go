package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"staithe/internal/station"
)

// ErrUnknown says that a runtime which may hold a sandbox does not answer, so
// that nobody can say whether the sandbox is there. That is not the same as
// gone: what is unknown is to be left alone. Errors that wrap it wrap
// station.ErrUnavailable as well.
var ErrUnknown = errors.New("unknown whether there is a sandbox")

// Router is a Runtime made of several: a sandbox is started by the one its Spec
// names, and everything else goes to whichever has it. Safe for concurrent use.
//
// A runtime that does not answer (a daemon that is down) hides nothing of the
// others: see List, Find and Stop.
type Router struct {
	names     map[string]Runtime
	providers []provider // each Runtime once, in a stable order
	fallback  string

	mu    sync.Mutex
	owner map[station.ID]int // which of providers has a session; what is not in it is looked for
}

// provider is one Runtime and the names it goes by.
type provider struct {
	Runtime
	label string
}

// NewRouter returns a router over the named runtimes, of which the one named by
// fallback serves a Spec that names none. One Runtime may have several names; the
// empty one is for a default that chooses for itself.
func NewRouter(runtimes map[string]Runtime, fallback string) (*Router, error) {
	if runtimes[fallback] == nil {
		return nil, fmt.Errorf("sandbox: the default runtime %q is none of %v", fallback, slices.Sorted(maps.Keys(runtimes)))
	}
	r := &Router{names: maps.Clone(runtimes), fallback: fallback, owner: map[station.ID]int{}}
	for _, name := range slices.Sorted(maps.Keys(runtimes)) {
		i := slices.IndexFunc(r.providers, func(p provider) bool { return p.Runtime == runtimes[name] })
		if i < 0 {
			r.providers = append(r.providers, provider{runtimes[name], name})
			continue
		}
		r.providers[i].label = strings.TrimPrefix(r.providers[i].label+", "+name, ", ")
	}
	return r, nil
}

// Close closes the runtimes that hold something in this process. Sandboxes live
// on.
func (r *Router) Close() error {
	var errs []error
	for _, p := range r.providers {
		if c, ok := p.Runtime.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// Ready says whether the default runtime answers.
func (r *Router) Ready(ctx context.Context) error {
	_, err := r.names[r.fallback].List(ctx)
	return err
}

// named is the runtime of that name, and the name it was found under.
func (r *Router) named(name string) (Runtime, string, error) {
	if name == "" {
		name = r.fallback
	}
	if rt := r.names[name]; rt != nil {
		return rt, name, nil
	}
	return nil, name, station.Errorf(station.ErrUnavailable, "no_such_runtime",
		"This server is not set up to make sandboxes with %+q; take a session class of another runtime, or name it in the server's settings (there are: %s).",
		name, strings.TrimPrefix(strings.Join(slices.Sorted(maps.Keys(r.names)), ", "), ", "))
}

// Start makes a sandbox with the runtime that the spec names. The error wraps
// station.ErrUnavailable when it is not set up here.
func (r *Router) Start(ctx context.Context, spec Spec) error {
	rt, name, err := r.named(spec.Runtime)
	if err != nil {
		return err
	}
	spec.Runtime = name
	i := r.index(rt)
	// One that another runtime still has is used, as a running one of the same
	// would be. That one of them cannot say is no reason to start nothing.
	have, info, err := r.look(ctx, spec.Session)
	if err == nil && have >= 0 && have != i {
		if info.Running {
			return nil
		}
		if err := r.providers[have].Stop(ctx, spec.Session); err != nil {
			return fmt.Errorf("remove what another runtime left of the sandbox: %w", err)
		}
	} else if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	if err := rt.Start(ctx, spec); err != nil {
		r.forget(spec.Session)
		return err
	}
	r.remember(spec.Session, i)
	return nil
}

func (r *Router) index(rt Runtime) int {
	return slices.IndexFunc(r.providers, func(p provider) bool { return p.Runtime == rt })
}

func (r *Router) remember(session station.ID, i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owner[session] = i
}

func (r *Router) forget(session station.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owner, session)
}

func (r *Router) known(session station.ID) (int, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.owner[session]
	return i, ok
}

// look finds which runtime has a session; -1 when none has. The error wraps
// ErrUnknown when one of those that may have it does not answer.
func (r *Router) look(ctx context.Context, session station.ID) (int, Info, error) {
	if i, ok := r.known(session); ok {
		info, there, err := r.providers[i].Find(ctx, session)
		switch {
		case err != nil:
			return -1, info, r.unknown(ctx, i, err)
		case there:
			return i, info, nil
		}
		return -1, Info{}, nil // it was there, and nowhere else
	}
	var errs []error
	for i, p := range r.providers {
		info, there, err := p.Find(ctx, session)
		if err != nil {
			errs = append(errs, r.unknown(ctx, i, err))
			continue
		}
		if there {
			r.remember(session, i)
			return i, info, nil
		}
	}
	return -1, Info{}, errors.Join(errs...)
}

// unknown makes of a runtime's failure to answer what it means to the caller.
func (r *Router) unknown(ctx context.Context, i int, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	label := r.providers[i].label
	return station.Errorf(station.ErrUnavailable, "runtime_unreachable",
		"The server cannot reach what runs this session's sandbox (%s); once that runs again, so does the session.", label).
		Because(fmt.Errorf("%w: %s: %w", ErrUnknown, label, err))
}

// with calls f with the runtime that has the session; none is what to return
// when there is no such sandbox.
func (r *Router) with(ctx context.Context, session station.ID, none error, f func(Runtime) error) error {
	i, ok := r.known(session)
	if !ok {
		var err error
		if i, _, err = r.look(ctx, session); err != nil {
			return err
		}
		if i < 0 {
			return none
		}
	}
	return f(r.providers[i])
}

// Dial connects to the session's guest; see Runtime.
func (r *Router) Dial(ctx context.Context, session station.ID) (conn net.Conn, err error) {
	err = r.with(ctx, session, NoGuest(station.ErrUnavailable, nil), func(rt Runtime) error {
		conn, err = rt.Dial(ctx, session)
		return err
	})
	return conn, err
}

// Freeze freezes a sandbox; see Runtime.
func (r *Router) Freeze(ctx context.Context, session station.ID) error {
	return r.with(ctx, session, NoGuest(station.ErrNotFound, nil), func(rt Runtime) error { return rt.Freeze(ctx, session) })
}

// Thaw ends a freeze; see Runtime.
func (r *Router) Thaw(ctx context.Context, session station.ID) error {
	return r.with(ctx, session, nil, func(rt Runtime) error { return rt.Thaw(ctx, session) })
}

// Usage measures a sandbox; see Runtime.
func (r *Router) Usage(ctx context.Context, session station.ID) (u Usage, err error) {
	err = r.with(ctx, session, NoGuest(station.ErrNotFound, nil), func(rt Runtime) error {
		u, err = rt.Usage(ctx, session)
		return err
	})
	return u, err
}

// Stop ends the sandbox wherever it is: every runtime is asked, so that nothing
// is left. When the one that is known to have it has ended it, others that do
// not answer are no error; when none is known to, they are, wrapping ErrUnknown.
func (r *Router) Stop(ctx context.Context, session station.ID) error {
	owner, _, lookErr := r.look(ctx, session)
	if errors.Is(lookErr, context.Canceled) || errors.Is(lookErr, context.DeadlineExceeded) {
		return lookErr
	}
	if i, ok := r.known(session); ok {
		owner = i
	}
	var errs []error
	for i, p := range r.providers {
		err := p.Stop(ctx, session)
		switch {
		case err == nil:
		case i == owner, !errors.Is(err, station.ErrUnavailable):
			errs = append(errs, err)
		case owner < 0:
			errs = append(errs, r.unknown(ctx, i, err))
		}
	}
	if len(errs) == 0 {
		r.forget(session)
	}
	return errors.Join(errs...)
}

// List finds every sandbox of every runtime. When some do not answer, it
// returns what the others have and an error that wraps ErrUnknown: a session
// that is not in the list may then be there all the same; ask Find.
func (r *Router) List(ctx context.Context) ([]Info, error) {
	type answer struct {
		infos []Info
		err   error
	}
	answers := make([]answer, len(r.providers))
	var all sync.WaitGroup
	for i, p := range r.providers {
		all.Go(func() { answers[i].infos, answers[i].err = p.List(ctx) })
	}
	all.Wait()
	var out []Info
	var errs []error
	seen := map[station.ID]int{} // place in out
	for i, a := range answers {
		if a.err != nil {
			errs = append(errs, r.unknown(ctx, i, a.err))
		}
		for _, info := range a.infos {
			at, twice := seen[info.Session]
			if !twice {
				seen[info.Session] = len(out)
				out = append(out, info)
			} else if owner, ok := r.known(info.Session); ok && owner == i || info.Running && !out[at].Running {
				out[at] = info
			}
		}
	}
	return out, errors.Join(errs...)
}

// Find looks for one sandbox. The error wraps ErrUnknown when a runtime that
// may have it does not answer.
func (r *Router) Find(ctx context.Context, session station.ID) (Info, bool, error) {
	i, info, err := r.look(ctx, session)
	return info, i >= 0, err
}

// Describe says what the boundary of a class's sandboxes is.
func (r *Router) Describe(class station.Class) string {
	rt, name, err := r.named(class.Runtime)
	if err != nil {
		return fmt.Sprintf("This server is not set up to make sandboxes with %s: sessions of this class cannot start.", name)
	}
	class.Runtime = name
	return rt.Describe(class)
}
