package guest

import (
	"fmt"
	"image/color"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"staithe/internal/station"
	"staithe/internal/terminal"
	"staithe/internal/wire"
)

// saidEvery is how often of each kind a tab's program is passed on to clients. The
// last title is in the list of tabs all the same.
const saidEvery = 50 * time.Millisecond

// said is what a tab's program said of itself.
type said struct {
	mu      sync.Mutex
	title   string
	last    map[string]time.Time // when something of each kind was passed on last
	command int64                // the number of the last one
	running *terminal.CommandMark
}

// Title is what the program calls its window.
func (s *said) Title() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.title
}

// may says whether something of a kind is passed on now. The caller holds s.mu.
func (s *said) may(kind string, now time.Time) bool {
	if now.Sub(s.last[kind]) < saidEvery {
		return false
	}
	if s.last == nil {
		s.last = map[string]time.Time{}
	}
	s.last[kind] = now
	return true
}

// heard passes on what the tab's program said.
func (t *tab) heard(e terminal.Event) {
	m, news := t.said.message(t.id, e, time.Now())
	if news {
		t.g.tabsChanged()
	}
	if m == nil {
		return
	}
	t.g.broadcast(func(c *conn) {
		if c.id.Tab == "" || c.id.Tab == t.id {
			c.tell(m)
		}
	})
}

// message is an event as clients get it, nil for what they do not; news says that
// the list of tabs is another. All texts are made inert: programs choose them.
func (s *said) message(id station.ID, e terminal.Event, now time.Time) (m wire.ServerMessage, news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tab := string(id)
	switch {
	case e.Title != nil:
		if news = s.title != inert(*e.Title); !news {
			return nil, false
		}
		s.title = inert(*e.Title)
		if s.may("title", now) {
			m = &wire.Title{Tab: tab, Title: s.title}
		}
	case e.Cwd != "":
		if dir := directory(e.Cwd); dir != "" && s.may("cwd", now) {
			m = &wire.Cwd{Tab: tab, Cwd: dir}
		}
	case e.Bell:
		if s.may("bell", now) {
			m = &wire.Bell{Tab: tab}
		}
	case e.Notify != nil:
		if text := shorten(inert(e.Notify.Body), maxSentence); text != "" && s.may("notify", now) {
			m = &wire.Notify{Code: "program", Tab: tab, Title: shorten(inert(e.Notify.Title), maxSentence), Text: text}
		}
	case e.Command != nil:
		if c := s.mark(e.Command); c != nil && (c.Phase == "end" || s.may("command", now)) {
			c.Tab = tab
			m = c
		}
	}
	return m, news
}

// mark follows a shell's commands (OSC 133, FinalTerm's semantic prompts): C is
// where the output of one begins, D is its end, with the exit code if it is known.
func (s *said) mark(c *terminal.CommandMark) *wire.Command {
	switch {
	case c.Mark == 'C':
		s.command++
		s.running = c
		return &wire.Command{ID: s.command, Phase: "start", Offset: c.Offset, Line: commandLine(c.Rest)}
	case c.Mark == 'D' && s.running != nil:
		began := s.running
		s.running = nil
		out := &wire.Command{ID: s.command, Phase: "end", Offset: c.Offset, DurationMS: c.At.Sub(began.At).Milliseconds()}
		code, _, _ := strings.Cut(c.Rest, ";")
		if n, err := strconv.Atoi(code); err == nil {
			out.ExitCode = &n
		}
		return out
	}
	return nil
}

// commandLine is what a shell says it runs: cmdline_url=, percent-escaped, as
// kitty and fish have it.
func commandLine(rest string) string {
	for p := range strings.SplitSeq(rest, ";") {
		if v, ok := strings.CutPrefix(p, "cmdline_url="); ok {
			if line, err := url.PathUnescape(v); err == nil {
				return shorten(inert(strings.ReplaceAll(line, "\n", " ")), maxSentence)
			}
		}
	}
	return ""
}

// directory is the folder of OSC 7's file URI, "" for none. Whose machine it is
// the URI's host says, and is not looked at: over ssh it is another's.
func directory(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" || !strings.HasPrefix(u.Path, "/") {
		return ""
	}
	return shorten(inert(u.Path), maxSentence)
}

// lookOf is what a client draws with as the terminal takes it. What is no colour is
// as xterm.js has it.
func lookOf(l wire.Look) (look terminal.Look) {
	const largest = 1000 // pixels of a cell
	if len(l.CellPx) == 2 {
		look.CellWidth, look.CellHeight = min(max(l.CellPx[0], 0), largest), min(max(l.CellPx[1], 0), largest)
	}
	m := l.Theme
	if m == nil {
		return look
	}
	t := terminal.DefaultTheme()
	set := func(to *color.RGBA, text string) {
		var c color.RGBA
		if n, err := fmt.Sscanf(text, "#%02x%02x%02x", &c.R, &c.G, &c.B); err == nil && n == 3 && len(text) == 7 {
			c.A = 0xff
			*to = c
		}
	}
	set(&t.Foreground, m.Fg)
	set(&t.Background, m.Bg)
	set(&t.Cursor, m.Cursor)
	for i := range min(len(m.Palette), len(t.Palette)) {
		set(&t.Palette[i], m.Palette[i])
	}
	look.Theme = &t
	return look
}
