package gateway

import (
	"context"
	"time"
)

type resetLink struct {
	Link      string    `json:"link" doc:"Give it to the person; it works once"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (g *Gateway) createResetLink(ctx context.Context, _ caller, in *UserRef) (*output[resetLink], error) {
	u, err := g.auth.User(ctx, in.User)
	if err != nil {
		return nil, err
	}
	link, err := g.auth.ResetLink(ctx, u)
	return answer(resetLink{g.inviteURL(&link), link.ExpiresAt}, err)
}
