package policy

import (
	"bytes"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Head is the head of an HTTP/1 request.
type Head struct {
	Host string // as CleanName has it; the host it is for
	Port uint16 // as the Host field says; 0: not
	// Clean is the head to send on: the same request, told to be the
	// connection's only one (RFC 9112, 9.6). What would follow on the same
	// connection could name another host.
	Clean []byte
	Size  int // bytes of the head as it came
}

// blanks are what some server takes for the end of a method, and skips before it.
const blanks = " \t\v\f\r\n"

// maxLine is how much of a first line is waited for.
const maxLine = 8 << 10

// Blank is how many bytes at the start of b servers skip before a request (RFC
// 9112, 2.2, and what the lenient do).
func Blank(b []byte) int { return len(b) - len(bytes.TrimLeft(b, blanks)) }

// LooksLikeHTTP says whether the first bytes may be an HTTP request to some
// server, however lenient: a word, a blank, and HTTP or an absolute address in
// the same line. The error is ErrShort while they cannot be told from one.
func LooksLikeHTTP(b []byte) (bool, error) {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	for i, c := range line {
		if strings.IndexByte(blanks, c) >= 0 {
			return lineLooksLikeHTTP(line[i:], whole)
		}
		if !isToken(c) {
			return false, nil
		}
	}
	// One word so far. There are servers that take a method of any length.
	if !whole && len(line) <= maxLine {
		return false, ErrShort
	}
	return !whole, nil
}

// lineLooksLikeHTTP is LooksLikeHTTP for what follows the first word.
func lineLooksLikeHTTP(rest []byte, whole bool) (bool, error) {
	for _, c := range rest {
		if c < ' ' && strings.IndexByte(blanks, c) < 0 || c == 0x7f {
			return false, nil // no server takes it; git's own protocol has a zero, and no end of the line
		}
	}
	switch {
	case whole:
		return SpeaksOfHTTP(rest), nil
	case len(rest) > maxLine:
		return true, nil
	}
	return false, ErrShort
}

// SpeaksOfHTTP says whether a line, or the piece that there is of one, can make
// a server take it for a request to some host.
func SpeaksOfHTTP(line []byte) bool {
	low := bytes.ToLower(line)
	return bytes.Contains(low, []byte("http/")) || bytes.Contains(low, []byte("http://")) || bytes.Contains(low, []byte("https://"))
}

// RequestHead reads the head of an HTTP/1 request at the start of b. It is
// strict where servers differ: what could be read in two ways is refused. The
// error is ErrShort while the head is not whole; any other says why not.
func RequestHead(b []byte) (Head, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		switch {
		case len(b) > MaxHello:
			return Head{}, errors.New("the HTTP head is too long")
		case bytes.Contains(b, []byte("\n\n")):
			return Head{}, errors.New("the HTTP head has bare line ends")
		}
		return Head{}, ErrShort
	}
	lines := strings.Split(string(b[:end]), "\r\n")
	for _, l := range lines {
		if strings.ContainsAny(l, "\r\n\x00") {
			return Head{}, errors.New("the HTTP head has bare line ends")
		}
	}
	host, fields, err := readFields(lines[1:])
	if err != nil {
		return Head{}, err
	}
	h := Head{Size: end + 4}
	if h.Host, h.Port, err = splitHost(host); err != nil {
		return Head{}, err
	}
	if err := checkTarget(lines[0], h); err != nil {
		return Head{}, err
	}
	clean := append([]string{lines[0]}, fields...)
	h.Clean = []byte(strings.Join(append(clean, "Connection: close"), "\r\n") + "\r\n\r\n")
	return h, nil
}

// readFields finds the one Host and drops what is said about the connection.
func readFields(lines []string) (host string, keep []string, err error) {
	found := false
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		if !ok || name == "" || strings.TrimFunc(name, func(r rune) bool { return r < 0x80 && isToken(byte(r)) }) != "" {
			return "", nil, errors.New("an HTTP field is malformed")
		}
		switch strings.ToLower(name) {
		case "host":
			if found {
				return "", nil, errors.New("the HTTP request has two Host fields")
			}
			host, found = strings.Trim(value, " \t"), true
		case "connection", "proxy-connection", "keep-alive", "upgrade", "http2-settings":
			continue
		}
		keep = append(keep, l)
	}
	if !found {
		return "", nil, errors.New("the HTTP request has no Host")
	}
	return host, keep, nil
}

func splitHost(host string) (string, uint16, error) {
	name, portText, hasPort := strings.Cut(host, ":")
	var port uint64
	if hasPort {
		var err error
		if port, err = strconv.ParseUint(portText, 10, 16); err != nil {
			return "", 0, errors.New("the HTTP Host is malformed")
		}
	}
	clean := CleanName(name)
	if _, err := netip.ParseAddr(clean); clean == "" || err == nil {
		return "", 0, errors.New("the HTTP Host is no name")
	}
	return clean, uint16(port), nil
}

// checkTarget wants a request line whose target is of the same host.
func checkTarget(line string, h Head) error {
	parts := strings.Split(line, " ")
	if len(parts) != 3 || parts[0] == "" || parts[2] != "HTTP/1.1" && parts[2] != "HTTP/1.0" {
		return errors.New("the HTTP request line is malformed, or is not HTTP/1")
	}
	if strings.TrimFunc(parts[0], func(r rune) bool { return r < 0x80 && isToken(byte(r)) }) != "" {
		return errors.New("the HTTP method is malformed")
	}
	switch target := parts[1]; {
	case parts[0] == "CONNECT":
		return errors.New("CONNECT would tunnel to another host")
	case strings.HasPrefix(target, "/"), target == "*":
		return nil
	default:
		u, err := url.Parse(target)
		if err != nil || u.Scheme != "http" || u.User != nil {
			return errors.New("the HTTP target is malformed")
		}
		if name, _, err := splitHost(u.Host); err != nil || name != h.Host {
			return errors.New("the HTTP target is of another host than Host")
		}
		return nil
	}
}

// isToken is RFC 9110's tchar.
func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
