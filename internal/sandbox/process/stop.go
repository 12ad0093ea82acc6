package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/hostproc"
	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// stopLimit bounds the end of a session's processes.
const stopLimit = 15 * time.Second

// stillEvery is how often it is looked whether all that was stopped stands still:
// each thread does so by itself, when it is its turn.
const stillEvery = time.Millisecond

func pause(ctx context.Context) error {
	t := time.NewTimer(stillEvery)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop ends everything of a session; see sandbox.Runtime.
func (r *Runtime) Stop(ctx context.Context, session station.ID) error {
	return sandbox.StopInTurn(ctx, &r.locks, session, func(context.Context) error { return r.destroy(session) })
}

// destroy ends a session's processes and removes its folder. Where there is no
// folder there was no session: then nothing is looked for.
func (r *Runtime) destroy(session station.ID) error {
	if _, err := os.Lstat(r.path(session)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	rec, _ := r.read(session) // without it, the marks are what is known
	deadline := time.Now().Add(stopLimit)
	for {
		found, err := tree(session, rec.Guest)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			break
		}
		// Stopped first: what is stopped starts nothing new meanwhile. Children
		// end before their parents, so that none is lost from sight as an orphan.
		for _, s := range found {
			signal(s.Process, unix.SIGSTOP)
		}
		for i := len(found) - 1; i >= 0; i-- {
			left := time.Until(deadline)
			if left <= 0 {
				return fmt.Errorf("%d processes do not end", i+1)
			}
			if err := found[i].Kill(left); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(r.path(session))
}

// signal sends a signal to a process if it still is the one that was noted. That
// it has ended is as good.
func signal(p hostproc.Process, sig unix.Signal) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if p.Alive() {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

// Freeze stops every process of a session with SIGSTOP; see sandbox.Runtime.
// What the person had stopped already stays so at the thaw.
func (r *Runtime) Freeze(ctx context.Context, session station.ID) error {
	unlock, rec, err := r.running(ctx, session)
	if err != nil {
		return err
	}
	defer unlock()
	if len(rec.Frozen) > 0 {
		return nil
	}
	stopped := map[hostproc.Process]bool{}
	for {
		found, err := tree(session, rec.Guest)
		if err != nil {
			return err
		}
		fresh := false
		// Parents first: a shell must not see its program stop, or it would take
		// the terminal back.
		for _, s := range found {
			if stopped[s.Process] || s.state == 'T' {
				continue
			}
			// Noted before it is done: a gateway that dies in between leaves a
			// session that can be thawed.
			rec.Frozen = append(rec.Frozen, s.Process)
			stopped[s.Process], fresh = true, true
		}
		if !fresh {
			if slices.ContainsFunc(found, func(s stat) bool { return stopped[s.Process] && !still(s.PID) }) && pause(ctx) == nil {
				continue
			}
			return ctx.Err()
		}
		if err := r.write(session, rec); err != nil {
			return err
		}
		for _, s := range found {
			if stopped[s.Process] {
				signal(s.Process, unix.SIGSTOP)
			}
		}
	}
}

// Thaw lets go on what Freeze stopped; see sandbox.Runtime.
func (r *Runtime) Thaw(ctx context.Context, session station.ID) error {
	unlock, rec, err := r.running(ctx, session)
	if errors.Is(err, station.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	for i := len(rec.Frozen) - 1; i >= 0; i-- { // children first, for the same reason
		signal(rec.Frozen[i], unix.SIGCONT)
	}
	if len(rec.Frozen) == 0 {
		return nil
	}
	rec.Frozen = nil
	return r.write(session, rec)
}

// running takes the session's lock and reads its record. The error wraps
// station.ErrNotFound when its guest does not run.
func (r *Runtime) running(ctx context.Context, session station.ID) (unlock func(), rec record, err error) {
	if !session.Valid() {
		return nil, rec, sandbox.NoGuest(station.ErrNotFound, fmt.Errorf("bad session id %q", session))
	}
	if unlock, err = r.locks.Lock(ctx, session); err != nil {
		return nil, rec, err
	}
	if rec, err = r.read(session); err == nil && rec.Guest.Alive() {
		return unlock, rec, nil
	}
	unlock()
	return nil, rec, sandbox.NoGuest(station.ErrNotFound, err)
}

// clockTicks is USER_HZ, which is 100 on every architecture that Go runs on.
const clockTicks = 100

// Usage adds up what the kernel says of each process; see sandbox.Runtime.
func (r *Runtime) Usage(_ context.Context, session station.ID) (sandbox.Usage, error) {
	none := sandbox.Usage{CPU: -1, Memory: -1, PIDs: -1, Read: -1, Write: -1, OOMKills: -1}
	if !session.Valid() {
		return none, sandbox.NoGuest(station.ErrNotFound, fmt.Errorf("bad session id %q", session))
	}
	rec, err := r.read(session)
	if err != nil || !rec.Guest.Alive() {
		return none, sandbox.NoGuest(station.ErrNotFound, err)
	}
	found, err := tree(session, rec.Guest)
	if err != nil {
		return none, err
	}
	u := sandbox.Usage{OOMKills: -1, LimitsHonest: "no limit but that of open files is enforced"}
	for _, s := range found {
		u.CPU += time.Duration(s.ticks) * time.Second / clockTicks
		u.PIDs += s.threads
		u.Memory += memory(s.PID)
		read, written := disk(s.PID)
		u.Read, u.Write = u.Read+read, u.Write+written
	}
	return u, nil
}
