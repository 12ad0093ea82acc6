package transfer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Controls says whether a character may not reach a terminal: it controls it, or
// turns the direction of writing.
func Controls(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
}

// Inert is a sentence from elsewhere with nothing in it that a terminal would
// obey.
func Inert(s string) string {
	return strings.Map(func(r rune) rune {
		if Controls(r) {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// Quote is a name as a person reads it and a POSIX shell with $'…' takes it back:
// as it is where that is plain, else quoted; nothing in it is obeyed by a
// terminal.
func Quote(name string) string {
	plain, shown := name != "", utf8.ValidString(name)
	for _, r := range name {
		plain = plain && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-./:+,@%=", r))
		shown = shown && !Controls(r)
	}
	switch {
	case plain && shown && name[0] != '~':
		return name
	case shown:
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		switch {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == utf8.RuneError && n <= 1 || Controls(r):
			for _, c := range []byte(name[i : i+n]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String() + "'"
}
