package gateway

import (
	"context"

	"staithe/internal/station"
)

type tokenRef struct {
	ID string `path:"id" maxLength:"64"`
}

// deleteToken revokes: what the token opened ends.
func (g *Gateway) deleteToken(ctx context.Context, c caller, in *tokenRef) (*nothing, error) {
	return &nothing{}, g.auth.DeleteToken(ctx, c.User.ID, station.ID(in.ID))
}
