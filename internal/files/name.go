package files

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"staithe/internal/station"
)

const (
	maxName = 255  // bytes of one name, as on every Linux file system
	maxPath = 4000 // bytes of a path; PATH_MAX is 4096
)

// Path is a file's path from the top of the home, as the bytes that it is:
// parts joined by single slashes, none empty, "." or "..". The home itself is
// ".". A single name is a Path too.
//
// As text, in JSON and wherever a person sees it, it has percent form: UTF-8 as
// it is, but '%', bytes that are not UTF-8, and characters that control a screen
// or turn the direction of writing as %XX. That is lossless and inert.
type Path string

const hexDigits = "0123456789ABCDEF"

// String is the percent form.
func (p Path) String() string {
	if p.plain() {
		return string(p)
	}
	var b strings.Builder
	for i := 0; i < len(p); {
		r, n := utf8.DecodeRuneInString(string(p[i:]))
		if r == utf8.RuneError && n <= 1 || r == '%' || !shown(r) {
			for _, c := range []byte(p[i : i+n]) {
				b.WriteByte('%')
				b.WriteByte(hexDigits[c>>4])
				b.WriteByte(hexDigits[c&15])
			}
		} else {
			b.WriteString(string(p[i : i+n]))
		}
		i += n
	}
	return b.String()
}

// plain says whether p is its own percent form, as most are.
func (p Path) plain() bool {
	for i := range len(p) {
		if c := p[i]; c < ' ' || c > '~' || c == '%' {
			return false
		}
	}
	return true
}

// shown says whether a character may stand as it is: it neither controls
// anything nor changes what its neighbours look like.
func shown(r rune) bool {
	return !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
}

// MarshalText is String.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes percent form and refuses what is no path.
func (p *Path) UnmarshalText(text []byte) error {
	q, err := ParsePath(string(text))
	if err == nil {
		*p = q
	}
	return err
}

// ParsePath reads percent form. An empty text is the home. The error wraps
// station.ErrInvalid.
func ParsePath(text string) (Path, error) {
	s, err := fromPercent(text)
	if err != nil {
		return "", err
	}
	return Path(s).Clean()
}

// Text is any bytes, such as a link's target, which need not be a path. As text
// it has percent form.
type Text string

// String is the percent form.
func (t Text) String() string { return Path(t).String() }

// MarshalText is String.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes percent form.
func (t *Text) UnmarshalText(text []byte) error {
	s, err := fromPercent(string(text))
	if err == nil {
		*t = Text(s)
	}
	return err
}

func fromPercent(text string) (string, error) {
	if !strings.Contains(text, "%") {
		return text, nil
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) || unhex(text[i+1]) < 0 || unhex(text[i+2]) < 0 {
			return "", station.Errorf(station.ErrInvalid, "bad_path", "In a path, write a percent sign as %%25.")
		}
		b.WriteByte(byte(unhex(text[i+1])<<4 | unhex(text[i+2])))
		i += 2
	}
	return b.String(), nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Clean returns p when it is a path as the type says, the empty one as ".". It
// corrects nothing else: what is meant by "a/../b" is not guessed. The error
// wraps station.ErrInvalid.
func (p Path) Clean() (Path, error) {
	if p == "" || p == "." {
		return ".", nil
	}
	bad := func(why string) (Path, error) {
		return "", station.Errorf(station.ErrInvalid, "bad_path", "The path %q cannot be used: %s.", shorten(p), why)
	}
	if len(p) > maxPath {
		return bad("it is too long; use shorter names or fewer folders")
	}
	if strings.IndexByte(string(p), 0) >= 0 {
		return bad("it has a zero byte; leave that out")
	}
	for part := range strings.SplitSeq(string(p), "/") {
		switch {
		case part == "":
			return bad("begin it below the home, and put one slash between names")
		case part == "." || part == "..":
			return bad("write it out without . and ..")
		case len(part) > maxName:
			return bad("a name has at most 255 bytes; shorten it")
		}
	}
	return p, nil
}

// Home says whether p is the home itself.
func (p Path) Home() bool { return p == "." || p == "" }

// Join is a path below p.
func (p Path) Join(name string) Path {
	if p.Home() {
		return Path(name)
	}
	return p + "/" + Path(name)
}

// Base is the last name of p.
func (p Path) Base() string { return path.Base(string(p)) }

// split is the folder that p is in, and its name there.
func (p Path) split() (dir Path, base string) {
	i := strings.LastIndexByte(string(p), '/')
	if i < 0 {
		return ".", string(p)
	}
	return p[:i], string(p[i+1:])
}

// within says whether p is q or lies below it.
func (p Path) within(q Path) bool {
	return q.Home() || p == q || strings.HasPrefix(string(p), string(q)+"/")
}

// shorten is a path for a sentence: in percent form, and not endless.
func shorten(p Path) string {
	s := p.String()
	if len(s) <= 200 {
		return s
	}
	return "…" + strings.ToValidUTF8(s[len(s)-200:], "")
}
