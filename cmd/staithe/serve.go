package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"staithe/internal/auth"
	"staithe/internal/config"
	"staithe/internal/files/keeper"
	"staithe/internal/files/template"
	"staithe/internal/files/watch"
	"staithe/internal/fleet"
	"staithe/internal/gateway"
	"staithe/internal/image"
	"staithe/internal/restore"
	"staithe/internal/sandbox"
	"staithe/internal/station"
	"staithe/internal/store"
	"staithe/internal/volume"
	"staithe/internal/volume/backup"
	"staithe/web"
)

// configFlags adds the settings' flags to a command.
func configFlags(c *cobra.Command) *config.Loader {
	fs := flag.NewFlagSet("staithe", flag.ContinueOnError)
	l := config.Register(fs)
	c.Flags().AddGoFlagSet(fs)
	return l
}

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve workstations",
		Long: `Serve the page, the API and the sessions.

While there is no admin, it prints a single-use link to make one. Each flag has
an environment name: --listen is STAITHE_LISTEN. Sessions outlive the server:
stop it, start it again, and every shell is still there.`,
		Args: cobra.NoArgs,
	}
	loader := configFlags(c)
	show := c.Flags().Bool("print-config", false, "print the settings in force and exit")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loader.Load(os.Getenv)
		if err != nil {
			return err
		}
		if *show {
			return cfg.Print(cmd.OutOrStdout())
		}
		return serve(cmd.Context(), cfg, cmd.OutOrStdout(), newLog(cfg))
	}
	return c
}

func newLog(cfg config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// serve runs a server until ctx ends. It writes the setup and ready lines to
// out.
func serve(ctx context.Context, cfg config.Config, out io.Writer, log *slog.Logger) (err error) {
	if err := checkWhole(cfg.Data); err != nil {
		return err
	}
	data, err := openData(cfg.Data)
	if err != nil {
		return err
	}
	defer data.Close()
	// The port comes before anything else is made: a second start by mistake
	// must change nothing.
	ln, err := listen(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	p, err := assemble(ctx, cfg, data, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.gateway.Bind(ln.Addr()); err != nil {
		return err
	}
	if err := p.fleet.Recover(ctx); err != nil {
		return err
	}
	p.restores.Recover()
	if err := p.offerSetup(ctx, out); err != nil {
		return err
	}
	var work sync.WaitGroup
	running, stop := context.WithCancel(ctx)
	work.Go(func() { p.fleet.Run(running) })
	work.Go(func() { p.backups.Run(running) })
	work.Go(func() { p.copies.watch(running, p.backups.ServerChanged) })
	defer work.Wait()
	defer stop()
	fmt.Fprintf(out, "ready: %s/\n", p.gateway.Origin())
	return p.gateway.Serve(ctx, ln)
}

// listen opens the port. Of a server that was killed it may be open for a moment
// more, as its lock is held: see lockSoon.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	for end := time.Now().Add(lockPatience); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(end) && ctx.Err() == nil; {
		<-time.After(10 * time.Millisecond)
		ln, err = lc.Listen(ctx, "tcp", addr)
	}
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, station.Errorf(station.ErrConflict, "port_taken", "Something already listens on %s; stop it, or choose another port with --listen HOST:PORT.", addr).Because(err)
	case errors.Is(err, syscall.EACCES):
		return nil, station.Errorf(station.ErrForbidden, "port_forbidden", "This user may not listen on %s; take a port above 1023 with --listen HOST:PORT.", addr).Because(err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, station.Errorf(station.ErrInvalid, "no_such_address", "This machine does not have the address of %s; choose one of its own with --listen HOST:PORT.", addr).Because(err)
	}
	return nil, station.Errorf(station.ErrInvalid, "bad_listen", "Cannot listen on %s; give --listen HOST:PORT.", addr).Because(err)
}

// program is the parts of a server, wired.
type program struct {
	store    *store.Store
	auth     *auth.Auth
	runtime  *sandbox.Router
	files    *keeper.Keeper
	backups  *backup.Engine
	copies   *capture
	watch    *watch.Watcher
	fill     *templates
	endFill  context.CancelFunc
	restores *restore.Manager
	fleet    *fleet.Fleet
	gateway  *gateway.Gateway
}

func assemble(ctx context.Context, cfg config.Config, data *dataDir, log *slog.Logger) (p *program, err error) {
	p = &program{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	network, noWayOut, err := openNetwork(ctx, data.path, cfg.NetworkPath, log)
	if err != nil {
		return p, err
	}
	kinds, err := classes(cfg, noWayOut == nil)
	if err != nil {
		return p, err
	}
	warnUnisolated(log, kinds)
	if p.store, err = store.Open(ctx, data.path); err != nil {
		return p, err
	}
	signer, err := data.signer()
	if err != nil {
		return p, err
	}
	guestPath, err := installGuest(data.path)
	if err != nil {
		return p, err
	}
	images, err := image.Open(data.path, image.Options{InUse: inUseBy(data.path)})
	if err != nil {
		return p, err
	}
	volumes, err := volume.Open(data.path)
	if err != nil {
		return p, err
	}
	if p.runtime, err = newRuntime(ctx, cfg, data.path, log); err != nil {
		return p, err
	}
	if p.auth, err = auth.New(auth.Options{Store: p.store, Log: log}); err != nil {
		return p, err
	}
	instance, err := data.instance()
	if err != nil {
		return p, err
	}
	if p.files, err = openFiles(data.path, log); err != nil {
		return p, err
	}
	fill := &templates{source: cfg.HomeTemplate, dir: templatesIn(data.path), log: log}
	if err := template.Check(cfg.HomeTemplate); err != nil {
		return p, err
	}
	volumes.WithoutSkel(func(user station.ID) bool { return fill.of(user) != "" })
	p.fleet, err = fleet.New(fleet.Options{
		Store: p.store, Runtime: p.runtime, Volumes: volumes, Signer: signer, GuestPath: guestPath, Log: log,
		Data: data.path, Instance: instance, Classes: kinds, DefaultClass: cfg.DefaultClass, Reserve: cfg.DiskReserve,
		Network: network, Images: images, Files: p.files, HomeMade: fill.made,
	})
	if err != nil {
		return p, err
	}
	if p.watch, err = watch.Open(filepath.Join(data.path, "homes"), log); err != nil {
		return p, err
	}
	p.copies = &capture{data: data.path, store: p.store, images: images, log: log}
	if p.backups, err = openBackups(ctx, cfg, data.path, instance, p.copies, p.fleet, kinds, volumes, p.watch, log); err != nil {
		return p, err
	}
	served := &homeFiles{fleet: p.fleet, keeper: p.files, git: gitOf{data: data.path}, watch: p.watch}
	if p.restores, err = openRestores(data.path, served, p.backups, volumes, log); err != nil {
		return p, err
	}
	p.begin(ctx, fill, served)
	offered := &catalog{classes: kinds, def: cfg.DefaultClass, describe: p.runtime.Describe, check: classChecker(images, noWayOut)}
	p.gateway, err = gateway.New(gateway.Options{
		Classes: offered.list,
		Config:  cfg, Auth: p.auth, Fleet: p.fleet, Files: served, Log: log, Page: web.Dist(), Version: version,
		Backups: &homeBackups{p.fleet, p.backups}, Restores: p.restores, Templates: fill,
		Ready: []gateway.Check{
			{Name: "store", Ask: p.store.Ready},
			{Name: "runtime", Ask: p.runtime.Ready},
		},
	})
	return p, err
}

// engine is the runtime to use, "" for whichever is there.
func engine(cfg config.Config) string {
	if cfg.Runtime == "auto" {
		return ""
	}
	return cfg.Runtime
}

// offerSetup prints the setup link while there is no admin.
func (p *program) offerSetup(ctx context.Context, out io.Writer) error {
	needed, err := p.auth.SetupNeeded(ctx)
	if err != nil || !needed {
		return err
	}
	token, err := p.auth.NewSetupToken(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "setup: %s/setup#%s\n", p.gateway.Origin(), token.Reveal())
	return nil
}

func (p *program) close() error {
	var errs []error
	if p.fill != nil {
		p.endFill()
		p.fill.work.Wait()
	}
	if p.restores != nil {
		p.restores.Close()
	}
	if p.fleet != nil {
		p.fleet.Close()
	}
	if p.watch != nil {
		errs = append(errs, p.watch.Close())
	}
	if p.files != nil {
		p.files.Close()
	}
	if p.runtime != nil {
		errs = append(errs, p.runtime.Close())
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	return errors.Join(errs...)
}
