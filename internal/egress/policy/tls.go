package policy

import (
	"encoding/binary"
	"errors"
)

// ErrShort says that more bytes are needed before anything can be said.
var ErrShort = errors.New("more bytes are needed")

// MaxHello bounds what is read of a connection's first message.
const MaxHello = 32 << 10

// maxRecords bounds the records that one message may be cut into. Each byte that
// comes is another look at all of them; clients use one or two.
const maxRecords = 64

const (
	recordHandshake = 22
	clientHello     = 1

	extServerName = 0
	extECH        = 0xfe0d // RFC 9849, and the drafts before it
)

// ServerName finds the name that a TLS client asks for (SNI, RFC 6066) in the
// first bytes of a connection: a ClientHello, in one or several records. The
// error is ErrShort while the message is not whole; any other error says in
// words why no name can be trusted.
func ServerName(b []byte) (string, error) {
	hello, err := handshake(b)
	if err != nil {
		return "", err
	}
	return helloName(hello)
}

// handshake puts the first handshake message together from its records.
func handshake(b []byte) ([]byte, error) {
	var msg []byte
	for records := 0; ; records++ {
		if records > maxRecords {
			return nil, errors.New("the ClientHello is in too many pieces")
		}
		if len(msg) >= 4 {
			if msg[0] != clientHello {
				return nil, errors.New("TLS does not begin with a ClientHello")
			}
			n := int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3])
			if n > MaxHello {
				return nil, errors.New("the ClientHello is too long")
			}
			if len(msg) >= 4+n {
				return msg[4 : 4+n], nil
			}
		}
		if len(b) >= 1 && b[0] != recordHandshake || len(b) >= 2 && b[1] != 3 {
			return nil, errors.New("the bytes are no TLS handshake")
		}
		if len(b) < 5 {
			return nil, short(len(msg) + len(b))
		}
		n := int(binary.BigEndian.Uint16(b[3:5]))
		if n == 0 || n > 1<<14 {
			return nil, errors.New("a TLS record has a bad length")
		}
		if len(b) < 5+n {
			return nil, short(len(msg) + len(b))
		}
		msg = append(msg, b[5:5+n]...)
		b = b[5+n:]
	}
}

func short(have int) error {
	if have > MaxHello {
		return errors.New("the ClientHello is too long")
	}
	return ErrShort
}

// helloName reads the body of a ClientHello (RFC 8446, 4.1.2).
func helloName(b []byte) (string, error) {
	errBad := errors.New("the ClientHello is malformed")
	r := reader{b: b}
	r.skip(2 + 32) // version, random
	r.bytes8()     // session
	r.bytes16()    // cipher suites
	r.bytes8()     // compression
	exts := reader{b: r.bytes16()}
	if r.bad || len(r.b) != 0 {
		return "", errBad
	}
	name, found := "", false
	for len(exts.b) > 0 {
		kind := exts.uint16()
		body := exts.bytes16()
		if exts.bad {
			return "", errBad
		}
		switch kind {
		case extECH:
			return "", errors.New("the TLS name is encrypted (ECH)")
		case extServerName:
			if found {
				return "", errors.New("the ClientHello names its server twice")
			}
			var ok bool
			if name, ok = serverNameList(body); !ok {
				return "", errBad
			}
			found = true
		}
	}
	if !found {
		return "", errors.New("TLS names no server (no SNI)")
	}
	return name, nil
}

// serverNameList reads a list of exactly one host name.
func serverNameList(b []byte) (string, bool) {
	r := reader{b: b}
	list := reader{b: r.bytes16()}
	kind := list.byte()
	host := list.bytes16()
	if r.bad || list.bad || len(r.b) != 0 || len(list.b) != 0 || kind != 0 {
		return "", false
	}
	name := CleanName(string(host))
	return name, name != ""
}

// reader takes fields from the front of b; bad is set when b was too short.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) skip(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.skip(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() int {
	if b := r.skip(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) bytes8() []byte  { return r.skip(int(r.byte())) }
func (r *reader) bytes16() []byte { return r.skip(r.uint16()) }
