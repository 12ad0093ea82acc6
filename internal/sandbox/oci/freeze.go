package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// freezeLimit bounds the wait until everything in a sandbox stands still. A
// process that waits for a disk does so until the disk answers.
const freezeLimit = 5 * time.Second

// Freeze takes the processor from a sandbox; see sandbox.Runtime.
func (r *Runtime) Freeze(ctx context.Context, session station.ID) error {
	return r.withRunning(ctx, session, func(sandbox.Info) error {
		f, ok := r.cgroups.freezer(session)
		if !ok {
			return sandbox.ErrNoFreeze
		}
		if err := f.set(ctx, true); err != nil {
			// Not half frozen: what cannot stop goes on.
			return errors.Join(fmt.Errorf("freeze sandbox %s: %w", session, err), f.set(context.WithoutCancel(ctx), false))
		}
		return nil
	})
}

// Thaw ends a freeze; see sandbox.Runtime.
func (r *Runtime) Thaw(ctx context.Context, session station.ID) error {
	return r.withRunning(ctx, session, func(sandbox.Info) error {
		f, ok := r.cgroups.freezer(session)
		if !ok {
			return nil // was never frozen
		}
		if err := f.set(ctx, false); err != nil {
			return fmt.Errorf("thaw sandbox %s: %w", session, err)
		}
		return nil
	})
}

// withRunning runs f while it holds the session's lock, if the sandbox runs.
func (r *Runtime) withRunning(ctx context.Context, session station.ID, f func(sandbox.Info) error) error {
	if !session.Valid() {
		return notRunning()
	}
	unlock, err := r.locks.Lock(ctx, session)
	if err != nil {
		return err
	}
	defer unlock()
	info, err := r.find(ctx, session)
	if err != nil {
		return err
	}
	if !info.Running {
		return notRunning()
	}
	return f(info)
}

func notRunning() error {
	return station.Errorf(station.ErrNotFound, "not_running", "The session has no running sandbox; wake it.")
}

// freezer is the switch of one sandbox's cgroup.
type freezer struct {
	file    string // is written to
	on, off string
	state   string // is read from
	frozen  string // how state says that all stand still
	settled string // how state says that the switch is off
}

// freezer finds the session's switch; ok is false where it has none.
func (c cgroups) freezer(session station.ID) (f freezer, ok bool) {
	if !c.have[ctlFreeze] {
		return f, false
	}
	dir := c.dir(ctlFreeze, session)
	if c.layout == cgroupV2 {
		f = freezer{file: dir + "/cgroup.freeze", on: "1", off: "0", state: dir + "/cgroup.events", frozen: "frozen 1", settled: "frozen 0"}
	} else {
		f = freezer{file: dir + "/freezer.state", on: "FROZEN", off: "THAWED", state: dir + "/freezer.state", frozen: "FROZEN", settled: "THAWED"}
	}
	return f, exists(f.file)
}

// isOn says whether the sandbox is frozen or just being frozen: a gateway may
// have died in the middle of it.
func (f freezer) isOn() bool {
	b, err := os.ReadFile(f.file)
	now := strings.TrimSpace(string(b))
	return err == nil && now != f.off
}

// set turns the switch and waits until the kernel is done. The kernel tells
// nobody when (v1), so that it is asked again and again, ever more slowly.
func (f freezer) set(ctx context.Context, on bool) error {
	word, want := f.off, f.settled
	if on {
		word, want = f.on, f.frozen
	}
	ctx, cancel := context.WithTimeout(ctx, freezeLimit)
	defer cancel()
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 20*time.Millisecond) {
		// Each time anew: on v1 a process made in the middle of a freeze can be
		// missed by it until then.
		if err := os.WriteFile(f.file, []byte(word), 0); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it ended; whoever looks next finds that
			}
			return err
		}
		b, err := os.ReadFile(f.state)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil || strings.Contains(string(b), want) {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("%s does not come to %q: %w", filepath.Base(f.state), want, ctx.Err())
		}
	}
}

// release thaws a sandbox so that it can take note of its being killed: on v1
// the frozen do not even die. That it cannot shows in the wait for the end.
func (r *Runtime) release(session station.ID) {
	if f, ok := r.cgroups.freezer(session); ok && f.isOn() {
		if err := os.WriteFile(f.file, []byte(f.off), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.log.Warn("cannot thaw a sandbox that is to end", "session", session, "err", err)
		}
	}
}
