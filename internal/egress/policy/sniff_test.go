package policy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hello is what Go's TLS client says first.
func hello(t testing.TB, sni string) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: sni, InsecureSkipVerify: true}).Handshake() // it ends when the pipe closes
	}()
	defer ours.Close()
	if err := ours.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16<<10)
	n, err := ours.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// inRecords cuts a hello's message into records of n bytes.
func inRecords(b []byte, n int) []byte {
	var out []byte
	for msg := b[5:]; len(msg) > 0; {
		k := min(n, len(msg))
		out = append(out, 22, 3, 1, byte(k>>8), byte(k))
		out = append(out, msg[:k]...)
		msg = msg[k:]
	}
	return out
}

func TestServerName(t *testing.T) {
	good := hello(t, "Good.example")
	for i := range good {
		if _, err := ServerName(good[:i]); !errors.Is(err, ErrShort) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
	for _, b := range [][]byte{good, append(bytes.Clone(good), "more"...), inRecords(good, len(good)/50), inRecords(good, 100)} {
		if name, err := ServerName(b); name != "good.example" || err != nil {
			t.Errorf("%q %v", name, err)
		}
	}
	ech := bytes.Clone(good)
	// The extension "extended master secret" (23) becomes ECH; its body is empty.
	at := bytes.LastIndex(ech, []byte{0, 23, 0, 0})
	if at < 0 {
		t.Fatal("no extension to change")
	}
	ech[at], ech[at+1] = 0xfe, 0x0d
	for what, b := range map[string][]byte{
		"no name": hello(t, ""), "an address": hello(t, "10.0.0.1"), "ECH": ech,
		"HTTP": []byte("GET / HTTP/1.1\r\n"), "SSL 2": {0x80, 0x2e, 1, 3, 1}, "empty records": bytes.Repeat([]byte{22, 3, 1, 0, 0}, 10),
		"another message": {22, 3, 1, 0, 4, 2, 0, 0, 0}, "too many pieces": inRecords(good, 1), "too long": {22, 3, 1, 0, 4, 1, 0xff, 0, 0},
	} {
		if name, err := ServerName(b); err == nil || errors.Is(err, ErrShort) {
			t.Errorf("%s: %q %v", what, name, err)
		}
	}
}

func FuzzServerName(f *testing.F) {
	f.Add(hello(f, "good.example"))
	f.Add(hello(f, ""))
	f.Add(inRecords(hello(f, "good.example"), 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		name, err := ServerName(b)
		if err != nil {
			return
		}
		if name == "" || CleanName(name) != name {
			t.Fatalf("%q", name)
		}
		// What stands cannot change by what comes later.
		if again, err := ServerName(append(bytes.Clone(b), b...)); again != name || err != nil {
			t.Fatalf("%q, then %q %v", name, again, err)
		}
	})
}

func TestRequestHead(t *testing.T) {
	req := "POST /x HTTP/1.1\r\nhost: Good.example:80\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\nA: b\r\n\r\nbody"
	h, err := RequestHead([]byte(req))
	if err != nil || h.Host != "good.example" || h.Port != 80 || req[h.Size:] != "body" {
		t.Fatalf("%+v %v", h, err)
	}
	if string(h.Clean) != "POST /x HTTP/1.1\r\nhost: Good.example:80\r\nA: b\r\nConnection: close\r\n\r\n" {
		t.Fatalf("%q", h.Clean)
	}
	if _, err := RequestHead([]byte("GET / HTTP/1.1\r\nHost: a")); !errors.Is(err, ErrShort) {
		t.Error(err)
	}
	if _, err := RequestHead(bytes.Repeat([]byte("a"), MaxHello+1)); err == nil || errors.Is(err, ErrShort) {
		t.Error(err)
	}
}

func FuzzRequestHead(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n", "GET http://good.example/ HTTP/1.1\r\nHost: good.example:80\r\n\r\nx",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = LooksLikeHTTP(b) // must not panic
		h, err := RequestHead(b)
		if err != nil {
			return
		}
		// Another reader must see the same host, and the end of the connection.
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(h.Clean)))
		if err != nil {
			return // it takes less than we do: then there is no request
		}
		host, _, _ := strings.Cut(r.Host, ":")
		if CleanName(host) != h.Host || !r.Close {
			t.Fatalf("we say %q, net/http says %q, close %v: %q", h.Host, r.Host, r.Close, h.Clean)
		}
	})
}
