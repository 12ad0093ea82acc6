package muxclient

import (
	"strings"
	"unicode/utf8"
)

// csiAsks says whether a control sequence is a query. body is what stands between
// CSI and the final byte.
func csiAsks(body string, final byte) bool {
	prefix, params := "", body
	if body != "" && body[0] >= '<' && body[0] <= '?' {
		prefix, params = body[:1], body[1:]
	}
	params, between := cutIntermediates(params)
	switch prefix + between + string(rune(final)) {
	case "c", "?c", ">c", "=c", // DA1, DA2, DA3
		"n", "?n", // DSR, CPR and their DEC forms
		"$p", "?$p", // DECRQM
		">q",  // XTVERSION
		"?u",  // kitty's keyboard
		"&u",  // DECRQUPSS
		"$u",  // DECRQTSR
		"x",   // DECREQTPARM
		"$w",  // DECRQPSR
		"*y",  // DECRQCRA
		"?S",  // XTSMGRAPHICS
		"?m",  // XTQMODKEYS
		"?g",  // XTQFMTKEYS
		"#R",  // XTREPORTCOLORS
		"#S",  // XTTITLEPOS
		"#|",  // XTREPORTSGR
		"'|",  // DECRQLP
		"\"v": // DECRQDE
		return true
	case "?h": // terminals that know 2048 report their size, at once
		return number(params) == "2048"
	case "t": // the reports of XTWINOPS
		first, _, _ := strings.Cut(params, ";")
		switch number(first) {
		case "11", "13", "14", "15", "16", "18", "19", "20", "21":
			return true
		}
	}
	return false
}

// cutIntermediates takes the intermediate bytes out, wherever they stand.
func cutIntermediates(body string) (params, between string) {
	for _, c := range []byte(body) {
		if c >= 0x20 && c < 0x30 {
			between += string(rune(c))
		} else {
			params += string(rune(c))
		}
	}
	return params, between
}

// number is a number without the zeros before it.
func number(s string) string { return strings.TrimLeft(s, "0") }

// text is what a string says to a terminal that leaves out controls, bytes that are
// no character, and the mark of the byte order.
func text(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == cDEL || r == utf8.RuneError || r == 0xfeff {
			return -1
		}
		return r
	}, string(b))
}

// asks says whether a string is a query. kind is what follows the ESC that begins it.
func asks(kind byte, body string) bool {
	switch kind {
	case ']':
		return oscAsks(body)
	case 'P':
		return dcsAsks(body)
	case '_':
		return apcAsks(body)
	}
	return false
}

// mayAsk says whether a string that begins so can become a query.
func mayAsk(kind byte, begin string) bool {
	switch kind {
	case ']':
		id, rest, known := strings.Cut(begin, ";")
		if !known {
			return true
		}
		switch id = number(id); id {
		case "52": // its text may be long, and is a question only when it is nothing but that
			_, data, known := strings.Cut(rest, ";")
			return !known || data == "?" || strings.HasPrefix(data, "?;")
		case "99":
			return !strings.Contains(rest, ";") || oscAsks(begin)
		case "4", "5", "21":
			return true
		}
		if marked(id) && rest == "" {
			return true
		}
		return tenColour(id) || oscAsks(begin)
	case 'P':
		return dcsFinal(begin) < 0 || dcsAsks(begin)
	case '_':
		return strings.HasPrefix(begin, "G") && (!strings.Contains(begin, ";") || apcAsks(begin))
	}
	return false
}

// tenColour is one of the dynamic colours of OSC.
func tenColour(id string) bool { return len(id) == 2 && id[0] == '1' && id[1] >= '0' && id[1] <= '9' }

func oscAsks(body string) bool {
	id, rest, _ := strings.Cut(body, ";")
	id = number(id)
	switch id {
	case "4", "5", "52": // colours, the clipboard
		return anyField(rest, ";", func(f string) bool { return f == "?" })
	case "21": // kitty's colours
		return anyField(rest, ";", func(f string) bool { return f == "?" || strings.HasSuffix(f, "=?") })
	case "60", "61": // XTQALLOWED, XTQDISALLOWED
		return true
	case "99": // what notifications kitty knows, and which are shown
		about, _, _ := strings.Cut(rest, ";")
		return anyField(about, ":", func(f string) bool { return f == "p=?" || f == "p=alive" })
	case "5113", "5522": // kitty's file transfer and clipboard: every step has an answer
		return true
	case "1337": // iTerm2
		name, _, value := strings.Cut(rest, "=")
		switch name {
		case "ReportCellSize", "Capabilities":
			return !value
		case "ReportVariable", "RequestUpload":
			return true
		}
	}
	return tenColour(id) && anyField(rest, ";", func(f string) bool { return f == "?" }) || marked(id) && strings.HasPrefix(rest, "?")
}

// marked are those OSC that ask when their text begins with a question mark: a
// property, the pointer's shape, fonts and other resources of rxvt-unicode and mintty.
func marked(id string) bool {
	switch id {
	case "3", "22", "39", "49", "50", "776", "7770", "7771", "7777":
		return true
	}
	return len(id) == 3 && id >= "701" && id <= "713"
}

func anyField(s, between string, is func(string) bool) bool {
	for f := range strings.SplitSeq(s, between) {
		if is(f) {
			return true
		}
	}
	return false
}

// dcsFinal is where the final byte of a device control string's head is, or -1.
func dcsFinal(body string) int {
	return strings.IndexFunc(body, func(r rune) bool { return r >= 0x40 })
}

// dcsAsks: DECRQSS, XTGETTCAP, XTGETXRES, and kitty's remote control, whose commands
// are answered.
func dcsAsks(body string) bool {
	i := dcsFinal(body)
	if i < 0 {
		return false
	}
	_, between := cutIntermediates(body[:i])
	switch between + body[i:i+1] {
	case "$q", "+q", "+Q":
		return true
	}
	return strings.HasPrefix(body, "@kitty-")
}

// apcAsks: kitty's graphics, of which that is answered which asks or has a number,
// unless it is told to be quiet.
func apcAsks(body string) bool {
	body, graphics := strings.CutPrefix(body, "G")
	control, _, _ := strings.Cut(body, ";")
	has := func(begin string) bool {
		return anyField(control, ",", func(f string) bool { return strings.HasPrefix(f, begin) })
	}
	return graphics && (has("a=q") || (has("i=") || has("I=")) && !has("q=2"))
}
