package gateway

import (
	"context"

	"staithe/internal/auth"
	"staithe/internal/station"
)

// me says who is signed in.
func (g *Gateway) me(_ context.Context, c caller, _ *nothing) (*output[station.User], error) {
	return answer(c.User, nil)
}

type changePasswordInput struct {
	Body struct {
		Current string `json:"current"`
		New     string `json:"new"`
	}
}

// changePassword ends the user's other logins, and every live connection.
func (g *Gateway) changePassword(ctx context.Context, c caller, in *changePasswordInput) (*nothing, error) {
	return &nothing{}, g.auth.ChangePassword(ctx, c.Principal, auth.NewSecret(in.Body.Current), auth.NewSecret(in.Body.New), c.address)
}
