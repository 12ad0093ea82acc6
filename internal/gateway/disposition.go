package gateway

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// disposition is the Content-Disposition header of a download (RFC 6266): never
// shown in place, under a name that is only a name, whatever the file is called.
// The plain form is for clients that do not know the one of RFC 8187.
func disposition(name string) string {
	name = harmlessName(name)
	var plain, coded strings.Builder
	for _, r := range name {
		if r < 0x80 && r != '"' && r != '\\' && r != '%' { // a % would be decoded by some
			plain.WriteRune(r)
		} else {
			plain.WriteByte('_')
		}
	}
	for _, c := range []byte(name) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			coded.WriteByte(c)
		} else {
			coded.WriteByte('%')
			coded.WriteByte("0123456789ABCDEF"[c>>4])
			coded.WriteByte("0123456789ABCDEF"[c&15])
		}
	}
	return `attachment; filename="` + plain.String() + `"; filename*=UTF-8''` + coded.String()
}

// harmlessName is a file's name as text: what controls a screen, turns the
// direction of writing, is no character, or separates folders somewhere is "_".
func harmlessName(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r == utf8.RuneError || r == '/' || r == '\\' || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
			r = '_'
		}
		b.WriteRune(r)
	}
	if s := b.String(); strings.Trim(s, ". ") != "" {
		return s
	}
	return "download"
}
