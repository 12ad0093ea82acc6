package gateway

import (
	"context"

	"staithe/internal/station"
)

func (g *Gateway) listTabs(ctx context.Context, c caller, in *SessionRef) (*output[[]station.Tab], error) {
	guest, err := g.open(ctx, c, in.Session)
	if err != nil {
		return nil, err
	}
	tabs, err := guest.Tabs(ctx, owner(c.User))
	if tabs == nil {
		tabs = []station.Tab{}
	}
	return answer(tabs[:min(len(tabs), station.MaxTabs)], fromGuest(err))
}
