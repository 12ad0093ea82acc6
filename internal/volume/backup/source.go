package backup

import (
	"context"
	"strings"

	"staithe/internal/station"
	"staithe/internal/volume/capture"
	"staithe/internal/volume/jail"
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
	// beside says whether a path changes without that anything was written.
	beside(path string) bool
}

// prepared is a folder to read.
type prepared struct {
	folder   string
	excludes []string
	overlays []jail.Overlay
	byName   int // databases of which what is beside them is excluded
	left     []station.Left
	done     func()
}

// rule leaves something out.
type rule struct {
	pattern string // as capture.Match has it
	why     string
}

func (r rule) match(p string) bool { return capture.Match(r.pattern, p) }

// usual are the rules for every home. They are few: whoever wonders finds what is
// missing by reading three lines.
var usual = []rule{
	{".cache/*", "Programs make their caches again."},
	{".local/share/staithe/staging/*", "What is being uploaded or written has no name yet."},
}

// LeftOut says whether snapshots of a home leave a path (from its top) out by a
// rule of now.
func (e *Engine) LeftOut(ws station.Workstation, path string) bool {
	rules := usual
	if u, err := e.unit(ws); e.o.Off == "" && err == nil {
		rules = u.rules()
	}
	return strings.HasSuffix(path, "-shm") || !counts(path, rules)
}

// counts says whether a change of a path is one that a snapshot would hold.
func counts(p string, rules []rule) bool {
	for _, r := range rules {
		if r.match(p) {
			return false
		}
	}
	return true
}

func (u *unit) rules() []rule { return u.from.rules() }

// serverSource is what the server itself keeps.
type serverSource struct {
	get func(ctx context.Context) (string, func(), error)
}

func (s *serverSource) wakes() bool   { return false }
func (s *serverSource) rules() []rule { return nil }

func (s *serverSource) beside(string) bool { return false }

func (s *serverSource) watch(context.Context) (Changes, error) { return nil, errNotWatched }

func (s *serverSource) prepare(ctx context.Context) (prepared, error) {
	folder, done, err := s.get(ctx)
	return prepared{folder: folder, done: done}, err
}
