package vt

import "strings"

// CursorVisible says whether the cursor is shown.
func (t *Terminal) CursorVisible() bool { return !t.hidden }

// Lines is what a person sees, one text for each row, without the spaces at its
// end, and before it up to back rows of the scrollback: the newest, no more than 4 MiB of
// them. A text that a resize has left in a cell too narrow for it is whole.
func (t *Terminal) Lines(back int) []string {
	return t.each(back, func(style, style) int { return 0 }, func(l *line) string {
		var b strings.Builder
		for i := range l.cells[:l.shown()] {
			b.WriteString(l.seen(i))
		}
		return strings.TrimRight(b.String(), " ")
	})
}

// Painted is Lines with the sequences that give each row its colours and links.
// Each begins and ends in plain style, and takes no more columns than there are.
func (t *Terminal) Painted(back int) []string {
	p := painter{t: t, links: screenLinks}
	return t.each(back, p.size, func(l *line) string {
		p.out, p.joint = p.out[:0], 0
		for i := range l.cells[:l.shown()] {
			s := l.seen(i)
			if s == "" {
				continue
			}
			if l.cells[i].content() && !l.cells[i].simple() {
				if s, _ = t.drawn(l, i); s == "" {
					s = " "
				}
			}
			p.style(p.shown(l.cells[i]))
			p.print(s)
		}
		p.style(style{})
		return string(p.out)
	})
}

// each makes texts of lines, the newest first. size is what changes of style take.
func (t *Terminal) each(back int, size func(from, to style) int, text func(*line) string) []string {
	t.endRun()
	b := t.b
	back = b.back.fitting(max(back, 0), 2*snapshotBack, size)
	all := append(b.back.lines(b.base()-back, b.base(), t.styles), b.rows[:t.rows]...)
	out := make([]string, len(all))
	room, first := snapshotBack, len(all)
	for first > 0 {
		s := text(all[first-1])
		if first <= back {
			if room -= len(s); room < 0 {
				break
			}
		}
		first--
		out[first] = s
	}
	t.tidy()
	return out[first:]
}

// History draws the normal screen's scrollback and what stands on it, on a fresh
// terminal of the same size: at most limit bytes of the newest lines. Nothing of it
// has an effect but what is seen: there are no modes, titles or links.
func (t *Terminal) History(limit int) []byte {
	t.endRun()
	b := t.normal
	rows := b.rows[:t.rows]
	for len(rows) > 0 && rows[len(rows)-1].trimmed() == 0 {
		rows = rows[:len(rows)-1]
	}
	p := painter{t: t, plain: true}
	back := b.back.fitting(b.base(), limit, func(from, to style) int {
		from.link, to.link = 0, 0
		return p.size(from, to)
	})
	all := append(b.back.lines(b.base()-back, b.base(), t.styles), rows...)
	for len(all) > 0 {
		first := *all[0] // with it drawing begins, whether or not it goes on with another
		first.wrapped = false
		all[0] = &first
		p.out, p.last, p.joint = p.out[:0], style{}, 0
		p.lines(all, 0)
		p.style(style{})
		if over := len(p.out) - limit; over <= 0 {
			break
		} else {
			all = all[max(1, len(all)*over/len(p.out)):]
		}
	}
	t.tidy()
	if len(all) == 0 {
		return nil
	}
	return p.out
}

// tidy forgets the styles that the scrollback alone has, after it was unpacked.
func (t *Terminal) tidy() {
	if t.styles.full() {
		t.collectStyles()
	}
}

// shown is how many columns have text; a resize may have left half of a wide character
// in the last one.
func (l *line) shown() int { return min(l.trimmed(), len(l.cells)) }

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
