package guest

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"staithe/internal/station"
	"staithe/internal/wire"
)

const (
	// maxList is what a list may take of a frame (wire.MaxMessage).
	maxList = 60 << 10
	// maxSentence bounds an error's sentence.
	maxSentence = 1000
)

// tabs is the list as this connection may see it.
func (c *conn) tabs() []wire.Tab {
	visible := c.g.visible(c.id)
	last := map[station.ID]*wire.LastCommand{}
	for _, t := range visible {
		last[t.id] = t.said.Last()
	}
	tabs := stationTabs(visible)
	out := make([]wire.Tab, len(tabs))
	for i, t := range tabs {
		out[i] = wire.Tab{
			Tab: string(t.ID), Name: t.Name, Title: t.Title, Cwd: inert(t.Cwd), Process: inert(t.Process), Command: last[t.ID],
			Cols: t.Cols, Rows: t.Rows, Clients: t.Clients, Exited: t.Exited, ExitCode: t.ExitCode,
			Signal: t.Signal, CreatedAt: t.CreatedAt, ActiveAt: t.ActiveAt,
		}
	}
	return fitTabs(out)
}

// fitTabs makes a list fit into one frame: folders, titles and programs, which
// the programs choose, are cut as far as needed; where that is not enough the
// newest tabs are left out.
func fitTabs(tabs []wire.Tab) []wire.Tab {
	for _, most := range []int{512, 128, 32, 0} {
		if listSize(tabs) <= maxList {
			return tabs
		}
		for i := range tabs {
			t := &tabs[i]
			t.Cwd, t.Title, t.Process = shorten(t.Cwd, most), shorten(t.Title, most), shorten(t.Process, most)
		}
	}
	for listSize(tabs) > maxList {
		tabs = tabs[:len(tabs)*15/16]
	}
	return tabs
}

// listSize is how many bytes a list takes, or a bound below maxList.
func listSize(tabs []wire.Tab) int {
	bound := 0
	for _, t := range tabs {
		bound += 400 + 6*(len(t.Cwd)+len(t.Title)+len(t.Process)) // \u0000 each
	}
	if bound <= maxList {
		return bound
	}
	b, _ := json.Marshal(tabs) // plain data always encodes
	return len(b)
}

// shorten cuts s to its last most bytes, the telling ones of a folder.
func shorten(s string, most int) string {
	const sign = "…"
	if len(s) <= most {
		return s
	}
	if most <= len(sign) {
		return ""
	}
	s = s[len(s)-most+len(sign):]
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return sign + s
}

// truncate cuts s to its first most bytes.
func truncate(s string, most int) string {
	const sign = "…"
	if len(s) <= most {
		return s
	}
	end := most - len(sign)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + sign
}

// inert takes out of a name what a terminal or a page could take for more than
// text: controls, and marks that turn or hide what follows.
func inert(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, name)
}

// presenceOf lists a tab's clients, the driver always, and of too many for a
// frame the first.
func presenceOf(t *tab) *wire.Presence {
	m := &wire.Presence{Tab: string(t.id), Clients: []wire.Client{}}
	room := maxList
	for _, p := range t.terminal().Clients() {
		if room -= 200 + 6*(len(p.User)+len(p.Name)); room < 0 && !p.Driver {
			continue
		}
		m.Clients = append(m.Clients, wire.Client{
			Client: p.Public, User: p.User, Name: p.Name, Role: string(p.Role), Driver: p.Driver,
			Cols: p.Cols, Rows: p.Rows, IdleS: int(p.Idle / time.Second),
		})
	}
	return m
}
