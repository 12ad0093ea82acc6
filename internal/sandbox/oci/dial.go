package oci

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"staithe/internal/sandbox/guestsock"
	"staithe/internal/station"
)

// Dial connects to the guest's socket. The error wraps station.ErrUnavailable
// when no guest listens.
func (r *Runtime) Dial(ctx context.Context, session station.ID) (net.Conn, error) {
	if !session.Valid() {
		return nil, noGuest(fmt.Errorf("bad session id %q", session))
	}
	dial, dir := guestsock.Dial, r.dir(session)
	if made := filepath.Join(dir, madeName); isDir(made) {
		dial, dir = guestsock.DialMade, made
	}
	conn, err := dial(ctx, dir)
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, noGuest(err)
}

func noGuest(cause error) error {
	return station.Errorf(station.ErrUnavailable, "no_guest", "The session has no running sandbox; wake it.").Because(cause)
}
