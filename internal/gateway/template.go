package gateway

import (
	"context"
	"net/http"

	"staithe/internal/station"
)

// Templates says what became of what a user's home began with; the home is made
// where there is none, as by Files.
type Templates interface {
	Template(ctx context.Context, user station.ID) (station.HomeTemplate, error)
}

// templateRoutes are the operations on the home's template.
func (g *Gateway) templateRoutes(a api) {
	get(a, "/workstation/template", "home-template", "What became of the template that the home began with", homeFiles, g.homeTemplate,
		http.StatusNotFound, http.StatusInsufficientStorage)
}

func (g *Gateway) homeTemplate(ctx context.Context, c caller, _ *nothing) (*output[station.HomeTemplate], error) {
	if g.templates == nil {
		return answer(station.HomeTemplate{State: "none"}, nil)
	}
	return answer(g.templates.Template(ctx, c.User.ID))
}
