package vt

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
)

// reference is @xterm/headless in a process of its own.
type reference struct {
	mu  sync.Mutex
	in  io.WriteCloser
	out io.Reader
}

type step struct {
	Write  *string `json:"write,omitempty"`
	Resize *[2]int `json:"resize,omitempty"`
}

func write(p []byte) step {
	s := base64.StdEncoding.EncodeToString(p)
	return step{Write: &s}
}

func resize(cols, rows int) step { return step{Resize: &[2]int{cols, rows}} }

func (s step) apply(t *Terminal) {
	if s.Resize != nil {
		t.Resize(s.Resize[0], s.Resize[1])
		return
	}
	b, err := base64.StdEncoding.DecodeString(*s.Write)
	if err != nil {
		panic(err)
	}
	t.Write(b)
}

type request struct {
	Cols       int    `json:"cols"`
	Rows       int    `json:"rows"`
	Scrollback int    `json:"scrollback"`
	Plain      bool   `json:"plain"`
	Steps      []step `json:"steps"`
	Then       *step  `json:"-"` // a resize after a snapshot, before After
	After      []byte `json:"-"` // what comes after a snapshot
}

func startReference(t testing.TB) *reference {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node is needed: the reference is xterm.js; `make setup-test` says how")
	}
	// Most of what it makes is of no use a moment later.
	cmd := exec.Command("node", "--max-semi-space-size=64", "--single-threaded-gc", "../../web/tools/xterm-reference.mjs")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the reference: %v %s", err, errs.String())
		}
	})
	return &reference{in: in, out: out}
}

// ask has the reference do the requests, and returns the terminals as text.
func (r *reference) ask(t testing.TB, requests ...request) []string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var buf []byte
	for _, q := range requests {
		b, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		buf = append(binary.LittleEndian.AppendUint32(buf, uint32(len(b))), b...)
	}
	go r.in.Write(buf)
	out := make([]string, len(requests))
	for i := range out {
		var head [4]byte
		if _, err := io.ReadFull(r.out, head[:]); err != nil {
			t.Fatalf("the reference has ended: %v", err)
		}
		b := make([]byte, binary.LittleEndian.Uint32(head[:]))
		if _, err := io.ReadFull(r.out, b); err != nil {
			t.Fatal(err)
		}
		out[i] = string(b)
	}
	return out
}

// look is how a terminal is written.
type look int

const (
	asItIs  look = iota
	alike        // what looks alike in the same way
	asDrawn      // and what cannot be drawn as what is drawn instead (see exact)
)

// dump is the terminal as the reference writes it.
func (t *Terminal) dump(answers string, look look) string {
	plain := look != asItIs
	m := t.modes
	bits := ""
	for _, on := range []bool{m.insert, m.cursorKeys, m.keypad, m.paste, m.origin, m.reverseWrap, m.focus, m.sync, m.noWrap, t.hidden, t.newLine, t.blink == blinkOn} {
		bits += map[bool]string{false: "0", true: "1"}[on]
	}
	screen := map[bool]string{false: "normal", true: "alt"}[t.Alternate()]
	quote := func(s string) string {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.Encode(s)
		return strings.NewReplacer("\\u2028", "\u2028", "\\u2029", "\u2029").Replace(strings.TrimSpace(b.String()))
	}
	if plain {
		answers = ""
	}
	sets := ""
	for _, c := range t.charsets {
		sets += " " + charsetText(c)
	}
	out := []string{
		"colours " + t.coloursText(),
		fmt.Sprintf("size %dx%d %s modes %s cursor %s %s", t.cols, t.rows, screen, bits,
			[]string{"-", "block", "underline", "bar"}[m.shape], []string{"-", "false", "true"}[m.blink]),
		fmt.Sprintf("mouse %s %s attr %s", []string{"NONE", "X10", "VT200", "DRAG", "ANY"}[t.mouse],
			[]string{"DEFAULT", "SGR", "SGR_PIXELS"}[t.encoding], t.styleText(t.attr, plain)),
		fmt.Sprintf("charset %s level %d%s", charsetText(t.charset), t.level, sets),
		fmt.Sprintf("title %s icon %s", quote(t.title), quote(t.icon)),
		"answers " + quote(answers),
		t.bufferText(t.normal, look),
	}
	alt := ""
	if t.Alternate() || !plain {
		alt = t.bufferText(t.alt, look)
	}
	return strings.Join(append(out, alt), "\n")
}

func (t *Terminal) coloursText() string {
	var parts []string
	for i := range 256 {
		if c, ok := t.colours.palette[i]; ok {
			parts = append(parts, fmt.Sprintf("%d=%d,%d,%d", i, c.R, c.G, c.B))
		}
	}
	for i, c := range t.colours.special {
		if c != nil {
			parts = append(parts, fmt.Sprintf("%d=%d,%d,%d", 256+i, c.R, c.G, c.B))
		}
	}
	return strings.Join(parts, " ")
}

func charsetText(c *charset) string {
	if c == nil {
		return "-"
	}
	var parts []string
	for i, r := range c {
		if r != 0 {
			parts = append(parts, string(rune(i))+string(r))
		}
	}
	sort.Strings(parts)
	return strings.Join(parts, "")
}

func colourOf(v uint32) uint32 {
	switch v & colourMask {
	case 0:
		return 0
	case colourRGB:
		return v & (colourMask | rgbMask)
	}
	return v & (colourMask | paletteMask)
}

func (t *Terminal) styleText(s style, plain bool) string {
	name := ""
	if s.bg&extended != 0 && s.link != 0 {
		l := t.links.byNumber[s.link]
		name = l.id + "|" + l.uri
	}
	ext := s.ext
	if s.bg&extended == 0 {
		ext = 0
	}
	if !plain {
		return fmt.Sprintf("%d/%d/%d/%s", s.fg, s.bg, ext, name)
	}
	var under uint32
	if s.bg&extended != 0 && s.link == 0 {
		under = ext & underlineMask >> underlineShift
	}
	if s.fg&underline != 0 {
		under = underlineSingle
		if s.bg&extended != 0 {
			under = max(ext&underlineMask>>underlineShift, 1)
		}
	}
	if under == 0 && name == "" {
		ext = 0
	}
	return fmt.Sprintf("%d:%d/%d:%d/%d:%d/%s", s.fg&^(colourMask|rgbMask|underline), colourOf(s.fg),
		s.bg&^(colourMask|rgbMask|extended), colourOf(s.bg), under, colourOf(ext), name)
}

// behind says whether the cursor is behind the last column of a line of the
// alternate screen: that the column is empty cannot be drawn then.
func (t *Terminal) behind(l *line) bool {
	return t.Alternate() && t.b.x == t.cols && t.b.row() == l
}

func (t *Terminal) lineText(l *line, look look) string {
	var b strings.Builder
	b.WriteString(map[bool]string{false: " ", true: ">"}[l.wrapped])
	n := len(l.cells)
	if look != asItIs {
		n = t.cols
	}
	last := ""
	for i, c := range l.cells[:n] {
		s, width, text := t.styleText(t.styles.of(c), look != asItIs), c.width(), l.text(i)
		switch look {
		case alike:
			width, text = l.alike(i, n, width, text)
		case asDrawn:
			s, width, text = t.painted(l, i)
		}
		if look != asItIs && width == 1 && text == "" && (s != t.styleText(t.styles.of(c).erased(), true) || i == n-1 && t.behind(l)) {
			text = " "
		}
		if s != last {
			b.WriteString("{" + s + "}")
		}
		last = s
		switch {
		case text == "" && width == 0:
			b.WriteString("‹")
		case text == "":
			b.WriteString("·")
		default:
			b.WriteString(text)
			if width != 1 {
				fmt.Fprintf(&b, "^%d", width)
			}
		}
	}
	return b.String()
}

// alike is a cell's width and text, but for half of a wide character.
func (l *line) alike(i, end, width int, text string) (int, string) {
	if l.cells[i].stub() && (i == 0 || l.cells[i-1].width() != 2) {
		return 1, text
	}
	if width == 2 && (i == end-1 || !l.cells[i+1].stub()) {
		return 1, ""
	}
	return width, text
}

// painted is a cell as it is drawn.
func (t *Terminal) painted(l *line, i int) (style string, width int, text string) {
	if i > 0 && l.cells[i].stub() {
		if before, columns := t.drawn(l, i-1); columns == 2 { // in the style of the first half
			style = t.styleText(t.styles.of(l.cells[i-1]), true)
			if strings.HasSuffix(before, nothing+" ") { // a narrow one and a space
				return style, 1, " "
			}
			return style, 0, ""
		}
	}
	text, columns := t.drawn(l, i)
	if narrow, ok := strings.CutSuffix(text, nothing+" "); ok {
		text, columns = narrow, 1
	}
	return t.styleText(t.styles.of(l.cells[i]), true), max(columns, 1), text
}

func (t *Terminal) bufferText(b *buffer, look look) string {
	plain := look != asItIs
	var tabs []string
	for x := range b.tabs {
		if b.tabs[x] && (!plain || x < t.cols) {
			tabs = append(tabs, fmt.Sprint(x))
		}
	}
	saved := fmt.Sprintf("%d,%d %d/%d", b.saved.x, b.saved.y, b.saved.fg, b.saved.bg)
	if plain {
		saved = fmt.Sprintf("%d,%d %s", min(b.saved.x, t.cols-1), min(max(b.saved.y-b.base(), 0), t.rows-1),
			t.styleText(style{fg: b.saved.fg, bg: b.saved.bg &^ extended}, true))
	}
	base := b.base()
	if plain && b == t.alt { // after a resize xterm.js lets it scroll back
		base = 0
	}
	head := fmt.Sprintf("base %d region %d-%d tabs %s saved %s %s", base, b.top, b.bottom, strings.Join(tabs, ","), saved, charsetText(b.saved.charset))
	if b == t.b || !plain {
		head += fmt.Sprintf(" cursor %d,%d", b.x, b.y)
	}
	rows := b.rows
	if plain {
		rows = rows[:min(t.rows, len(rows))]
	}
	out := []string{head}
	for _, l := range slices.Concat(b.back.lines(b.base()-base, b.base(), t.styles), rows) {
		out = append(out, t.lineText(l, look))
	}
	return strings.Join(out, "\n")
}

// difference is the first line in which two dumps differ.
func difference(ours, theirs string) string {
	a, b := strings.Split(ours, "\n"), strings.Split(theirs, "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("line %d\n ours  %q\n xterm %q", i, x, y)
		}
	}
	return ""
}

func mustDecode(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
