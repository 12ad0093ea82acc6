package gateway

import (
	"context"

	"staithe/internal/station"
)

// wakeSession goes on when the browser leaves; it is a person's act.
func (g *Gateway) wakeSession(ctx context.Context, c caller, in *SessionRef) (*output[station.Session], error) {
	return answer(g.fleet.Wake(context.WithoutCancel(ctx), c.User.ID, in.Session))
}

func (g *Gateway) sleepSession(ctx context.Context, c caller, in *SessionRef) (*output[station.Session], error) {
	return answer(g.fleet.Sleep(context.WithoutCancel(ctx), c.User.ID, in.Session))
}
