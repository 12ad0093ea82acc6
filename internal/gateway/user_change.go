package gateway

import (
	"context"

	"staithe/internal/station"
)

// UserRef is the path of everything about a user.
type UserRef struct {
	User string `path:"user" maxLength:"64" doc:"The user's id or name"`
}

type changeUserInput struct {
	UserRef
	Body struct {
		Disabled *bool `json:"disabled,omitempty" doc:"Disabling ends everything the user has open"`
		Admin    *bool `json:"admin,omitempty"`
	}
}

func (g *Gateway) changeUser(ctx context.Context, _ caller, in *changeUserInput) (*output[station.User], error) {
	u, err := g.auth.User(ctx, in.User)
	if err != nil {
		return nil, err
	}
	return answer(g.auth.SetFlags(ctx, u.ID, in.Body.Disabled, in.Body.Admin))
}
