package wayout

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// upstream asks the host's name servers. It is safe for concurrent use.
type upstream struct {
	path string // a resolv.conf

	mu      sync.Mutex
	servers []netip.AddrPort
	read    time.Time // when the file was last looked at
}

const (
	askTimeout  = 3 * time.Second // one server, one try
	rereadAfter = 5 * time.Second
	maxServers  = 3 // as the C library has it
)

// ask asks one server after the other until one answers.
func (u *upstream) ask(ctx context.Context, q dnsmessage.Question) (*dnsmessage.Message, error) {
	servers := u.list()
	if len(servers) == 0 {
		return nil, errors.New("the host has no name server")
	}
	var last error
	for range 2 {
		for _, s := range servers {
			m, err := exchange(ctx, "udp", s, q)
			if err == nil && m.Truncated {
				m, err = exchange(ctx, "tcp", s, q)
			}
			if err == nil && m.RCode != dnsmessage.RCodeServerFailure {
				return m, nil
			}
			if err == nil {
				err = errors.New("the name server failed")
			}
			last = err
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return nil, last
}

// list reads the host's configuration, which may change while we run.
func (u *upstream) list() []netip.AddrPort {
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(u.read) < rereadAfter {
		return u.servers
	}
	u.read = time.Now()
	f, err := os.Open(u.path)
	if err != nil {
		return u.servers // what was known is better than nothing
	}
	defer f.Close()
	u.servers = readServers(f)
	return u.servers
}

func readServers(r io.Reader) []netip.AddrPort {
	var out []netip.AddrPort
	for s := bufio.NewScanner(io.LimitReader(r, 64<<10)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 2 || f[0] != "nameserver" || len(out) == maxServers {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53))
		}
	}
	return out
}

// exchange asks one server once. By UDP it takes the first answer that is to
// this question; others are forged or late.
func exchange(ctx context.Context, network string, server netip.AddrPort, q dnsmessage.Question) (*dnsmessage.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	var id [2]byte
	rand.Read(id[:])
	m := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: binary.BigEndian.Uint16(id[:]), RecursionDesired: true},
		Questions:   []dnsmessage.Question{q},
		Additionals: []dnsmessage.Resource{ednsRecord()},
	}
	ask, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("encode query: %w", err)
	}
	if network == "tcp" {
		return overTCP(conn, ask, m)
	}
	if _, err := conn.Write(ask); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if got, ok := readAnswer(buf[:n], m.ID, q); ok {
			return got, nil
		}
	}
}

func overTCP(conn net.Conn, ask []byte, m dnsmessage.Message) (*dnsmessage.Message, error) {
	if err := writeFramed(conn, ask); err != nil {
		return nil, err
	}
	b, err := readFramed(conn)
	if err != nil {
		return nil, err
	}
	got, ok := readAnswer(b, m.ID, m.Questions[0])
	if !ok {
		return nil, errors.New("the name server answered something else")
	}
	return got, nil
}

// readAnswer reads a server's answer to a question.
func readAnswer(b []byte, id uint16, q dnsmessage.Question) (*dnsmessage.Message, bool) {
	var m dnsmessage.Message
	if m.Unpack(b) != nil || !m.Response || m.ID != id || len(m.Questions) != 1 {
		return nil, false
	}
	got := m.Questions[0]
	if got.Type != q.Type || got.Class != q.Class || !strings.EqualFold(got.Name.String(), q.Name.String()) {
		return nil, false
	}
	return &m, true
}

// DNS over TCP puts a length before each message (RFC 1035, 4.2.2).
func writeFramed(w io.Writer, b []byte) error {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b)))
	_, err := w.Write(append(framed, b...))
	return err
}

func readFramed(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}
