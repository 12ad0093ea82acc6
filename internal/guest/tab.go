package guest

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/terminal"
	"staithe/internal/wire"
)

// tab is one shell and its terminal; a restart gives it another terminal.
type tab struct {
	g         *Guest
	id        station.ID
	opener    station.ID // the principal who opened it
	command   terminal.Command
	createdAt time.Time
	said      said
	restarts  sync.Mutex // one at a time

	// Guarded by g.mu.
	name    string
	term    *terminal.Terminal
	closing bool
}

func (t *tab) terminal() *terminal.Terminal {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	return t.term
}

// describe is the tab as others see it.
func (t *tab) describe() station.Tab {
	t.g.mu.Lock()
	name, term := t.name, t.term
	t.g.mu.Unlock()
	out := station.Tab{
		ID: t.id, Name: name, Title: t.said.Title(), Clients: len(term.Clients()),
		CreatedAt: t.createdAt.UTC().Truncate(time.Millisecond),
		ActiveAt:  term.ActiveAt().UTC().Truncate(time.Millisecond),
	}
	out.Cols, out.Rows = term.Size()
	if e, _, ended := term.Exit(); ended {
		out.Exited, out.ExitCode, out.Signal = true, e.Code, e.Signal
	} else {
		out.Process, out.Cwd = term.Process(), term.Cwd()
	}
	return out
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// open starts a new tab. Errors wrap station sentinels.
func (g *Guest) open(ctx context.Context, id guestapi.Identity, c guestapi.TabCreate) (*tab, error) {
	if !id.Role.Allows(station.RoleWriter) || id.Tab != "" {
		return nil, station.Errorf(station.ErrForbidden, "forbidden", "You may not open tabs in this session; ask its owner.")
	}
	if len(c.Env) > 0 && !id.Role.Allows(station.RoleOwner) {
		return nil, station.Errorf(station.ErrForbidden, "forbidden", "Only the session's owner may set a tab's environment; open it without env.")
	}
	command, err := g.command(c)
	if err != nil {
		return nil, err
	}
	t := &tab{g: g, id: station.NewID(), opener: id.User, command: command, createdAt: time.Now()}
	if err := g.admit(t, c.Name, nil); err != nil { // before a shell is started in vain
		return nil, err
	}
	term, err := g.start(ctx, t, command)
	if err != nil {
		return nil, err
	}
	if err := g.admit(t, c.Name, term); err != nil {
		term.Close()
		return nil, err
	}
	g.tabsChanged()
	return t, nil
}

// admit checks that there is room for a tab of that name and, once it has its
// terminal, lists it.
func (g *Guest) admit(t *tab, name string, term *terminal.Terminal) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return station.Errorf(station.ErrUnavailable, "ending", "The session is ending; wake it and try again.")
	}
	if len(g.tabs) >= station.MaxTabs {
		return station.Errorf(station.ErrLimited, "too_many_tabs", "A session has at most %d tabs; close one first.", station.MaxTabs)
	}
	name, err := g.freeName(name, nil)
	if err != nil || term == nil {
		return err
	}
	t.name, t.term = name, term
	g.tabs = append(slices.Clip(g.tabs), t)
	return nil
}

// command completes what was asked with the session's user, shell and
// environment.
func (g *Guest) command(c guestapi.TabCreate) (terminal.Command, error) {
	cfg := g.opt.Config
	if c.Cols == 0 && c.Rows == 0 {
		c.Cols, c.Rows = 80, 24
	}
	if wire.CheckSize(c.Cols, c.Rows) != nil {
		return terminal.Command{}, station.Errorf(station.ErrInvalid, "bad_size", "Columns and rows must be 1 to 4096.")
	}
	env := slices.Clone(cfg.Env)
	for k, v := range c.Env {
		if !envName.MatchString(k) || strings.ContainsRune(v, 0) {
			return terminal.Command{}, station.Errorf(station.ErrInvalid, "bad_env", "An environment name is letters, digits and _, and its value has no NUL.")
		}
		env = append(env, k+"="+v)
	}
	for _, s := range append([]string{c.Cwd}, c.Command...) {
		if strings.ContainsRune(s, 0) {
			return terminal.Command{}, station.Errorf(station.ErrInvalid, "bad_command", "A command and its folder hold no NUL.")
		}
	}
	argv := c.Command
	if len(argv) == 0 {
		argv, env = g.shells.start(g.shell(), env)
	}
	dir := c.Cwd
	if dir == "" {
		dir = cfg.Home
	}
	return terminal.Command{Argv: argv, Dir: dir, Env: env, Cols: c.Cols, Rows: c.Rows, UID: cfg.UID, GID: cfg.GID}, nil
}

// shell is the session's shell; an image may have only the plainest.
func (g *Guest) shell() string {
	if _, err := os.Stat(g.opt.Config.Shell); err != nil {
		return "/bin/sh"
	}
	return g.opt.Config.Shell
}

// start gives the tab a new terminal, which is not yet its own.
func (g *Guest) start(ctx context.Context, t *tab, command terminal.Command) (*terminal.Terminal, error) {
	return g.startAfter(ctx, t, command, nil)
}

// startAfter is start of a terminal whose output begins with what was before.
func (g *Guest) startAfter(ctx context.Context, t *tab, command terminal.Command, before []byte) (*terminal.Terminal, error) {
	var term *terminal.Terminal
	ready := make(chan struct{})
	term, err := terminal.Start(ctx, g.opt.Spawner, command, terminal.Options{
		Before:   before,
		OnEvent:  t.heard,
		OnChange: func() { g.broadcast(func(c *conn) { c.markPresence(t) }) },
		OnExit: func() {
			<-ready
			g.exited(t, term)
		},
	})
	close(ready)
	switch {
	case err == nil:
		return term, nil
	case errors.Is(err, os.ErrNotExist):
		return nil, station.Errorf(station.ErrInvalid, "no_such_command", "That command is not installed here; check its name.").Because(err)
	case errors.Is(err, os.ErrPermission):
		return nil, station.Errorf(station.ErrInvalid, "not_executable", "That command may not be executed; check its mode.").Because(err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		return nil, station.Errorf(station.ErrLimited, "no_room", "The session is at its limit of processes, memory or terminals; end something first.").Because(err)
	}
	return nil, station.Errorf(station.ErrUnavailable, "no_shell", "The shell could not be started: %v.", err).Because(err)
}

// exited runs once a tab's shell has ended by itself or was closed.
func (g *Guest) exited(t *tab, term *terminal.Terminal) {
	g.mu.Lock()
	if t.closing && t.term == term {
		g.remove(t)
	}
	g.mu.Unlock()
	g.tabsChanged()
}

// remove takes a tab off the list; the caller holds g.mu.
func (g *Guest) remove(t *tab) {
	if i := slices.Index(g.tabs, t); i >= 0 {
		g.tabs = slices.Concat(g.tabs[:i], g.tabs[i+1:])
	}
}

// close ends a tab: SIGHUP, SIGKILL after a while, then off the list.
func (g *Guest) close(id guestapi.Identity, t *tab) error {
	if !id.Role.Allows(station.RoleWriter) || !id.Role.Allows(station.RoleOwner) && t.opener != id.User {
		return station.Errorf(station.ErrForbidden, "forbidden", "You may close only the tabs you opened; ask the session's owner.")
	}
	g.mu.Lock()
	term := t.term
	again := t.closing
	t.closing = true
	_, _, ended := term.Exit()
	if ended {
		g.remove(t)
	}
	g.mu.Unlock()
	if ended {
		g.tabsChanged()
		return nil
	}
	if again {
		return nil
	}
	if err := term.Hangup(); err != nil {
		g.opt.Log.Warn("hang up a tab", "tab", t.id, "error", err)
	}
	g.work.Go(func() {
		timer := time.NewTimer(closeGrace)
		defer timer.Stop()
		select {
		case <-term.Done():
		case <-timer.C:
			// Close also lets go of a terminal that a background job, or a
			// client that reads nothing, keeps from ending.
			term.Close()
		}
	})
	return nil
}

// rename gives a tab another name.
func (g *Guest) rename(id guestapi.Identity, t *tab, name string) error {
	if !id.Role.Allows(station.RoleWriter) {
		return station.Errorf(station.ErrForbidden, "forbidden", "You are watching; ask the session's owner to rename the tab.")
	}
	if err := station.CheckName("tab", name); err != nil {
		return err
	}
	g.mu.Lock()
	name, err := g.freeName(name, t)
	if err == nil {
		t.name = name
	}
	g.mu.Unlock()
	if err != nil {
		return err
	}
	g.tabsChanged()
	return nil
}

// restart gives an ended tab a new shell. A running one is left as it is:
// somebody else may have restarted it a moment before.
func (g *Guest) restart(ctx context.Context, id guestapi.Identity, t *tab, cols, rows int) (restarted bool, err error) {
	if !id.Role.Allows(station.RoleWriter) {
		return false, station.Errorf(station.ErrForbidden, "forbidden", "You are watching; ask the session's owner for a new shell.")
	}
	// Of several who ask at once the first gets a shell; the others find it running.
	t.restarts.Lock()
	defer t.restarts.Unlock()
	if _, _, ended := t.terminal().Exit(); !ended {
		return false, nil
	}
	command := t.command
	command.Cols, command.Rows = cols, rows
	// Before the new shell says anything; the old one has said its last.
	t.said.forget()
	term, err := g.start(ctx, t, command)
	if err != nil {
		return false, err
	}
	g.mu.Lock()
	over := t.closing || g.over
	if !over {
		t.term = term
	}
	g.mu.Unlock()
	if over {
		term.Close()
		return false, nil
	}
	g.tabsChanged()
	return true, nil
}
