package wayout

import (
	"net/netip"
	"strings"
	"testing"

	"staithe/internal/egress/policy"
	"staithe/internal/station"
)

// checkOn is the check of a connection to a listed name's address.
func checkOn(t *testing.T, port uint16) *nameCheck {
	t.Helper()
	p, err := policy.Compile(station.NetworkPolicy{Mode: station.NetworkAllowList, Allow: []string{"good.example"}})
	if err != nil {
		t.Fatal(err)
	}
	return &nameCheck{policy: p, dst: netip.AddrPortFrom(netip.MustParseAddr("93.184.216.34"), port), refuse: func(string, string) {}}
}

// feed says what a server would get of text, cut into pieces of n bytes, and
// whether the connection was refused.
func feed(c *nameCheck, text string, n int) (got string, refused bool) {
	for len(text) > 0 {
		k := min(n, len(text))
		if c.passed {
			return got + text, false
		}
		pass, err := c.add([]byte(text[:k]))
		if got += string(pass); err != nil {
			return got, true
		}
		text = text[k:]
	}
	pass, err := c.end()
	return got + string(pass), err != nil
}

// TestAbuse36_HostOnOtherPorts: servers differ in what they take for a request;
// what any of them would, for a host that is not listed, passes on no port.
func TestAbuse36_HostOnOtherPorts(t *testing.T) {
	const evil = "Host: evil.example\r\n\r\n"
	for _, text := range []string{
		"GET / HTTP/1.1\r\n" + evil,
		"\r\nGET / HTTP/1.1\r\n" + evil,
		"\n\r\n\nGET / HTTP/1.1\r\n" + evil,
		" \tGET / HTTP/1.1\r\n" + evil,
		"GET\t/\tHTTP/1.1\r\n" + evil,
		"GET\v/ HTTP/1.1\r\n" + evil,
		"GET / http/1.1\r\n" + evil,
		"GET http://evil.example/\r\n",
		"GET HTTPS://evil.example/",
		strings.Repeat("A", 33) + " / HTTP/1.1\r\n" + evil,
		strings.Repeat("A", 40<<10) + " / HTTP/1.1\r\n" + evil,
		"GET /" + strings.Repeat("a", 40<<10) + " HTTP/1.1\r\n" + evil,
	} {
		for _, port := range []uint16{80, 8080} {
			for _, pieces := range []int{len(text), 1000} {
				got, refused := feed(checkOn(t, port), text, pieces)
				if !refused || strings.Trim(got, " \t\r\n") != "" {
					t.Errorf("port %d, %.40q: %.40q passed, refused: %v", port, text, got, refused)
				}
			}
		}
	}
}

// TestOtherProtocolsPass: what is no request reaches its server whole, also
// when nothing ends the line and when the client says no more.
func TestOtherProtocolsPass(t *testing.T) {
	for _, text := range []string{
		"SSH-2.0-x\r\n", "PING", "STATUS now", "\r\n", "\r\n\r\nEHLO x\r\n", "{\"method\": \"x\"}", "\x00\x01\x02", "get http_key\r\n", "GET /\r\n",
		"0033git-upload-pack /project.git\x00host=good.example\x00", strings.Repeat("0a", 100) + "\n",
	} {
		for _, pieces := range []int{len(text), 1} {
			if got, refused := feed(checkOn(t, 9418), text, pieces); got != text || refused {
				t.Errorf("%.60q became %.60q, refused: %v", text, got, refused)
			}
		}
	}
	// What waits for an answer must not be waited with.
	for _, text := range []string{"\r\n", "0033git-upload-pack /project.git\x00host=good.example\x00"} {
		if pass, err := checkOn(t, 9418).add([]byte(text)); string(pass) != text || err != nil {
			t.Errorf("%q: %q %v", text, pass, err)
		}
	}
	// A listed host's request passes behind blank lines too.
	got, refused := feed(checkOn(t, 8080), "\r\nGET / HTTP/1.1\r\nHost: good.example\r\n\r\n", 3)
	if !strings.HasPrefix(got, "\r\nGET / HTTP/1.1\r\nHost: good.example\r\n") || refused {
		t.Errorf("%q %v", got, refused)
	}
}
