package vt

import "strings"

// CursorVisible says whether the cursor is shown.
func (t *Terminal) CursorVisible() bool { return !t.hidden }

// Lines is what a person sees, one text for each row, without the spaces at its
// end, and before it up to back rows of the scrollback.
func (t *Terminal) Lines(back int) []string {
	return t.each(back, func(l *line) string {
		var b strings.Builder
		for i := range l.trimmed() {
			b.WriteString(l.seen(i))
		}
		return strings.TrimRight(b.String(), " ")
	})
}

// Painted is Lines with the sequences that give each row its colours and links.
// Each begins and ends in plain style.
func (t *Terminal) Painted(back int) []string {
	return t.each(back, func(l *line) string {
		p := painter{t: t}
		for i := range l.trimmed() {
			if s := l.seen(i); s != "" {
				p.style(p.shown(l.cells[i]))
				p.print(s)
			}
		}
		p.style(style{})
		return string(p.out)
	})
}

func (t *Terminal) each(back int, text func(*line) string) []string {
	t.endRun()
	back = min(max(back, 0), t.b.base())
	all := append(t.b.back.lines(t.b.base()-back, t.b.base(), t.styles), t.b.rows[:t.rows]...)
	out := make([]string, len(all))
	for i, l := range all {
		out[i] = text(l)
	}
	return out
}

// seen is what stands in a cell: a space where there is nothing, "" in the second
// half of a wide character.
func (l *line) seen(i int) string {
	if l.cells[i].stub() {
		return ""
	}
	if s := l.text(i); s != "" {
		return s
	}
	return " "
}
