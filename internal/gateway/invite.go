package gateway

import (
	"context"

	"staithe/internal/auth"
)

type acceptLinkInput struct {
	Body struct {
		Token    string `json:"token" maxLength:"200" doc:"What follows # in the link"`
		Password string `json:"password"`
	}
}

// acceptLink sets a password with an invite or reset link and signs in. Who
// was invited gets a first session.
func (g *Gateway) acceptLink(ctx context.Context, c caller, in *acceptLinkInput) (*newcomerOutput, error) {
	login, invited, err := g.auth.AcceptLink(ctx, auth.NewSecret(in.Body.Token), auth.NewSecret(in.Body.Password), c.browser())
	if err != nil {
		return nil, err
	}
	out := &newcomerOutput{c.signedIn(login), Newcomer{User: login.User}}
	if invited {
		out.Body = g.welcome(ctx, login.User)
	}
	return out, nil
}
