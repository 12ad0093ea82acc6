package watch

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"staithe/internal/files"
	"staithe/internal/rootlesstest"
	"staithe/internal/station"
)

// TestRootless runs all of this again in an account that is not root: what can be
// had there is inotify.
func TestRootless(t *testing.T) {
	if passed := rootlesstest.Run(t, rootlesstest.Again{Run: "^(Test[^R].*|TestR[^o].*)$"}); passed < 8 {
		t.Errorf("%d tests passed", passed)
	}
}

// sources are the ways in which a home is watched.
var sources = []string{"fanotify", "fanotify before 5.17", "inotify", "looks"}

// yard is a watched home in a folder of homes.
type yard struct {
	*Watcher
	t     *testing.T
	homes string
	home  string
}

const ws = station.ID("aaaaaaaaaaaaaaaa")

func newYard(t *testing.T, source string) *yard {
	t.Helper()
	y := &yard{t: t, homes: filepath.Join(t.TempDir(), "homes")}
	y.home = filepath.Join(y.homes, string(ws))
	if err := os.MkdirAll(y.home, 0o755); err != nil {
		t.Fatal(err)
	}
	y.Watcher = &Watcher{log: slog.New(slog.DiscardHandler), homes: map[string]*home{}}
	switch source {
	case "looks":
		y.watches, y.often = -1, 100*time.Millisecond
	case "inotify":
	default:
		fan, err := openFanotify(y.Watcher, y.homes, source != "fanotify")
		if err != nil {
			if os.Geteuid() == 0 {
				t.Skipf("fanotify cannot be had here, and is not tested: %v", err)
			}
			t.Skipf("fanotify is for root: %v", err)
		}
		if source == "fanotify" && fan.old {
			t.Log("this kernel is one before 5.17")
		}
		y.fan = fan
	}
	t.Cleanup(func() { y.Close() })
	return y
}

// everySource runs a test with each source.
func everySource(t *testing.T, f func(*testing.T, *yard, string)) {
	for _, s := range sources {
		t.Run(s, func(t *testing.T) { f(t, newYard(t, s), s) })
	}
}

func (y *yard) at(p string) string { return filepath.Join(y.home, p) }

// must fails when what a shell would do failed.
func (y *yard) must(errs ...error) {
	y.t.Helper()
	for _, err := range errs {
		if err != nil {
			y.t.Fatal(err)
		}
	}
}

func (y *yard) write(p, content string) {
	y.t.Helper()
	y.must(os.WriteFile(y.at(p), []byte(content), 0o644))
}

func (y *yard) mkdir(p string) {
	y.t.Helper()
	y.must(os.MkdirAll(y.at(p), 0o755))
}

func (y *yard) stream(below files.Path) *Stream {
	y.t.Helper()
	s, err := y.Watch(y.t.Context(), ws, y.home, below)
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(s.Close)
	return s
}

// until collects events up to the one that makes end, which the caller writes
// last; at most for a minute.
func (y *yard) until(s *Stream, end files.Path) (all []Event) {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.t.Context(), time.Minute)
	defer cancel()
	for seq := uint64(0); ; {
		b, err := s.Next(ctx)
		if err != nil {
			y.t.Fatalf("%v; until then: %v", err, all)
		}
		if seq > 0 && b.Seq != seq+1 {
			y.t.Errorf("batch %d follows %d", b.Seq, seq)
		}
		seq = b.Seq
		if b.Overflow {
			y.t.Fatal("overflow")
		}
		ended := false
		for _, e := range b.Events {
			if ended = ended || e.Path == end; e.Path != end {
				all = append(all, e)
			}
		}
		if ended {
			return all
		}
	}
}

// told are events as text.
func told(events []Event) []string {
	var out []string
	for _, e := range events {
		s := e.Change + " " + e.Path.String()
		if e.Change == Move {
			s = "move " + e.From.String() + " to " + e.Path.String()
		}
		out = append(out, s)
	}
	return out
}

// mirror is what a client knows of a home by its events: it lists a folder when
// it is told of a new one.
type mirror struct {
	home  string
	paths map[files.Path]bool
	kids  map[files.Path]map[files.Path]bool // by folder
	lists int
}

func newMirror(home string) *mirror {
	m := &mirror{home: home}
	m.anew()
	return m
}

func (m *mirror) anew() {
	m.paths, m.kids = map[files.Path]bool{}, map[files.Path]map[files.Path]bool{}
	m.list(".")
}

func (m *mirror) add(p files.Path) {
	m.paths[p] = true
	up := files.Path(filepath.Dir(string(p)))
	if m.kids[up] == nil {
		m.kids[up] = map[files.Path]bool{}
	}
	m.kids[up][p] = true
}

func (m *mirror) list(p files.Path) {
	m.lists++
	top := filepath.Join(m.home, string(p))
	_ = filepath.WalkDir(top, func(at string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(m.home, at)
		if rerr == nil && err == nil && rel != "." {
			m.add(files.Path(rel))
		}
		return nil // what is gone is told
	})
}

func (m *mirror) remove(p files.Path) {
	delete(m.paths, p)
	delete(m.kids[files.Path(filepath.Dir(string(p)))], p)
	kids := m.kids[p]
	delete(m.kids, p)
	for q := range kids {
		m.remove(q)
	}
}

func (m *mirror) apply(b Batch) {
	if b.Overflow {
		m.anew()
		return
	}
	for _, e := range b.Events {
		switch e.Change {
		case Delete:
			m.remove(e.Path)
		case Move:
			m.remove(e.From)
			fallthrough
		case Create, Modify:
			m.remove(e.Path)
			m.list(e.Path)
		}
	}
}

// follow applies batches until the one that has end; with late until the mirror
// is as the disk.
func (m *mirror) follow(t *testing.T, s *Stream, end files.Path, late bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err, m.differs())
		}
		m.apply(b)
		if m.paths[end] && (!late || m.differs() == "") {
			break
		}
	}
}

// differs says how a mirror differs from the disk.
func (m *mirror) differs() string {
	now := newMirror(m.home)
	var out []string
	for p := range now.paths {
		if !m.paths[p] {
			out = append(out, "missed "+p.String())
		}
	}
	for p := range m.paths {
		if !now.paths[p] {
			out = append(out, "gone "+p.String())
		}
	}
	if len(out) == 0 {
		return ""
	}
	return fmt.Sprintf("%d: %s", len(out), strings.Join(out[:min(len(out), 10)], ", "))
}
