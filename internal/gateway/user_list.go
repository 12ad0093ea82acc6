package gateway

import (
	"context"

	"staithe/internal/station"
)

func (g *Gateway) listUsers(ctx context.Context, _ caller, _ *nothing) (*output[[]station.User], error) {
	return answer(g.auth.Users(ctx))
}
