package egress_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
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
	Send string
	Name string // a question; TLS's SNI; a held connection
	N    int
}

// report is what came of it.
type report struct {
	Err   string   // refused, reset, unreachable, timeout, closed, or the error's text
	Got   string   // bytes that came back
	Addrs []string // of a DNS answer
	RCode string
	N     int64
	Took  time.Duration
}

const boxPatience = 10 * time.Second

// newBox starts one.
func newBox(t testing.TB) *box {
	t.Helper()
	needWorld(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// The sandbox's uid must be able to execute it.
		self = filepath.Join(testFolder, "box")
		if _, err := os.Stat(self); err != nil {
			copyProgram(t, "/proc/self/exe", self)
		}
	}
	cmd := exec.Command(self)
	cmd.Env = []string{partEnv + "=" + partBox, "PATH=" + os.Getenv("PATH")}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		m := []syscall.SysProcIDMap{{ContainerID: 0, HostID: station.HostUID(7, 0), Size: station.UIDRangeSize}}
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = m, m
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
		cmd.SysProcAttr.Credential = &syscall.Credential{}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// Pdeathsig is of the thread: the one that starts it must live on.
	started := make(chan error)
	go lockedStart(cmd, started)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	b := &box{t: t, cmd: cmd, in: in, out: json.NewDecoder(out)}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if os.Geteuid() != 0 {
		mapIDs(t, cmd.Process.Pid)
	}
	b.do(order{Do: "hello"})
	return b
}

func lockedStart(cmd *exec.Cmd, started chan<- error) {
	// The main thread never ends.
	started <- cmd.Start()
}

// mapIDs gives the user namespace the ids that a server which is not root gives
// its sandboxes.
func mapIDs(t testing.TB, pid int) {
	t.Helper()
	for tool, own := range map[string]int{"newuidmap": os.Getuid(), "newgidmap": os.Getgid()} {
		out, err := exec.Command(tool, strconv.Itoa(pid), "0", "1000000", "1000", "1000", strconv.Itoa(own), "1", "1001", "1001000", "60000").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v %s", tool, err, out)
		}
	}
}

func copyProgram(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
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
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EINVAL):
		return "unreachable"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF):
		return "closed"
	}
	return err.Error()
}

// talk sends once and reads what comes until a pause or the end.
func talk(network string, o order) (string, error) {
	c, err := net.DialTimeout(network, o.Addr, boxPatience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return converse(c, o.Send)
}

func converse(c net.Conn, send string) (string, error) {
	if c == nil {
		return "", errors.New("no such connection")
	}
	if err := c.SetDeadline(time.Now().Add(boxPatience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, send); err != nil {
		return "", err
	}
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}

func talkTLS(o order) (string, error) {
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
	var got string
	if o.Do == "dns-tcp" {
		got, err = talk("tcp", order{Addr: o.Addr, Send: string([]byte{byte(len(q) >> 8), byte(len(q))}) + string(q)})
		if len(got) > 2 {
			got = got[2:]
		}
	} else {
		got, err = talk("udp", order{Addr: o.Addr, Send: string(q)})
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
