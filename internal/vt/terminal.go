package vt

import "image/color"

// Options say what a terminal is like and whom it tells what. The functions are
// called within Write and Filter, and must call nothing of the terminal but Position.
type Options struct {
	Scrollback int // lines kept above the screen; 0: 10,000, negative: none

	Answer  func([]byte)                 // to the program, as if typed
	Title   func(string)                 // OSC 0 and 2
	Bell    func()                       // BEL
	Cwd     func(uri string)             // OSC 7, as the program wrote it
	Notify  func(title, body string)     // OSC 9, 777 and 99
	Command func(mark byte, rest string) // OSC 133: A prompt, B input, C output, D end; and what follows it
}

// Theme is what colour queries are answered with.
type Theme struct {
	Foreground, Background, Cursor color.RGBA
	Palette                        [16]color.RGBA // the rest is xterm's own
}

// Limits on what programs write.
const (
	MinCols, MinRows = 2, 1 // as xterm.js
	MaxCols, MaxRows = 4096, 4096
	MaxCells         = 1 << 19 // columns times rows

	defaultScrollback = 10_000
	maxCluster        = 256      // bytes of one cell's text
	maxPayload        = 64 << 10 // of an OSC or DCS that is read; a longer one is passed over
	maxText           = 4096     // bytes of a title, a link and the like
	maxRepeat         = 8192     // characters that REP prints, on a screen of fewer cells
	maxRepeats        = 1 << 20  // that all of one call print, each beyond ASCII counted as 8
)

// Mouse protocols and encodings.
const (
	mouseNone = iota
	mouseX10
	mouseVT200
	mouseDrag
	mouseAny
)

const (
	mouseDefault = iota
	mouseSGR
	mousePixels
)

// modes are the switches that programs turn and DECSTR turns back.
type modes struct {
	insert      bool // IRM
	cursorKeys  bool // DECCKM
	keypad      bool // DECNKM
	paste       bool // 2004
	origin      bool // DECOM
	reverseWrap bool // 45
	focus       bool // 1004
	sync        bool // 2026
	noWrap      bool // DECAWM off
	shape       byte // DECSCUSR: 0 the person's own, 1 block, 2 underline, 3 bar
	blink       byte
}

// Terminal is one. It is not safe for concurrent use.
type Terminal struct {
	o          Options
	cols, rows int
	theme      Theme
	cellW      int // pixels, 0: not known
	cellH      int

	normal, alt *buffer
	b           *buffer // the active one
	styles      *styles
	links       links

	attr    style  // of what is printed next
	attrID  uint32 // its number
	eraseID uint32 // of attr.erased()
	erased  uint32 // its bg

	modes    modes
	hidden   bool // the cursor
	blink    byte // mode 12, as modes.blink
	newLine  bool // mode 20
	mouse    byte
	encoding byte

	charset  *charset // in force; nil is ASCII
	charsets [4]*charset
	level    int

	title, icon string
	colours     colours
	notice      notice

	freed  []*line // what rotate has in hand
	parser parser
}

// New makes a terminal. Sizes are brought within the limits.
func New(cols, rows int, o Options) *Terminal {
	if o.Scrollback == 0 {
		o.Scrollback = defaultScrollback
	}
	t := &Terminal{o: o, styles: newStyles(), theme: defaultTheme}
	t.cols, t.rows = Fit(cols, rows)
	t.makeBuffers()
	t.parser.reset()
	return t
}

// Fit brings a size within the limits: of one with too many cells rows go.
func Fit(cols, rows int) (int, int) {
	cols = min(max(cols, MinCols), MaxCols)
	return cols, min(max(rows, MinRows), MaxRows, MaxCells/cols)
}

// SetTheme says what colour queries are answered with.
func (t *Terminal) SetTheme(theme Theme) { t.theme = theme }

// SetCell says the size of a cell in pixels, for reports of sizes.
func (t *Terminal) SetCell(width, height int) { t.cellW, t.cellH = width, height }

// Size is columns and rows.
func (t *Terminal) Size() (cols, rows int) { return t.cols, t.rows }

// Title is what the program last set.
func (t *Terminal) Title() string { return t.title }

// Cursor is where the cursor is, from 0. x is the number of columns when the last
// one was printed and the next character wraps.
func (t *Terminal) Cursor() (x, y int) { return t.b.x, t.b.y }

// Alternate says whether the alternate screen is shown.
func (t *Terminal) Alternate() bool { return t.b == t.alt }

// Write draws what a program wrote. It never fails.
func (t *Terminal) Write(p []byte) (int, error) {
	t.feed(p, nil, false)
	return len(p), nil
}

// Filter draws p and appends it to dst without queries. What may become one is
// kept back until it is decided.
func (t *Terminal) Filter(dst, p []byte) []byte { return t.feed(p, dst, true) }

func (t *Terminal) makeBuffers() {
	t.normal = newBuffer(t.cols, t.rows, max(t.o.Scrollback, 0))
	t.normal.fill(t.cols, t.rows, blank(0))
	t.alt = newBuffer(t.cols, t.rows, 0)
	t.b = t.normal
}

// reset is RIS. It leaves what xterm.js leaves: the title, the cursor's being
// hidden, modes 12 and 20, and colours.
func (t *Terminal) reset() {
	t.parser.reset()
	t.attr = style{}
	t.restyle()
	for _, b := range []*buffer{t.normal, t.alt} {
		b.clear(t.cols, t.rows)
		b.saved = savedCursor{}
	}
	t.b = t.normal
	t.b.fill(t.cols, t.rows, blank(0))
	t.resetCharsets()
	t.modes = modes{}
	t.mouse, t.encoding = mouseNone, mouseDefault
}

// restyle numbers attr after it changed.
func (t *Terminal) restyle() {
	if t.styles.full() {
		t.collectStyles()
	}
	t.attrID = t.styles.number(t.attr)
	if erased := t.attr.erased(); erased.bg != t.erased {
		t.erased, t.eraseID = erased.bg, t.styles.number(erased)
	}
}

// collectStyles forgets the styles that no cell has any more.
func (t *Terminal) collectStyles() {
	t.styles.collect(func(each func(*line)) {
		for _, b := range []*buffer{t.normal, t.alt} {
			for _, l := range b.rows {
				each(l)
			}
		}
	})
	t.attrID = t.styles.number(t.attr)
	t.eraseID = t.styles.number(t.attr.erased())
}

func (t *Terminal) answer(s string) {
	if t.o.Answer != nil {
		t.o.Answer([]byte(s))
	}
}
