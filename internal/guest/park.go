package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/terminal"
	"staithe/internal/wire"
)

// mayEnd refuses who may not end or restore a whole session.
func mayEnd(id guestapi.Identity) error {
	if !id.Role.Allows(station.RoleOwner) || id.Tab != "" {
		return station.Errorf(station.ErrForbidden, "forbidden", "Only the session's owner may do this; ask them.")
	}
	return nil
}

// snapshot answers with what would be kept of the session, which runs on.
func (g *Guest) snapshot(w http.ResponseWriter, _ *http.Request, id guestapi.Identity) error {
	if err := mayEnd(id); err != nil {
		return err
	}
	g.mu.Lock()
	tabs := g.tabs
	g.mu.Unlock()
	parked, terms := inspect(tabs)
	answer(w, http.StatusOK, withOutput(parked, terms))
	return nil
}

// park ends everything politely and answers with what is kept of it.
func (g *Guest) park(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error {
	if err := mayEnd(id); err != nil {
		return err
	}
	// Before anything ends: a program's folder and name are there no longer then.
	g.mu.Lock()
	tabs := g.tabs
	g.mu.Unlock()
	parked, terms := inspect(tabs)
	g.wind(r.Context(), guestapi.ParkGrace)
	answer(w, http.StatusOK, withOutput(parked, terms))
	return nil
}

func (g *Guest) shutdown(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error {
	if err := mayEnd(id); err != nil {
		return err
	}
	g.wind(r.Context(), guestapi.ParkGrace)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// inspect describes the tabs. One whose program had ended is kept for what it
// showed: that may be what its person was waiting for.
func inspect(tabs []*tab) ([]guestapi.ParkedTab, []*terminal.Terminal) {
	var parked []guestapi.ParkedTab
	var terms []*terminal.Terminal
	for _, t := range tabs {
		d := t.describe()
		p := guestapi.ParkedTab{
			ID: t.id, Name: d.Name, Opener: t.opener, CreatedAt: t.createdAt, Cwd: d.Cwd, Cols: d.Cols, Rows: d.Rows, Ran: t.ran(d.Process),
		}
		if d.Exited {
			p.Cwd, p.Ran = t.command.Dir, t.ran(filepath.Base(t.g.shell()))
			if p.Ran != "" {
				p.Ran += " (it had ended)"
			}
		}
		parked = append(parked, p)
		terms = append(terms, t.terminal())
	}
	return parked, terms
}

// ran is what a tab ran other than its shell: the command it was opened with,
// or the program in the foreground.
func (t *tab) ran(process string) string {
	shell := t.g.shell()
	if argv := t.command.Argv; len(argv) > 0 && argv[0] != shell {
		return shorten(inert(strings.Join(argv, " ")), 200)
	}
	if process == filepath.Base(shell) {
		return ""
	}
	return inert(process)
}

// withOutput adds what the tabs showed, the first tabs first until there is no
// room.
func withOutput(tabs []guestapi.ParkedTab, terms []*terminal.Terminal) guestapi.Parked {
	room := guestapi.MaxParked
	for i := range tabs {
		tabs[i].Output = terms[i].Scrollback(min(guestapi.MaxParkedTab, room))
		room = max(0, room-len(tabs[i].Output))
	}
	return guestapi.Parked{Tabs: tabs}
}

// wind asks everything in the session to end and waits for it, at most for the
// grace. Doors get nothing from here on.
func (g *Guest) wind(ctx context.Context, grace time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	g.mu.Lock()
	g.over = true
	tabs := g.tabs
	conns := make([]*conn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	g.mu.Unlock()
	for _, c := range conns {
		c.end(wire.CloseGoingAway, "the session is ending")
	}
	for _, t := range tabs {
		if err := t.terminal().Hangup(); err != nil {
			g.opt.Log.Warn("hang up a tab", "tab", t.id, "error", err)
		}
	}
	g.terminateRest()
	for _, t := range tabs {
		select {
		case <-t.terminal().Done():
		case <-ctx.Done():
		}
	}
	g.awaitRest(ctx)
}

// terminateRest asks what no tab reaches to end, daemons and the like; only PID
// 1 of a sandbox may, or it would ask the whole machine (kill(2)).
func (g *Guest) terminateRest() {
	if os.Getpid() == 1 {
		unix.Kill(-1, unix.SIGTERM) // ESRCH: there is nothing
	}
}

// awaitRest waits until nothing but this process is left.
func (g *Guest) awaitRest(ctx context.Context) {
	if os.Getpid() != 1 {
		return
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for unix.Kill(-1, 0) == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// restore opens the tabs of an earlier guest again: the same ids, names, folders
// and sizes, what they showed, a line that says so, and a new shell.
func (g *Guest) restore(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error {
	if err := mayEnd(id); err != nil {
		return err
	}
	var in guestapi.Restore
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, guestapi.MaxParkedJSON)).Decode(&in); err != nil {
		return station.Errorf(station.ErrInvalid, "bad_body", "The parked tabs cannot be read; wake the session without them.").Because(err)
	}
	if len(in.Tabs) > station.MaxTabs {
		return station.Errorf(station.ErrLimited, "too_many_tabs", "A session has at most %d tabs.", station.MaxTabs)
	}
	for _, p := range in.Tabs {
		if err := g.reopen(r.Context(), p, in.Line); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Guest) reopen(ctx context.Context, p guestapi.ParkedTab, line string) error {
	taken := func(t *tab) bool { return t.id == p.ID }
	g.mu.Lock()
	again := slices.ContainsFunc(g.tabs, taken)
	g.mu.Unlock()
	if again {
		return nil // asked twice
	}
	if !p.ID.Valid() {
		return station.Errorf(station.ErrInvalid, "bad_tab", "A parked tab has no id.")
	}
	// A folder that is gone becomes the home (terminal.Command).
	command, err := g.command(guestapi.TabCreate{Cwd: p.Cwd, Cols: p.Cols, Rows: p.Rows})
	if err != nil {
		return err
	}
	t := &tab{g: g, id: p.ID, opener: p.Opener, command: command, createdAt: p.CreatedAt}
	term, err := g.startAfter(ctx, t, command, past(p, line))
	if err != nil {
		return err
	}
	if err := g.admit(t, p.Name, term); err != nil {
		term.Close()
		return err
	}
	g.tabsChanged()
	return nil
}

// past is what a restored terminal's output begins with.
func past(p guestapi.ParkedTab, line string) []byte {
	line = inert(line)
	if p.Ran != "" {
		line += " It ran: " + inert(p.Ran)
	}
	out := slices.Clip(p.Output[:min(len(p.Output), guestapi.MaxParkedTab+64)])
	// Whatever stood below the cursor is erased; the line is dim.
	return append(out, fmt.Sprintf("\x1b[0m\r\n\x1b[J\x1b[2m%s\x1b[0m\r\n", line)...)
}

// notice shows a sentence of the gateway's in every tab, and tells every client.
func (g *Guest) notice(w http.ResponseWriter, r *http.Request, id guestapi.Identity) error {
	if err := mayEnd(id); err != nil {
		return err
	}
	var n guestapi.Notice
	if err := decode(w, r, &n); err != nil {
		return err
	}
	text := shorten(inert(n.Text), maxSentence)
	if text == "" {
		return station.Errorf(station.ErrInvalid, "bad_notice", "A notice needs a text.")
	}
	for _, t := range g.visible(id) {
		t.terminal().Announce("[staithe] " + text)
	}
	g.broadcast(func(c *conn) { c.tell(&wire.Notify{Code: n.Code, Text: text}) })
	w.WriteHeader(http.StatusNoContent)
	return nil
}
