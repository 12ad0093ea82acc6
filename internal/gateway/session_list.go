package gateway

import (
	"context"

	"staithe/internal/station"
)

func (g *Gateway) listSessions(ctx context.Context, c caller, _ *nothing) (*output[[]station.Session], error) {
	list, err := g.fleet.List(ctx, c.User.ID)
	if list == nil {
		list = []station.Session{}
	}
	return answer(list, err)
}

func (g *Gateway) getSession(ctx context.Context, c caller, in *SessionRef) (*output[station.Session], error) {
	return answer(g.fleet.Get(ctx, c.User.ID, in.Session))
}
