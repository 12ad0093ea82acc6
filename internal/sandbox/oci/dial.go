package oci

import (
	"context"
	"net"
	"path/filepath"

	"staithe/internal/sandbox"
	"staithe/internal/sandbox/guestsock"
	"staithe/internal/station"
)

// Dial connects to the guest's socket; see sandbox.Runtime.
func (r *Runtime) Dial(ctx context.Context, session station.ID) (net.Conn, error) {
	return sandbox.DialGuest(ctx, session, func(ctx context.Context) (net.Conn, error) {
		dir := r.dir(session)
		if made := filepath.Join(dir, madeName); isDir(made) {
			return guestsock.DialMade(ctx, made)
		}
		return guestsock.Dial(ctx, dir)
	})
}
