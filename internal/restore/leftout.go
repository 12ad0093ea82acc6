package restore

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"staithe/internal/files/filesapi"
	"staithe/internal/station"
	"staithe/internal/volume/capture"
)

// leftOut says of paths, from the home's top, whether snapshots leave them out by
// a rule: that they do not have it means nothing. The person's own rules are read
// anew, by the home's helper. What they are has to be known, or what was left out
// would go to the trash.
func (m *Manager) leftOut(ctx context.Context, j *job, helper *filesapi.Client) (func(path string) bool, error) {
	unknown := station.Errorf(station.ErrConflict, "rules_unknown",
		"What you left out of snapshots cannot be read in ~/%s, so an exact restore could move that to the trash; see that it is a file there, or restore without exact.", capture.Excludes)
	var rules []string
	res, err := helper.Do(ctx, filesapi.Request{Method: http.MethodGet, Path: filesapi.PathContent, Query: url.Values{"path": {capture.Excludes}}})
	switch {
	case err == nil:
		defer res.Body.Close()
		text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		if err != nil {
			return nil, unknown.Because(err)
		}
		rules = capture.ParseRules(string(text))
	case errors.Is(err, station.ErrUnavailable):
		return nil, err
	case !errors.Is(err, station.ErrNotFound):
		return nil, unknown.Because(err)
	}
	return func(path string) bool {
		path = strings.Trim(path, "/")
		return m.o.Server.LeftOut(j.ws, path) || slices.ContainsFunc(rules, func(r string) bool { return capture.Match(r, path) })
	}, nil
}
