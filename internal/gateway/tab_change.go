package gateway

import (
	"context"

	"staithe/internal/station"
)

// TabRef is the path of everything about a tab.
type TabRef struct {
	SessionRef
	Tab string `path:"tab" maxLength:"64" doc:"The tab's id or name"`
}

type renameTabInput struct {
	TabRef
	Body struct {
		Name string `json:"name" maxLength:"64"`
	}
}

func (g *Gateway) renameTab(ctx context.Context, c caller, in *renameTabInput) (*output[station.Tab], error) {
	guest, err := g.open(ctx, c, in.Session)
	if err != nil {
		return nil, err
	}
	tab, err := guest.RenameTab(ctx, owner(c.User), in.Tab, in.Body.Name)
	return answer(tab, fromGuest(err))
}

func (g *Gateway) closeTab(ctx context.Context, c caller, in *TabRef) (*nothing, error) {
	guest, err := g.open(ctx, c, in.Session)
	if err != nil {
		return nil, err
	}
	return &nothing{}, fromGuest(guest.CloseTab(ctx, owner(c.User), in.Tab))
}
