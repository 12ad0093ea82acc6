package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"staithe/internal/egress"
	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Network makes and ends sessions' ways out. Every method is idempotent and
// safe for concurrent use.
type Network interface {
	// Start makes a session's way out; one that runs is left as it is.
	Start(ctx context.Context, spec egress.Spec) error
	// Stop ends it and removes what is left of it.
	Stop(ctx context.Context, session station.ID) error
	// List finds every way out, also those of an earlier process.
	List(ctx context.Context) ([]egress.Info, error)
	// Status says what one has done. The error wraps station.ErrNotFound when
	// none runs.
	Status(ctx context.Context, session station.ID) (egress.Status, error)
}

// NetworkStatus is a session's network as its person sees it.
type NetworkStatus struct {
	Mode    station.NetworkMode `json:"mode"`
	In      int64               `json:"in"`  // bytes that came in since it was woken
	Out     int64               `json:"out"` // bytes that went out
	Refused []egress.Refusal    `json:"refused"`
}

// NetworkStatus says how far a session reaches and what was refused of late.
func (f *Fleet) NetworkStatus(ctx context.Context, user station.ID, ref string) (NetworkStatus, error) {
	s, err := f.store.SessionByRef(ctx, user, ref)
	if err != nil {
		return NetworkStatus{}, err
	}
	out := NetworkStatus{Mode: station.NetworkNone, Refused: []egress.Refusal{}}
	c, ok := f.classes.find(s.Class)
	if !ok || !reaches(c) {
		return out, nil
	}
	out.Mode = c.Network.Mode
	if f.network == nil {
		return out, errNoNetwork(c)
	}
	st, err := f.network.Status(ctx, s.ID)
	if errors.Is(err, station.ErrNotFound) { // it sleeps
		return out, nil
	}
	out.In, out.Out = st.In, st.Out
	out.Refused = append(out.Refused, st.Refused...)
	return out, err
}

// reaches says whether a class's sessions have a way out at all. Those of the
// runtime that isolates nothing have the host's network: there is no other to
// make one for, and the host's must never be taken for a session's.
func reaches(c station.Class) bool {
	return c.Runtime != sandbox.Unisolated && c.Network.Mode != station.NetworkNone && c.Network.Mode != ""
}

func errNoNetwork(c station.Class) error {
	return station.Errorf(station.ErrUnavailable, "no_network",
		"The session's class %s wants a network, which this server does not have; ask the administrator.", c.Name)
}

// attach puts a class's network into a sandbox's specification.
func (f *Fleet) attach(spec *sandbox.Spec, c station.Class) error {
	if !reaches(c) {
		return nil
	}
	if f.network == nil {
		return errNoNetwork(c)
	}
	spec.Resolver = egress.Resolver
	spec.Attach = func(ctx context.Context, ns sandbox.NetNS) error {
		return f.network.Start(ctx, egress.Spec{Session: spec.Session, Policy: c.Network, NetNS: ns.Path, Owner: ns.PID, Until: ns.PID})
	}
	return nil
}

// beside lets a specification's network be attached while the start goes on. The
// function that it returns waits for that; call it whatever the start came to, and
// before anything is ended. A runtime that must have the network before its guest
// (it has no process yet) waits by itself.
func beside(ctx context.Context, spec *sandbox.Spec) (attached func() error) {
	attach := spec.Attach
	if attach == nil {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	done <- nil
	spec.Attach = func(start context.Context, ns sandbox.NetNS) error {
		if ns.PID == 0 {
			return attach(start, ns)
		}
		<-done
		// Not the start's context: that ends with it.
		go func() { done <- attach(ctx, ns) }()
		return nil
	}
	return func() error { return <-done }
}

// detach ends a session's way out.
func (f *Fleet) detach(ctx context.Context, id station.ID) error {
	if f.network == nil {
		return nil
	}
	if err := f.network.Stop(ctx, id); err != nil {
		return fmt.Errorf("end the session's network: %w", err)
	}
	return nil
}

const noticeNetwork = "network_restarted"

// reconnect ends ways out that no living sandbox has and starts anew those that
// are lost. live are the sandboxes there are, records the sessions.
func (f *Fleet) reconnect(ctx context.Context, live map[station.ID]sandbox.Info, records []station.Session) error {
	if f.network == nil {
		return nil
	}
	list, err := f.network.List(ctx)
	if err != nil {
		return fmt.Errorf("list the sessions' networks: %w", err)
	}
	have := map[station.ID]egress.Info{}
	for _, info := range list {
		have[info.Session] = info
	}
	var errs []error
	for _, s := range records {
		info, there := have[s.ID]
		delete(have, s.ID)
		c, ok := f.classes.find(s.Class)
		wanted := ok && reaches(c) && live[s.ID].Running
		if wanted != (there && info.Running) && f.holds(s.ID, 0) {
			errs = append(errs, f.reconnectOne(ctx, s.ID))
		}
	}
	for id := range have { // of no session, or of one that was made just now
		errs = append(errs, f.reconnectOne(ctx, id))
	}
	return errors.Join(errs...)
}

// reconnectOne looks again, with the session's turn taken, and mends.
func (f *Fleet) reconnectOne(ctx context.Context, id station.ID) error {
	ctx, end, err := f.begin(ctx, id)
	if err != nil {
		return err
	}
	defer end()
	err = f.lease(ctx, id)
	if errors.Is(err, station.ErrConflict) {
		return nil // another server's
	}
	var s station.Session
	if err == nil {
		s, err = f.store.Session(ctx, id)
	}
	if errors.Is(err, station.ErrNotFound) {
		return f.detach(ctx, id)
	}
	if err != nil {
		return err
	}
	box, _, err := f.runtime.Find(ctx, id)
	if err != nil {
		return err
	}
	c, ok := f.classes.find(s.Class)
	if !box.Running || !ok || !reaches(c) {
		return f.detach(ctx, id)
	}
	if _, err := f.network.Status(ctx, id); !errors.Is(err, station.ErrNotFound) {
		return err
	}
	f.log.Warn("a session's network had ended; starting it anew", "session", id)
	if err := f.detach(ctx, id); err != nil {
		return err
	}
	ns := fmt.Sprintf("/proc/%d/ns/net", box.PID)
	if err := f.network.Start(ctx, egress.Spec{Session: id, Policy: c.Network, NetNS: ns, Owner: box.PID, Until: box.PID}); err != nil {
		return err
	}
	if s.Notice.Code != "" { // what is said stays: a brake's is how it is known again
		return nil
	}
	return f.store.SetNotice(ctx, id, station.Notice{Code: noticeNetwork, At: f.stamp().Truncate(time.Second),
		Text: "The session's network had to be started anew; connections that were open are gone."})
}
