package gateway

import (
	"context"
	"time"

	"staithe/internal/auth"
)

type logoutOutput struct {
	Cookie string `header:"Set-Cookie"`
}

// logout ends the browser's login; without one there is nothing to end.
func (g *Gateway) logout(ctx context.Context, c caller, _ *nothing) (*logoutOutput, error) {
	if err := g.auth.Logout(ctx, c.cookies[loginCookie]); err != nil {
		return nil, err
	}
	return &logoutOutput{c.cookie(loginCookie, auth.Secret{}, time.Time{})}, nil
}
