package egress_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// serveInternet starts the servers of the internet namespace, on all of its
// addresses. It is called on a thread in it.
func serveInternet() error {
	web := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "host=%s path=%s", r.Host, r.URL.Path)
	})
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	secure := &tls.Config{Certificates: []tls.Certificate{cert}}
	for _, port := range []string{"80", "8000"} {
		if err := serveStream(":"+port, func(ln net.Listener) { _ = http.Serve(ln, web) }); err != nil {
			return err
		}
	}
	for _, port := range []string{"443", "8443"} {
		if err := serveStream(":"+port, func(ln net.Listener) { _ = quiet(web).Serve(tls.NewListener(ln, secure)) }); err != nil {
			return err
		}
	}
	if err := serveStream(":7", accept(func(c net.Conn) { _, _ = io.Copy(c, c) })); err != nil {
		return err
	}
	if err := serveStream(":9", accept(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })); err != nil {
		return err
	}
	if err := serveStream(":19", accept(func(c net.Conn) { _, _ = io.Copy(c, zeros{}) })); err != nil {
		return err
	}
	if err := serveStream(":53", accept(func(c net.Conn) {
		for {
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err != nil {
				return
			}
			b := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			answer := zoneAnswer(b, 65535)
			_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
		}
	})); err != nil {
		return err
	}
	for _, at := range []string{nameServer + ":53", webAddr + ":53"} {
		if err := servePacket(at, func(b []byte) []byte { return zoneAnswer(b, 1232) }); err != nil {
			return err
		}
	}
	for _, a := range append([]string{webAddr, webAddr6}, append(forbidden4, forbidden6...)...) {
		if err := servePacket(net.JoinHostPort(a, "7"), func(b []byte) []byte { return b }); err != nil {
			return err
		}
	}
	return nil
}

// quiet says nothing of handshakes that fail: tests make them fail.
func quiet(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
}

// serveHost starts what on the host must not be reached: the gateway's and the
// database's listeners.
func serveHost() error {
	hello := accept(func(c net.Conn) { _, _ = io.WriteString(c, "the host itself") })
	for _, at := range []string{":8080", "127.0.0.1:5432"} {
		if err := serveStream(at, hello); err != nil {
			return err
		}
	}
	for _, a := range []string{hostPublic, hostPublic6, "127.0.0.1"} {
		if err := servePacket(net.JoinHostPort(a, "7"), func(b []byte) []byte { return b }); err != nil {
			return err
		}
	}
	return nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func serveStream(at string, serve func(net.Listener)) error {
	ln, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	go serve(ln)
	return nil
}

func accept(f func(net.Conn)) func(net.Listener) {
	return func(ln net.Listener) {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}
}

func servePacket(at string, f func([]byte) []byte) error {
	conn, err := net.ListenPacket("udp", at)
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := f(buf[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// zone is the world's DNS. "flip." names change with every question.
var zone = map[string][]string{
	"good.example.":     {webAddr, webAddr6},
	"evil.example.":     {webAddr},
	"cdn-a.example.":    {cdnAddr},
	"cdn-b.example.":    {cdnAddr},
	"sub.wild.example.": {webAddr},
	"private.example.":  {privateAddr, private6},
	"meta.example.":     {metaAddr},
	"self.example.":     {hostPublic, hostPublic6},
	"loop.example.":     {"127.0.0.1", "::1"},
	"mapped.example.":   {"::ffff:10.1.2.3"},
	"mixed.example.":    {webAddr, privateAddr},
	"alias.example.":    {"good.example."},
	"cloak.example.":    {"private.example."},
}

var flips atomic.Int64

func zoneAnswer(b []byte, limit int) []byte {
	var m dnsmessage.Message
	if m.Unpack(b) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
	name := strings.ToLower(q.Name.String())
	values, known := zone[name]
	switch {
	case strings.HasPrefix(name, "flip."):
		values, known = []string{webAddr}, true
		if flips.Add(1)%2 == 0 {
			values = []string{privateAddr}
		}
	case name == "big.example.":
		known = true
		for i := range 200 {
			values = append(values, fmt.Sprintf("93.184.217.%d", i))
		}
	}
	if !known {
		out.RCode = dnsmessage.RCodeNameError
	}
	fillAnswers(&out, q.Name, values, q.Type)
	packed, err := out.Pack()
	if err == nil && len(packed) > limit {
		out.Truncated, out.Answers = true, nil
		packed, err = out.Pack()
	}
	if err != nil {
		return nil
	}
	return packed
}

func fillAnswers(out *dnsmessage.Message, name dnsmessage.Name, values []string, kind dnsmessage.Type) {
	for _, v := range values {
		h := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 1}
		switch a := net.ParseIP(v); {
		case a == nil:
			to := dnsmessage.MustNewName(v)
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: to}})
			fillAnswers(out, to, zone[v], kind)
			// An address that nobody asked for, and that answers.
			h.Name = dnsmessage.MustNewName("other.example.")
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: netip.MustParseAddr(cdnAddr).As4()}})
		case kind == dnsmessage.TypeA && !strings.Contains(v, ":"):
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: [4]byte(a.To4())}})
		case kind == dnsmessage.TypeAAAA && strings.Contains(v, ":"):
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: [16]byte(a.To16())}})
		}
	}
}
