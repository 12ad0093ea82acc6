package egress_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"staithe/internal/egress"
	"staithe/internal/rootlesstest"
	"staithe/internal/station"
)

// box is a sandbox as the network sees it: a process in user and network
// namespaces of its own, that does what it is told.
type box struct {
	t   testing.TB
	cmd *exec.Cmd
	mu  sync.Mutex
	in  io.Writer
	out *json.Decoder
}

// order is one thing to do inside.
type order struct {
	Do   string // dial, send, udp, dns, tls, flood, pull, push, hold, route
	Addr string
	Send raw
	Name string // a question; TLS's SNI; a held connection
	N    int
}

// report is what came of it.
type report struct {
	Err   string   // refused, reset, unreachable, timeout, closed, or the error's text
	Got   raw      // bytes that came back
	Addrs []string // of a DNS answer
	RCode string
	N     int64
	Took  time.Duration
}

// raw is bytes, which JSON takes for text otherwise.
type raw string

func (r raw) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString([]byte(r))), nil }

func (r *raw) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*r = raw(b)
	return err
}

const boxPatience = 10 * time.Second

// newBox starts one.
func newBox(t testing.TB) *box {
	t.Helper()
	needWorld(t)
	cmd := rootBox(t)
	if os.Geteuid() != 0 {
		cmd = rootlessBox(t)
	}
	cmd.Env = []string{partEnv + "=" + partBox, "PATH=" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE")}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &box{t: t, cmd: cmd, in: in, out: json.NewDecoder(out)}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	b.do(order{Do: "hello"})
	return b
}

// rootBox is in namespaces with the ids that a server which is root gives.
func rootBox(t testing.TB) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	cmd := exec.Command(boxProgram(t))
	m := []syscall.SysProcIDMap{{ContainerID: 0, HostID: station.HostUID(7, 0), Size: station.UIDRangeSize}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: m, GidMappings: m, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{},
	}
	return cmd
}

// boxProgram is this program where a sandbox's uid can execute it.
func boxProgram(t testing.TB) string {
	t.Helper()
	path := filepath.Join(testFolder, "box")
	if _, err := os.Stat(path); err != nil {
		if err := rootlesstest.Copy("/proc/self/exe", path); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// rootlessBox is in namespaces with the ids that a server which is not root
// gives: the guest's uid 0 is one of /etc/subuid, not the server's own.
func rootlessBox(t testing.TB) *exec.Cmd {
	t.Helper()
	holder := exec.Command("cat")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET}
	if _, err := holder.StdinPipe(); err != nil { // it ends with us
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		holder.Process.Kill()
		holder.Wait()
	})
	pid := strconv.Itoa(holder.Process.Pid)
	for tool, own := range map[string]int{"newuidmap": os.Getuid(), "newgidmap": os.Getgid()} {
		out, err := exec.Command(tool, pid, "0", "1000000", "1000", "1000", strconv.Itoa(own), "1", "1001", "1001000", "60000").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v %s", tool, err, out)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command("nsenter", "--user", "--net", "--target", pid, self)
}

func (b *box) pid() int { return b.cmd.Process.Pid }

// spec is what a fleet would say of this box.
func (b *box) spec(policy station.NetworkPolicy) egress.Spec {
	return egress.Spec{Session: station.NewID(), Policy: policy, NetNS: fmt.Sprintf("/proc/%d/ns/net", b.pid()), Owner: b.pid(), Until: b.pid()}
}

// do has one order carried out.
func (b *box) do(o order) report {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	line, err := json.Marshal(o)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		b.t.Fatal(err)
	}
	var r report
	if err := b.out.Decode(&r); err != nil {
		b.t.Fatalf("%+v: %v", o, err)
	}
	return r
}

// boxMain is the program inside.
func boxMain() error {
	held := map[string]net.Conn{}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return err
		}
		r := obey(o, held)
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func obey(o order, held map[string]net.Conn) report {
	begin := time.Now()
	var r report
	var err error
	switch o.Do {
	case "hello":
	case "dial":
		r.Got, err = talk("tcp", o)
	case "udp":
		r.Got, err = talk("udp", o)
	case "dns", "dns-tcp":
		r, err = askDNS(o)
	case "tls":
		r.Got, err = talkTLS(o)
	case "hold":
		var c net.Conn
		if c, err = net.DialTimeout("tcp", o.Addr, boxPatience); err == nil {
			held[o.Name] = c
		}
	case "echo":
		r.Got, err = converse(held[o.Name], o.Send)
	case "flood":
		r.N, err = flood(o, held)
	case "udpflood":
		r.N, err = udpFlood(o)
	case "pull", "push":
		r.N, err = stream(o)
	case "listen":
		var ln net.Listener
		if ln, err = net.Listen("tcp", o.Addr); err == nil {
			go accept(func(c net.Conn) { _, _ = io.WriteString(c, "inside") })(ln)
		}
	case "drop":
		for name, c := range held {
			c.Close()
			delete(held, name)
		}
	case "synflood":
		r.N, err = synFlood(o)
	case "retry":
		for r.Got == "" && time.Since(begin) < 4*boxPatience {
			r.Got, err = talk("tcp", o)
		}
	case "links":
		r.Got, err = links()
	case "dial-close":
		r.Got, err = talkToTheEnd(o, len(o.Send)+1)
	case "dribble":
		r.Got, err = talkToTheEnd(o, 7)
	default:
		err = errors.New("no such order")
	}
	r.Err, r.Took = classify(err), time.Since(begin)
	return r
}

// classify names the errors that tests look for.
func classify(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return ""
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return "reset"
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EADDRNOTAVAIL):
		return "unreachable"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF):
		return "closed"
	}
	return err.Error()
}

// talk sends once and reads what comes until a pause or the end.
func talk(network string, o order) (raw, error) {
	c, err := net.DialTimeout(network, o.Addr, boxPatience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return converse(c, o.Send)
}

// links are the names of the interfaces.
func links() (raw, error) {
	all, err := net.Interfaces()
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return raw(strings.Join(names, " ")), err
}

// talkToTheEnd sends in pieces, says that it has said all, and reads to the end.
func talkToTheEnd(o order, piece int) (raw, error) {
	c, err := net.DialTimeout("tcp", o.Addr, boxPatience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(boxPatience)); err != nil {
		return "", err
	}
	for b := o.Send; b != ""; b = b[min(piece, len(b)):] {
		if _, err := io.WriteString(c, string(b[:min(piece, len(b))])); err != nil {
			return "", err
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return raw(b), err
}

func converse(c net.Conn, send raw) (raw, error) {
	if c == nil {
		return "", errors.New("no such connection")
	}
	if err := c.SetDeadline(time.Now().Add(boxPatience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, string(send)); err != nil {
		return "", err
	}
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	return raw(buf[:n]), err
}

func talkTLS(o order) (raw, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: boxPatience}, "tcp", o.Addr, &tls.Config{ServerName: o.Name, InsecureSkipVerify: true})
	if err != nil {
		return "", err
	}
	defer c.Close()
	return converse(c, o.Send)
}

func askDNS(o order) (report, error) {
	var r report
	kind := dnsmessage.TypeA
	if o.N != 0 {
		kind = dnsmessage.Type(o.N)
	}
	name, err := dnsmessage.NewName(o.Name + ".")
	if err != nil {
		return r, err
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 77, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: name, Type: kind, Class: dnsmessage.ClassINET}}}
	q, err := m.Pack()
	if err != nil {
		return r, err
	}
	var got raw
	if o.Do == "dns-tcp" {
		got, err = talk("tcp", order{Addr: o.Addr, Send: raw([]byte{byte(len(q) >> 8), byte(len(q))}) + raw(q)})
		if len(got) > 2 {
			got = got[2:]
		}
	} else {
		got, err = talk("udp", order{Addr: o.Addr, Send: raw(q)})
	}
	if err != nil {
		return r, err
	}
	var a dnsmessage.Message
	if err := a.Unpack([]byte(got)); err != nil {
		return r, err
	}
	r.RCode, r.N = strings.TrimPrefix(a.RCode.String(), "RCode"), int64(len(got))
	if a.Truncated {
		r.Got = "truncated"
	}
	for _, rr := range a.Answers {
		switch b := rr.Body.(type) {
		case *dnsmessage.AResource:
			r.Addrs = append(r.Addrs, net.IP(b.A[:]).String())
		case *dnsmessage.AAAAResource:
			r.Addrs = append(r.Addrs, net.IP(b.AAAA[:]).String())
		}
	}
	return r, nil
}

// flood opens N connections and keeps them; it returns how many there are.
func flood(o order, held map[string]net.Conn) (int64, error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	var count int64
	slots := make(chan struct{}, 64)
	for i := range o.N {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			c, err := net.DialTimeout("tcp", o.Addr, boxPatience)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			held[fmt.Sprintf("%s%d", o.Name, i)] = c
			count++
		})
	}
	all.Wait()
	return count, nil
}

// synFlood begins N connections and waits for none.
func synFlood(o order) (int64, error) {
	ap, err := netip.ParseAddrPort(o.Addr)
	if err != nil {
		return 0, err
	}
	var count int64
	for range o.N {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return count, err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}); errors.Is(err, unix.EINPROGRESS) {
			count++
		}
		unix.Close(fd)
	}
	return count, nil
}

// udpFlood sends N datagrams from as many sockets as it can.
func udpFlood(o order) (int64, error) {
	var sent int64
	payload := bytes.Repeat([]byte("x"), 1200)
	for range o.N {
		c, err := net.Dial("udp", o.Addr)
		if err != nil {
			return sent, err
		}
		if _, err := c.Write(payload); err == nil {
			sent++
		}
		c.Close()
	}
	return sent, nil
}

// stream moves N bytes one way.
func stream(o order) (int64, error) {
	c, err := net.DialTimeout("tcp", o.Addr, boxPatience)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if o.Do == "pull" {
		return io.CopyN(io.Discard, c, int64(o.N))
	}
	n, err := io.CopyN(c, zeros{}, int64(o.N))
	if err != nil {
		return n, err
	}
	// The other side closes when it has read all.
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return n, err
	}
	_, err = io.Copy(io.Discard, c)
	return n, err
}
