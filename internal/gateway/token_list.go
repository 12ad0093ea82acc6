package gateway

import (
	"context"

	"staithe/internal/station"
)

func (g *Gateway) listTokens(ctx context.Context, c caller, _ *nothing) (*output[[]station.APIToken], error) {
	return answer(g.auth.Tokens(ctx, c.User.ID))
}
