package gateway

import (
	"context"
	"time"

	"staithe/internal/auth"
)

type createUserInput struct {
	Body struct {
		Username string `json:"username" maxLength:"200"`
		Password string `json:"password,omitempty" doc:"Left out: the answer has an invite link"`
	}
}

type createdUser struct {
	Newcomer
	Invite          string     `json:"invite,omitempty" doc:"Give it to the person; it works once"`
	InviteExpiresAt *time.Time `json:"invite_expires_at,omitempty"`
}

// createUser makes an account. With a password it is complete; without, its
// home and first session come when the invite is accepted.
func (g *Gateway) createUser(ctx context.Context, _ caller, in *createUserInput) (*output[createdUser], error) {
	u, link, err := g.auth.CreateUser(ctx, in.Body.Username, auth.NewSecret(in.Body.Password))
	if err != nil {
		return nil, err
	}
	if link == nil {
		return answer(createdUser{Newcomer: g.welcome(ctx, u)}, nil)
	}
	return answer(createdUser{Newcomer: Newcomer{User: u}, Invite: g.inviteURL(link), InviteExpiresAt: &link.ExpiresAt}, nil)
}

// inviteURL carries the token in the fragment: it reaches no server log and no
// Referer.
func (g *Gateway) inviteURL(l *auth.Link) string { return g.Origin() + "/invite#" + l.Token.Reveal() }
