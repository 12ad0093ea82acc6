package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"staithe/internal/keylock"
	"staithe/internal/station"
)

// What follows is the same in every provider whose sandboxes are on this host.

// NoGuest is the problem of a session whose guest does not run. It wraps kind;
// cause may be nil.
func NoGuest(kind, cause error) error {
	return station.Errorf(kind, "no_guest", "The session has no running sandbox; wake it.").Because(cause)
}

// DialGuest is Runtime.Dial by a way of connecting that knows nothing of
// sessions.
func DialGuest(ctx context.Context, session station.ID, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	if !session.Valid() {
		return nil, NoGuest(station.ErrUnavailable, fmt.Errorf("bad session id %q", session))
	}
	conn, err := dial(ctx)
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, NoGuest(station.ErrUnavailable, err)
}

// StopInTurn is Runtime.Stop: it waits for the session's turn and calls destroy,
// whose context ctx's end does not end.
func StopInTurn(ctx context.Context, turns *keylock.Locks[station.ID], session station.ID, destroy func(context.Context) error) error {
	if !session.Valid() {
		return nil // there can be none
	}
	unlock, err := turns.Lock(ctx, session)
	if err != nil {
		return err
	}
	defer unlock()
	// Half a removal is worse than a late one.
	if err := destroy(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("stop sandbox %s: %w", session, err)
	}
	return nil
}

// StartFailed is what Start returns of an error: a problem and the end of who
// asked as they are, anything else as what a person can do about it.
func StartFailed(err error) error {
	var p *station.Problem
	switch {
	case errors.Is(err, context.Canceled), errors.As(err, &p):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return station.Errorf(station.ErrNoSpace, "disk_full",
			"The server's disk is full; free some space in its data directory and try again.").Because(err)
	}
	return station.Errorf(station.ErrUnavailable, "sandbox_failed",
		"The session's sandbox could not be started; try again, and if it stays so, run staithe doctor on the server.").Because(err)
}
