package backup

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"staithe/internal/volume/capture"
)

// A home with more databases than are covered: a copy comes with the covers of what
// lies beside its database or not at all, and how many do not is said.
func TestTooManyDatabases(t *testing.T) {
	var lines []capture.Line
	for i := range overlaysMax {
		lines = append(lines, capture.Line{Path: fmt.Append(nil, i, ".db"), Copy: fmt.Sprintf("%032x", i), Nano: int64(overlaysMax - i), Beside: []string{"-wal", "-shm"}})
	}
	var p prepared
	p.add(lines, "/copies")
	copies, covers := 0, map[string][]string{}
	for _, o := range p.overlays {
		path := string(o.To)
		if o.From != "" {
			copies++
		}
		for _, end := range sides {
			if db, ok := strings.CutSuffix(path, end); ok {
				path = db
			}
		}
		covers[path] = append(covers[path], string(o.To))
	}
	if len(p.overlays) > overlaysMax || len(p.overlays) < overlaysMax-2 {
		t.Errorf("%d overlays", len(p.overlays))
	}
	for db, list := range covers {
		if len(list) != 3 && !slices.ContainsFunc(p.excludes, func(e string) bool { return strings.HasSuffix(e, "/"+db+"-wal") }) {
			t.Errorf("of %s: %q", db, list)
		}
	}
	if len(p.excludes) != 3*excludedMax {
		t.Errorf("%d are left out by name", len(p.excludes))
	}
	at := slices.IndexFunc(lines, func(l capture.Line) bool { return covers[string(l.Path)] == nil })
	if len(p.left) != 1 || p.left[0].Files != int64(overlaysMax-copies) || !p.left[0].Failed || at < 0 {
		t.Errorf("%d copies, %+v, the first that is not covered is %d", copies, p.left, at)
	}
}
