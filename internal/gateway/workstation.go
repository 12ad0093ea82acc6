package gateway

import (
	"context"

	"staithe/internal/station"
)

// workstation says what the caller's home holds.
func (g *Gateway) workstation(ctx context.Context, c caller, _ *nothing) (*output[station.Home], error) {
	return answer(g.fleet.Home(ctx, c.User.ID))
}
