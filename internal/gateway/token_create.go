package gateway

import (
	"context"
	"time"

	"staithe/internal/station"
)

type createTokenInput struct {
	Body struct {
		Name      string   `json:"name,omitempty" doc:"For you to know it by"`
		Scopes    []string `json:"scopes" doc:"* is all; sessions: manage sessions; terminal: open terminals; files: the files of the home"`
		ExpiresIn int64    `json:"expires_in,omitempty" minimum:"0" maximum:"315360000" doc:"Seconds; left out: never"`
	}
}

type newToken struct {
	station.APIToken
	Token string `json:"token" doc:"Shown this once; use it as Authorization: Bearer"`
}

func (g *Gateway) createToken(ctx context.Context, c caller, in *createTokenInput) (*output[newToken], error) {
	t, secret, err := g.auth.CreateToken(ctx, c.Principal, in.Body.Name, in.Body.Scopes, time.Duration(in.Body.ExpiresIn)*time.Second)
	return answer(newToken{t, secret.Reveal()}, err)
}
