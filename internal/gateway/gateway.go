package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"staithe/internal/auth"
	"staithe/internal/config"
	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/fleet"
	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/volume"
	"staithe/internal/volume/git"
)

// Fleet is the part of a session's life that the door asks for; internal/fleet
// is one. Another user's session is station.ErrNotFound everywhere. ref is an
// id or the user's own name.
type Fleet interface {
	Create(ctx context.Context, user station.ID, name, class string) (station.Session, error)
	List(ctx context.Context, user station.ID) ([]station.Session, error)
	Get(ctx context.Context, user station.ID, ref string) (station.Session, error)
	Rename(ctx context.Context, user station.ID, ref, name string) (station.Session, error)
	Delete(ctx context.Context, user station.ID, ref string) error
	Wake(ctx context.Context, user station.ID, ref string) (station.Session, error)
	Sleep(ctx context.Context, user station.ID, ref string, stop bool) (station.Session, error)
	KeepAwake(ctx context.Context, user station.ID, ref string, d time.Duration) (station.Session, error)
	DismissNotice(ctx context.Context, user station.ID, ref string) error
	NetworkStatus(ctx context.Context, user station.ID, ref string) (fleet.NetworkStatus, error)
	Hold(session station.ID, what string) (release func())                   // it does not go to sleep by itself until then
	Guest(ctx context.Context, session station.ID) (*guestapi.Client, error) // never wakes
	Home(ctx context.Context, user station.ID) (station.Home, error)
	CreateHome(ctx context.Context, user station.ID) error
	RemoveUser(ctx context.Context, user station.ID) error
	OnEnd(func(session station.ID, deleted bool))
}

// Files reaches the files of homes, in their users' helpers: the gateway opens
// none itself.
type Files interface {
	// Helper is a client of a user's helper; the home is made where there is none.
	Helper(ctx context.Context, user station.ID) (*filesapi.Client, error)
	// Reserve sets room aside in a user's home, which must be there, before
	// anything is written; see volume.Volumes.Reserve.
	Reserve(ctx context.Context, user station.ID, bytes, files int64) (*volume.Reservation, error)
	// Git says what git does of the repository that a folder is in, given from the
	// home's top.
	Git(ctx context.Context, user station.ID, folder []byte) (git.Status, error)
	// Watch tells what changes below a folder; from its return on nothing is missed.
	Watch(ctx context.Context, user station.ID, below files.Path) (FileChanges, error)
}

// Check is one part that GET /readyz asks.
type Check struct {
	Name string
	Ask  func(context.Context) error
}

// Options is what New takes. Config, Auth, Fleet and Log must be given.
type Options struct {
	Config    config.Config
	Auth      *auth.Auth
	Fleet     Fleet
	Log       *slog.Logger
	Files     Files     // nil: no files are served
	Restores  Restores  // nil: nothing is restored
	Backups   Backups   // nil: nothing is kept
	Templates Templates // nil: no home has one
	Page      fs.FS     // the built page; nil or without index.html says that it is not built
	Ready     []Check   // for /readyz
	Version   string
	Classes   func(context.Context) []ClassState // the session classes, the default among them; nil: none are listed
	Registry  *prometheus.Registry               // default: a new one
}

// timing is when the gateway loses patience; tests shorten it.
type timing struct {
	ping  time.Duration // between pings to a client
	dead  time.Duration // nothing heard for so long: gone
	sweep time.Duration // between checks of all live credentials
	dial  time.Duration // for reaching a guest
	force time.Duration // for a client to answer a close frame
	body  time.Duration // for a whole request to come in
	stall time.Duration // for the next bytes of a body that may take long
	ready time.Duration // an answer about readiness is good for
}

var defaultTiming = timing{ping: 20 * time.Second, dead: 65 * time.Second, sweep: 2 * time.Second,
	dial: 10 * time.Second, force: 2 * time.Second, body: 30 * time.Second, stall: time.Minute, ready: time.Second}

// shutdownPatience is how long Serve waits for running requests at the end.
const shutdownPatience = 10 * time.Second

// Gateway is the door. Safe for concurrent use.
type Gateway struct {
	cfg       config.Config
	auth      *auth.Auth
	fleet     Fleet
	files     Files
	restores  Restores
	backups   Backups
	templates Templates
	log       *slog.Logger
	ready     []Check
	checked   readiness
	version   string
	classes   func(context.Context) []ClassState
	timing    timing
	metrics   *metrics
	live      *registry
	watches   counts                  // of files
	own       atomic.Pointer[origins] // known for certain once Serve listens
	handler   http.Handler
}

// New puts the door together; nothing listens yet.
func New(o Options) (*Gateway, error) {
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	g := &Gateway{cfg: o.Config, auth: o.Auth, fleet: o.Fleet, files: o.Files, restores: o.Restores, backups: o.Backups, templates: o.Templates, log: o.Log, ready: o.Ready, version: o.Version,
		classes: o.Classes, timing: defaultTiming, live: newRegistry()}
	if g.classes == nil {
		g.classes = func(context.Context) []ClassState { return nil }
	}
	var err error
	if g.metrics, err = newMetrics(o.Registry, g.live); err != nil {
		return nil, err
	}
	own, err := newOrigins(o.Config, nil)
	if err != nil {
		return nil, err
	}
	g.own.Store(own)
	if g.handler, err = g.routes(o.Page); err != nil {
		return nil, err
	}
	o.Auth.OnRevoke(g.live.revoke)
	o.Fleet.OnEnd(g.live.sessionEnded)
	return g, nil
}

// Handler is the door as a handler. Under a server other than Serve's, a
// stalled client is found only by that server's own deadlines.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Origin is where people reach the server: the public one, or the loopback
// address once Serve listens.
func (g *Gateway) Origin() string { return g.own.Load().public }

// Bind tells the gateway which address it will serve; Origin is right from then
// on. Serve does it too.
func (g *Gateway) Bind(addr net.Addr) error {
	own, err := newOrigins(g.cfg, addr)
	if err != nil {
		return err
	}
	g.own.Store(own)
	return nil
}

// Serve answers on ln until ctx ends; then new requests are refused, WebSockets
// are closed with 1001, running requests may end, and Serve returns nil. It
// closes ln.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener) error {
	if err := g.Bind(ln.Addr()); err != nil {
		return errors.Join(err, ln.Close())
	}
	server := &http.Server{
		Handler:           g.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       g.timing.body, // hijacked connections are free of it
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug), // a stranger's broken TLS is no news
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	sweeping, stopSweep := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSweep()
	wg.Go(func() { g.sweep(sweeping) })

	failed := make(chan error, 1)
	wg.Go(func() { failed <- server.Serve(watched{ln, g.timing.dead}) })
	select {
	case err := <-failed:
		g.live.shutdown()
		return fmt.Errorf("serve HTTP on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	return g.shutdown(context.WithoutCancel(ctx), server)
}

// shutdown refuses, closes, waits. http.Server.Shutdown knows nothing of
// hijacked connections: those are the registry's.
func (g *Gateway) shutdown(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownPatience)
	defer cancel()
	g.live.shutdown()
	err := server.Shutdown(ctx)
	if werr := g.live.wait(ctx); err == nil {
		err = werr
	}
	if err != nil {
		return errors.Join(fmt.Errorf("shut the HTTP server down: %w", err), server.Close())
	}
	return nil
}

// sweep asks for every live credential whether it is still good: another
// process (the CLI) may have revoked it.
func (g *Gateway) sweep(ctx context.Context) {
	tick := time.NewTicker(g.timing.sweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range g.live.credentials() {
			err := g.auth.Valid(ctx, c)
			if errors.Is(err, station.ErrUnauthenticated) {
				g.live.revoke(auth.Revocation{User: c.User, Credential: c.ID})
			} else if err != nil && ctx.Err() == nil {
				g.log.Warn("a live credential could not be checked", "credential", c.ID, "err", err)
			}
		}
	}
}
