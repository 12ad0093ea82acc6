package gateway

import (
	"context"
	"time"

	"staithe/internal/fleet"
	"staithe/internal/station"
)

// wakeSession goes on when the browser leaves; it is a person's act.
func (g *Gateway) wakeSession(ctx context.Context, c caller, in *SessionRef) (*output[station.Session], error) {
	return answer(g.fleet.Wake(context.WithoutCancel(ctx), c.User.ID, in.Session))
}

type sleepSessionInput struct {
	SessionRef
	Stop bool `query:"stop" doc:"End its sandbox now: the next wake starts new shells. Otherwise it is frozen where it can be, and wakes at once"`
}

func (g *Gateway) sleepSession(ctx context.Context, c caller, in *sleepSessionInput) (*output[station.Session], error) {
	return answer(g.fleet.Sleep(context.WithoutCancel(ctx), c.User.ID, in.Session, in.Stop))
}

type keepAwakeInput struct {
	SessionRef
	Body struct {
		Seconds int64 `json:"seconds" minimum:"0" maximum:"604800" doc:"From now; 0 ends it"`
	}
}

func (g *Gateway) keepAwake(ctx context.Context, c caller, in *keepAwakeInput) (*output[station.Session], error) {
	return answer(g.fleet.KeepAwake(ctx, c.User.ID, in.Session, time.Duration(in.Body.Seconds)*time.Second))
}

func (g *Gateway) dismissNotice(ctx context.Context, c caller, in *SessionRef) (*nothing, error) {
	return &nothing{}, g.fleet.DismissNotice(ctx, c.User.ID, in.Session)
}

func (g *Gateway) sessionNetwork(ctx context.Context, c caller, in *SessionRef) (*output[fleet.NetworkStatus], error) {
	return answer(g.fleet.NetworkStatus(ctx, c.User.ID, in.Session))
}
