package backup

import (
	"context"
	"path"
	"strings"

	"staithe/internal/station"
	"staithe/internal/volume/jail"
	"staithe/internal/volume/restic"
)

// source is what a unit keeps.
type source interface {
	// prepare gets ready to be read.
	prepare(ctx context.Context) (prepared, error)
	// watch hears what changes.
	watch(ctx context.Context) (Changes, error)
	// wakes says whether the source has to be looked at when it is not watched.
	wakes() bool
	// rules are what is left out.
	rules() []rule
}

// prepared is a folder to read.
type prepared struct {
	folder   string
	excludes []string
	overlays []jail.Overlay
	left     []station.Left
	done     func()
}

// rule leaves something out.
type rule struct {
	pattern string // from the home's top; * and ? within a name
	why     string
}

// usual are the rules for every home. They are few: whoever wonders finds what is
// missing by reading three lines.
var usual = []rule{
	{".cache/*", "Programs make their caches again."},
	{".local/share/staithe/staging/*", "What is being uploaded or written has no name yet."},
}

// match says whether a path, or a folder that it is in, is left out.
func (r rule) match(p string) bool {
	parts := strings.Split(r.pattern, "/")
	names := strings.SplitN(p, "/", len(parts)+1)
	if len(names) < len(parts) {
		return false
	}
	for i, part := range parts {
		if ok, err := path.Match(part, names[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// counts says whether a change of a path is one that a snapshot would hold. What
// SQLite keeps beside a database while it is open is never in one.
func counts(p string, rules []rule) bool {
	if strings.HasSuffix(p, "-shm") {
		return false
	}
	for _, r := range rules {
		if r.match(p) {
			return false
		}
	}
	return true
}

func (u *unit) rules() []rule { return u.from.rules() }

// homeSource is a workstation's home.
type homeSource struct {
	engine *Engine
	ws     station.Workstation
}

func (h *homeSource) wakes() bool { return true }

func (h *homeSource) rules() []rule { return usual }

func (h *homeSource) watch(ctx context.Context) (Changes, error) {
	if h.engine.o.Watch == nil {
		return nil, errNotWatched
	}
	return h.engine.o.Watch(ctx, h.ws, h.engine.o.Home(h.ws))
}

func (h *homeSource) prepare(ctx context.Context) (prepared, error) {
	p := prepared{folder: h.engine.o.Home(h.ws), done: func() {}}
	for _, r := range h.rules() {
		p.excludes = append(p.excludes, restic.Top+"/"+r.pattern)
		p.left = append(p.left, station.Left{Rule: r.pattern, Why: r.why})
	}
	return p, nil
}

// serverSource is what the server itself keeps.
type serverSource struct {
	get func(ctx context.Context) (string, func(), error)
}

func (s *serverSource) wakes() bool   { return false }
func (s *serverSource) rules() []rule { return nil }

func (s *serverSource) watch(context.Context) (Changes, error) { return nil, errNotWatched }

func (s *serverSource) prepare(ctx context.Context) (prepared, error) {
	folder, done, err := s.get(ctx)
	return prepared{folder: folder, done: done}, err
}
