package vt

import (
	"fmt"
	"image/color"
	"regexp"
	"strconv"
	"strings"
)

// colours are what programs changed of the theme (OSC 4, 10, 11 and 12).
type colours struct {
	palette map[int]color.RGBA
	special [3]*color.RGBA // foreground, background, cursor
}

// DefaultTheme is xterm.js's own.
func DefaultTheme() Theme { return defaultTheme }

var defaultTheme = Theme{
	Foreground: rgb(0xFFFFFF), Background: rgb(0x000000), Cursor: rgb(0xFFFFFF),
	Palette: [16]color.RGBA{
		rgb(0x2E3436), rgb(0xCC0000), rgb(0x4E9A06), rgb(0xC4A000), rgb(0x3465A4), rgb(0x75507B), rgb(0x06989A), rgb(0xD3D7CF),
		rgb(0x555753), rgb(0xEF2929), rgb(0x8AE234), rgb(0xFCE94F), rgb(0x729FCF), rgb(0xAD7FA8), rgb(0x34E2E2), rgb(0xEEEEEC),
	},
}

func rgb(v uint32) color.RGBA {
	return color.RGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 255}
}

// paletteColour is colour i of 256.
func (t *Terminal) paletteColour(i int) color.RGBA {
	if c, ok := t.colours.palette[i]; ok {
		return c
	}
	switch {
	case i < 16:
		return t.theme.Palette[i]
	case i < 232: // a cube of 6 × 6 × 6
		level := func(n int) uint8 { return uint8([...]int{0, 95, 135, 175, 215, 255}[n%6]) }
		i -= 16
		return color.RGBA{R: level(i / 36), G: level(i / 6), B: level(i), A: 255}
	}
	grey := uint8(8 + 10*(i-232))
	return color.RGBA{R: grey, G: grey, B: grey, A: 255}
}

func (t *Terminal) specialColour(i int) color.RGBA {
	if c := t.colours.special[i]; c != nil {
		return *c
	}
	return [...]color.RGBA{t.theme.Foreground, t.theme.Background, t.theme.Cursor}[i]
}

var (
	rgbText  = regexp.MustCompile(`^rgb:([\da-f]{1,4})/([\da-f]{1,4})/([\da-f]{1,4})$`)
	hashText = regexp.MustCompile(`^#[\da-f]+$`)
)

// parseColour reads XParseColor's rgb:r/g/b, with one to four digits each, and
// #rgb with one to four.
func parseColour(text string) (c color.RGBA, ok bool) {
	text = strings.ToLower(text)
	var v [3]uint8
	if m := rgbText.FindStringSubmatch(text); m != nil && len(m[1]) == len(m[2]) && len(m[2]) == len(m[3]) {
		top := 1<<(4*len(m[1])) - 1
		for i := range v {
			n, _ := strconv.ParseUint(m[i+1], 16, 32) // the expression allows nothing else
			v[i] = uint8((int(n)*255*2 + top) / (2 * top))
		}
		return color.RGBA{v[0], v[1], v[2], 255}, true
	}
	if hashText.MatchString(text) && (len(text)-1)%3 == 0 && len(text) <= 13 {
		digits := (len(text) - 1) / 3
		for i := range v {
			n, _ := strconv.ParseUint(text[1+i*digits:1+(i+1)*digits], 16, 32)
			if digits == 1 {
				n <<= 4
			}
			v[i] = uint8(n >> max(0, 4*digits-8))
		}
		return color.RGBA{v[0], v[1], v[2], 255}, true
	}
	return c, false
}

func colourText(c color.RGBA) string {
	return fmt.Sprintf("rgb:%02x%02x/%02x%02x/%02x%02x", c.R, c.R, c.G, c.G, c.B, c.B)
}

// paletteOSC is OSC 4: pairs of a number and a colour, or ? for a question.
func (t *Terminal) paletteOSC(text string) {
	slots := strings.Split(text, ";")
	var rest []string
	asked := false
	for ; len(slots) > 1; slots = slots[2:] {
		i, err := strconv.Atoi(slots[0])
		valid := err == nil && i >= 0 && i < 256 && isNumber(slots[0])
		if slots[1] == "?" {
			asked = true
			if valid {
				t.answer(fmt.Sprintf("\x1b]4;%d;%s\x1b\\", i, colourText(t.paletteColour(i))))
			}
			continue
		}
		rest = append(rest, slots[0], slots[1])
		if c, ok := parseColour(slots[1]); ok && valid {
			if t.colours.palette == nil {
				t.colours.palette = map[int]color.RGBA{}
			}
			t.colours.palette[i] = c
		}
	}
	t.asked(asked, 4, rest)
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// specialOSC is OSC 10, 11 and 12; more colours in one are those that follow.
func (t *Terminal) specialOSC(first int, text string) {
	asked := false
	var rest []string
	for i, spec := range strings.Split(text, ";") {
		which := first - 10 + i
		if spec == "?" {
			asked = true
			rest = append(rest, "")
		}
		if which > 2 { // other terminals go on counting
			if spec != "?" {
				rest = append(rest, spec)
			}
			continue
		}
		if spec == "?" {
			t.answer(fmt.Sprintf("\x1b]%d;%s\x1b\\", 10+which, colourText(t.specialColour(which))))
			continue
		}
		rest = append(rest, spec)
		if c, ok := parseColour(spec); ok {
			t.colours.special[which] = &c
		}
	}
	if strings.Trim(strings.Join(rest, ""), ";") == "" {
		rest = nil
	}
	t.asked(asked, first, rest)
}

// asked takes a question about colours out of the stream and leaves what it sets.
func (t *Terminal) asked(asked bool, id int, rest []string) {
	if !asked {
		return
	}
	t.parser.query = true
	if len(rest) > 0 {
		t.parser.instead = fmt.Appendf(t.parser.instead, "\x1b]%d;%s\x1b\\", id, strings.Join(rest, ";"))
	}
}

// restorePalette is OSC 104.
func (t *Terminal) restorePalette(text string) {
	if text == "" {
		t.colours.palette = nil
		return
	}
	for s := range strings.SplitSeq(text, ";") {
		if i, err := strconv.Atoi(s); err == nil && isNumber(s) {
			delete(t.colours.palette, i)
		}
	}
}
