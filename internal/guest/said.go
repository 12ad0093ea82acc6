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

// saidBurst is how much of each kind a tab's program is passed on to clients at
// once, and saidEvery how often after that. The last title is in the list of tabs
// all the same.
const (
	saidBurst = 20
	saidEvery = 50 * time.Millisecond
)

// said is what a tab's programs said of themselves since its shell began.
type said struct {
	mu      sync.Mutex
	title   string
	cwd     string
	until   map[string]time.Time // what was passed on of each kind is paid for then
	command int64                // the number of the last one
	running *terminal.CommandMark
	told    bool              // that it runs
	last    *wire.LastCommand // never changed in place
}

// Title is what the program calls its window.
func (s *said) Title() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.title
}

// Last is the last command and how it ended, nil where there was none.
func (s *said) Last() *wire.LastCommand {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// forget is for a new shell: what the one before said of itself is true no longer.
// Commands are counted on.
func (s *said) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.title, s.cwd, s.running, s.told, s.last = "", "", nil, false, nil
}

// may says whether something of a kind is passed on now. The caller holds s.mu.
func (s *said) may(kind string, now time.Time) bool {
	if s.until == nil {
		s.until = map[string]time.Time{}
	}
	until := s.until[kind]
	if until.Before(now) {
		until = now
	}
	if until.Sub(now) >= saidBurst*saidEvery {
		return false
	}
	s.until[kind] = until.Add(saidEvery)
	return true
}

// heard passes on what the tab's program said.
func (t *tab) heard(e terminal.Event) {
	messages, news := t.said.messages(t.id, e, time.Now())
	if news {
		t.g.tabsChanged()
	}
	for _, m := range messages {
		t.g.broadcast(func(c *conn) {
			if c.id.Tab == "" || c.id.Tab == t.id {
				c.tell(m)
			}
		})
	}
}

// messages is an event as clients get it; news says that the list of tabs is another.
// All texts are made inert: programs choose them.
func (s *said) messages(id station.ID, e terminal.Event, now time.Time) (m []wire.ServerMessage, news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tab := string(id)
	say := func(kind string, message wire.ServerMessage) {
		if s.may(kind, now) {
			m = append(m, message)
		}
	}
	switch {
	case e.Title != nil:
		title := truncate(inert(*e.Title), maxSentence)
		if news = s.title != title; news {
			s.title = title
			say("title", &wire.Title{Tab: tab, Title: title})
		}
	case e.Cwd != "":
		if dir := directory(e.Cwd); dir != "" {
			news, s.cwd = s.cwd != dir, dir
			say("cwd", &wire.Cwd{Tab: tab, Cwd: dir})
		}
	case e.Bell:
		say("bell", &wire.Bell{Tab: tab})
	case e.Notify != nil:
		if text := truncate(inert(e.Notify.Body), maxSentence); text != "" {
			say("notify", &wire.Notify{Code: "program", Tab: tab, Title: truncate(inert(e.Notify.Title), maxSentence), Text: text})
		}
	case e.Command != nil:
		for _, c := range s.mark(e.Command) {
			if c.Phase == "start" {
				s.told = s.may("command", now)
			}
			if s.told {
				c.Tab = tab
				m = append(m, c)
			}
		}
	}
	return m, news
}

// mark follows a shell's commands (OSC 133, FinalTerm's semantic prompts): C is
// where the output of one begins, D is its end, with the exit code if it is known. Of
// lines that were pasted together bash says one D after the last: where the next
// begins, one has ended.
func (s *said) mark(c *terminal.CommandMark) (out []*wire.Command) {
	if began := s.running; began != nil {
		end := &wire.Command{ID: s.command, Phase: "end", Offset: c.Offset, DurationMS: c.At.Sub(began.At).Milliseconds()}
		code, _, _ := strings.Cut(c.Rest, ";")
		if n, err := strconv.Atoi(code); err == nil && c.Mark == 'D' {
			end.ExitCode = &n
		}
		s.running, s.last = nil, &wire.LastCommand{ID: s.command, Ended: true, ExitCode: end.ExitCode}
		out = append(out, end)
	}
	if c.Mark == 'C' {
		s.command++
		s.running, s.last = c, &wire.LastCommand{ID: s.command}
		out = append(out, &wire.Command{ID: s.command, Phase: "start", Offset: c.Offset, Line: commandLine(c.Rest)})
	}
	return out
}

// commandLine is what a shell says it runs, as kitty and fish have it: percent-escaped
// after cmdline_url=, or quoted as bash's printf %q does after cmdline=.
func commandLine(rest string) string {
	line := ""
	if v, ok := strings.CutPrefix(rest, "cmdline="); ok {
		line = unquote(v)
	} else if v, ok := strings.CutPrefix(rest, "cmdline_url="); ok {
		v, _, _ = strings.Cut(v, ";")
		if i := strings.LastIndexByte(v, '%'); i >= 0 && i > len(v)-3 { // a long one is cut off
			v = v[:i]
		}
		line, _ = url.PathUnescape(v) // "" where it is none
	}
	return truncate(inert(strings.ReplaceAll(line, "\n", " ")), maxSentence)
}

// unquote undoes the quoting of bash's printf %q: a backslash before a character, or
// $'…' with escapes. What is quoted otherwise stays as it is.
func unquote(s string) string {
	var b strings.Builder
	if body, ok := strings.CutPrefix(s, "$'"); ok {
		body = strings.TrimSuffix(body, "'")
		for body != "" {
			if after, ok := strings.CutPrefix(body, `\E`); ok {
				body = `\x1b` + after
			}
			c, _, rest, err := strconv.UnquoteChar(body, '\'')
			if err != nil {
				c, rest = rune(body[0]), body[1:]
			}
			if c < 0x80 || err != nil || body[0] != '\\' {
				b.WriteRune(c)
			} else {
				b.WriteByte(byte(c)) // \303 is a byte
			}
			body = rest
		}
		return b.String()
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
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
