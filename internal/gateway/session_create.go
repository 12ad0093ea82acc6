package gateway

import (
	"context"

	"staithe/internal/station"
)

type createSessionInput struct {
	Body struct {
		Name  string `json:"name" maxLength:"200"`
		Class string `json:"class,omitempty" maxLength:"64"`
	}
}

// createSession goes on when the browser leaves: half a session helps nobody.
func (g *Gateway) createSession(ctx context.Context, c caller, in *createSessionInput) (*output[station.Session], error) {
	if err := station.CheckName("session", in.Body.Name); err != nil {
		return nil, err
	}
	return answer(g.fleet.Create(context.WithoutCancel(ctx), c.User.ID, in.Body.Name, in.Body.Class))
}
