// Package guest is the server inside a sandbox, its PID 1. It owns the
// session's tabs and outlives every gateway: doors connect to it through one
// listening socket that the host made, each request carrying an identity that
// the gateway signed for this session.
package guest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/terminal"
)

// closeGrace is how long a closed tab's processes have after SIGHUP.
const closeGrace = 5 * time.Second

// Options of a guest.
type Options struct {
	Config  guestapi.Config
	Spawner terminal.Spawner
	Version string
	Log     *slog.Logger
	// Shells is a folder for what shells read when they start, made if need be and
	// readable by the session's user; "": shells are started plainly.
	Shells string
}

// Guest is one session's server. All methods are safe for concurrent use.
type Guest struct {
	opt      Options
	verifier guestapi.Verifier
	http     *http.Server
	sampler  *sampler
	shells   shells
	wishes   wishes
	work     sync.WaitGroup // goroutines that end with their tab or connection

	mu    sync.Mutex
	tabs  []*tab // in order of creation
	conns map[*conn]struct{}
	over  bool
}

// New makes a guest; Serve runs it.
func New(opt Options) *Guest {
	g := &Guest{
		opt: opt, conns: map[*conn]struct{}{}, sampler: newSampler(opt.Config),
		verifier: guestapi.Verifier{Key: opt.Config.PublicKey, Session: opt.Config.Session},
	}
	if opt.Shells != "" {
		var err error
		if g.shells, err = putShells(opt.Shells); err != nil {
			opt.Log.Warn("shells are started plainly", "error", err)
		}
	}
	g.http = &http.Server{
		Handler:           g.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(opt.Log.Handler(), slog.LevelDebug),
	}
	return g
}

// Serve answers on l until Shutdown; it returns nil then.
func (g *Guest) Serve(l net.Listener) error {
	if err := g.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("guest: %w", err)
	}
	return nil
}

// Shutdown refuses new requests, ends every connection and every tab, and
// waits for them. Shells get SIGHUP, so that they and what they run can save
// what they must, and a while for it, at most until ctx ends.
func (g *Guest) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	g.over = true
	tabs, conns := g.tabs, g.conns
	g.tabs, g.conns = nil, map[*conn]struct{}{}
	g.mu.Unlock()
	for c := range conns {
		c.end(1001, "the session is ending")
	}
	for _, t := range tabs {
		if err := t.terminal().Hangup(); err != nil {
			g.opt.Log.Warn("hang up a tab", "tab", t.id, "error", err)
		}
	}
	err := g.http.Shutdown(ctx)
	grace, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	for _, t := range tabs {
		select {
		case <-t.terminal().Done():
		case <-grace.Done():
		}
	}
	for _, t := range tabs {
		t.terminal().Close()
	}
	g.work.Wait()
	return err
}

// health is what anybody who reaches the socket may know.
func (g *Guest) health() guestapi.Health {
	g.mu.Lock()
	defer g.mu.Unlock()
	return guestapi.Health{Session: g.opt.Config.Session, Version: g.opt.Version, Tabs: len(g.tabs), Clients: len(g.conns)}
}

// visible lists the tabs that an identity may see, oldest first.
func (g *Guest) visible(id guestapi.Identity) []*tab {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*tab, 0, len(g.tabs))
	for _, t := range g.tabs {
		if id.Tab == "" || id.Tab == t.id {
			out = append(out, t)
		}
	}
	return out
}

// find returns the tab with that id or name, if the identity may see it. The
// error wraps station.ErrNotFound.
func (g *Guest) find(id guestapi.Identity, ref string) (*tab, error) {
	tabs := g.visible(id)
	for _, t := range tabs {
		if string(t.id) == ref {
			return t, nil
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range tabs {
		if t.name == ref {
			return t, nil
		}
	}
	return nil, station.Errorf(station.ErrNotFound, "no_such_tab", "There is no such tab in this session; list its tabs and take one of them, or open a new one.")
}

// freeName returns name if it is usable and free, or a fresh one if it is "".
// The caller holds g.mu.
func (g *Guest) freeName(name string, self *tab) (string, error) {
	taken := func(n string) bool {
		return slices.ContainsFunc(g.tabs, func(t *tab) bool { return t != self && t.name == n })
	}
	if name == "" {
		name = "main"
		for i := 2; taken(name); i++ {
			name = fmt.Sprintf("sh-%d", i)
		}
		return name, nil
	}
	if err := station.CheckName("tab", name); err != nil {
		return "", err
	}
	if taken(name) {
		return "", station.Errorf(station.ErrConflict, "name_taken", "This session already has a tab named %s; choose another name.", name)
	}
	return name, nil
}

// broadcast tells every connection to look at something again.
func (g *Guest) broadcast(mark func(*conn)) {
	g.mu.Lock()
	conns := make([]*conn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	g.mu.Unlock()
	for _, c := range conns {
		mark(c)
	}
}

func (g *Guest) tabsChanged() { g.broadcast((*conn).markTabs) }

// stationTabs describes tabs for the HTTP door.
func stationTabs(tabs []*tab) []station.Tab {
	out := make([]station.Tab, len(tabs))
	for i, t := range tabs {
		out[i] = t.describe()
	}
	slices.SortStableFunc(out, func(a, b station.Tab) int { return cmp.Compare(a.CreatedAt.UnixNano(), b.CreatedAt.UnixNano()) })
	return out
}
