package gateway

import (
	"context"

	"staithe/internal/station"
)

type renameSessionInput struct {
	SessionRef
	Body struct {
		Name string `json:"name" maxLength:"200"`
	}
}

func (g *Gateway) renameSession(ctx context.Context, c caller, in *renameSessionInput) (*output[station.Session], error) {
	if err := station.CheckName("session", in.Body.Name); err != nil {
		return nil, err
	}
	return answer(g.fleet.Rename(ctx, c.User.ID, in.Session, in.Body.Name))
}

func (g *Gateway) deleteSession(ctx context.Context, c caller, in *SessionRef) (*nothing, error) {
	return &nothing{}, g.fleet.Delete(context.WithoutCancel(ctx), c.User.ID, in.Session)
}
