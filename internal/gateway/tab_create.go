package gateway

import (
	"context"

	"staithe/internal/guestapi"
	"staithe/internal/station"
)

type createTabInput struct {
	SessionRef
	Body struct {
		Name    string            `json:"name,omitempty" maxLength:"64"`
		Cols    int               `json:"cols,omitempty" minimum:"1" maximum:"4096"`
		Rows    int               `json:"rows,omitempty" minimum:"1" maximum:"4096"`
		Cwd     string            `json:"cwd,omitempty" maxLength:"4096"`
		Command []string          `json:"command,omitempty" maxItems:"256" doc:"argv; left out: the login shell"`
		Env     map[string]string `json:"env,omitempty"`
	}
}

func (g *Gateway) createTab(ctx context.Context, c caller, in *createTabInput) (*output[station.Tab], error) {
	guest, err := g.open(ctx, c, in.Session)
	if err != nil {
		return nil, err
	}
	tab, err := guest.CreateTab(ctx, owner(c.User), guestapi.TabCreate(in.Body))
	return answer(tab, fromGuest(err))
}
