package gateway

import (
	"context"

	"staithe/internal/auth"
	"staithe/internal/station"
)

type loginInput struct {
	Body struct {
		Username string `json:"username" maxLength:"1024"`
		Password string `json:"password"`
	}
}

type loginOutput struct {
	Cookies []string `header:"Set-Cookie"`
	Body    station.User
}

// login signs a browser in; the login it had before ends.
func (g *Gateway) login(ctx context.Context, c caller, in *loginInput) (*loginOutput, error) {
	login, err := g.auth.Login(ctx, in.Body.Username, auth.NewSecret(in.Body.Password), c.browser())
	g.metrics.login(err)
	if err != nil {
		return nil, err
	}
	return &loginOutput{c.signedIn(login), login.User}, nil
}
