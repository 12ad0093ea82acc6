package vt

import (
	"net/url"
	"strings"
	"unicode"
)

// osc acts on an operating system command.
func (t *Terminal) osc(id int, text string) {
	switch id {
	case 0:
		t.setTitle(text)
		t.icon = shortened(text)
	case 1:
		t.icon = shortened(text)
	case 2:
		t.setTitle(text)
	case 4:
		t.paletteOSC(text)
	case 8:
		t.hyperlink(text)
	case 10, 11, 12:
		t.specialOSC(id, text)
	case 104:
		t.restorePalette(text)
	case 110, 111, 112:
		t.colours.special[id-110] = nil
	case 7:
		t.cwd(text)
	case 1337:
		if dir, ok := strings.CutPrefix(text, "CurrentDir="); ok && strings.HasPrefix(dir, "/") {
			t.cwd("file://" + (&url.URL{Path: dir}).EscapedPath())
		}
	case 133:
		if t.o.Command != nil && text != "" {
			t.o.Command(text[0], strings.TrimPrefix(shortened(text[1:]), ";"))
		}
	case 9, 99, 777:
		t.notify(id, text)
	}
	t.parser.query = t.parser.query || oscAsks(id, text)
}

func (t *Terminal) cwd(uri string) {
	if t.o.Cwd != nil {
		t.o.Cwd(shortened(uri))
	}
}

func (t *Terminal) setTitle(text string) {
	t.title = shortened(text)
	if t.o.Title != nil {
		t.o.Title(t.title)
	}
}

// shortened is at most maxText bytes of a text. It keeps no longer one in memory.
func shortened(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return strings.Clone(s)
}

// Limits on links.
const (
	linksMax      = 4096
	linkBytesMax  = 4 << 20
	linkBytes     = 160    // what one takes besides its texts, about
	linksPatience = 10_000 // new ones that are refused before it is looked again for unused ones
)

// link is what OSC 8 gives text.
type link struct{ id, uri string }

// links are those in use, by number.
type links struct {
	byNumber map[uint32]link
	byKey    map[link]uint32 // those with an id
	next     uint32
	bytes    int
	limit    int
	refused  int // for want of bytes, since it was found that most are in use; 0: they are not
}

func (l link) size() int { return linkBytes + len(l.id) + len(l.uri) }

// hyperlink is OSC 8;params;uri. Without a uri it ends the link.
func (t *Terminal) hyperlink(text string) {
	given, uri, ok := strings.Cut(text, ";")
	given = trimmed(given)
	if !ok || uri == "" && given != "" {
		return
	}
	t.attr.link = 0
	if uri != "" && len(text) <= maxText {
		id := ""
		for p := range strings.SplitSeq(given, ":") {
			if v, ok := strings.CutPrefix(p, "id="); ok {
				id = v
				break
			}
		}
		t.attr.link = t.addLink(link{strings.Clone(id), strings.Clone(uri)})
	}
	t.attr.update()
	t.restyle()
}

// trimmed is a text without spaces at its ends, those that JavaScript's trim takes.
func trimmed(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' })
}

// addLink numbers a link; 0 when there are too many.
func (t *Terminal) addLink(l link) uint32 {
	ls := &t.links
	if ls.byNumber == nil {
		ls.byNumber, ls.byKey, ls.limit = map[uint32]link{}, map[link]uint32{}, linksMax
	}
	if n, ok := ls.byKey[l]; ok && l.id != "" {
		return n
	}
	if len(ls.byNumber) >= ls.limit || ls.bytes > linkBytesMax {
		if ls.bytes > linkBytesMax && ls.refused > 0 && ls.refused < linksPatience {
			ls.refused++
			return 0
		}
		t.collectLinks()
		ls.refused = 0
		if ls.bytes > linkBytesMax/4*3 { // the next look would find little again
			ls.refused = 1
		}
		if ls.bytes > linkBytesMax {
			return 0
		}
	}
	ls.next++
	ls.byNumber[ls.next] = l
	ls.bytes += l.size()
	if l.id != "" {
		ls.byKey[l] = ls.next
	}
	return ls.next
}

// collectLinks forgets the links that nothing shows any more.
func (t *Terminal) collectLinks() {
	t.collectStyles()
	used := map[uint32]bool{t.attr.link: true}
	for _, s := range t.styles.all {
		used[s.link] = true
	}
	t.normal.back.links(used)
	t.alt.back.links(used)
	ls := &t.links
	for n, l := range ls.byNumber {
		if !used[n] {
			delete(ls.byNumber, n)
			delete(ls.byKey, l)
			ls.bytes -= l.size()
		}
	}
	ls.limit = max(linksMax, 2*len(ls.byNumber))
}
