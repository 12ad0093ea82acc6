package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"staithe/internal/station"
	"staithe/internal/wire"
)

// TestHardenedSession is the life of a session with a kernel of its own: made,
// typed into from a terminal and over the wire, out into the network as far as
// its class lets it, frozen and woken with its shell, through the death of its
// server, stopped and woken with its tab, attacked, and deleted to the last trace.
func TestHardenedSession(t *testing.T) {
	h := newHardened(t)
	api := h.s.bearer(h.s.token)
	var v station.Session
	api.must(201, "POST", "/sessions", map[string]string{"name": "hard", "class": "hardened"}, &v)
	if v.State != station.StateRunning || v.Class != "hardened" {
		t.Fatalf("%+v", v)
	}
	h.id = v.ID
	before := h.sandbox()

	c := startConsole(t, h.s, "attach", "hard")
	c.key("echo typed-$((40+2)); cat /proc/version; id -u\r")
	c.see("typed-42")
	c.see("\r\n1000\r\n")
	if kernel, err := os.ReadFile("/proc/version"); err != nil || strings.Contains(c.text(), strings.TrimSpace(string(kernel))) {
		t.Errorf("it sees the host's kernel: %v\n%s", err, c.text())
	}
	c.key("\x1c") // ctrl-\
	c.see("detached")
	h.network("as made")

	raw, status := h.s.rawMux("hard")
	if status != 0 {
		t.Fatal(status)
	}
	raw.Say(&wire.Hello{Client: "client-of-this-test"})
	raw.Next("welcome")
	raw.Say(&wire.Open{Req: wire.StringReq("r"), Name: "work", Cols: 90, Rows: 30})
	tab := raw.Next("attached").(*wire.Attached)
	raw.Send(wire.AppendFrame(nil, tab.Channel, []byte("cd /usr/share; kept=23; sleep 1000 & echo job-$!. set-$((kept))\n")))
	seeRaw(raw, tab.Channel, "set-23")
	api.must(200, "POST", "/sessions/hard/sleep", nil, &v)
	if code := raw.CloseCode(patient); v.State != station.StateAsleep || code != wire.CloseAsleep {
		t.Errorf("%+v, closed with %d", v, code)
	}
	h.s.session("hard")
	if h.sandbox() != before {
		t.Log("this machine cannot freeze: the session was stopped")
	} else if got := h.typed("work", "echo still-$kept-$(jobs -r | wc -l)"); !strings.Contains(got, "still-23-1") {
		t.Errorf("after the thaw: %q", got)
	}
	h.network("after the thaw")

	pid := h.sandbox()
	h.s.kill()
	h.s.again()
	if v := h.s.see("hard"); v.State != station.StateRunning || h.sandbox() != pid {
		t.Errorf("after its server was killed: %+v, sandbox %d was %d", v, h.sandbox(), pid)
	}
	h.network("after its server was killed")

	api.must(200, "POST", "/sessions/hard/sleep?stop=true", nil, nil)
	h.s.session("hard")
	got := h.typed("work", "echo in-$PWD-$kept.")
	for _, want := range []string{"set-23", "was stopped; the shell below is new.", "in-/usr/share-."} {
		if !strings.Contains(got, want) {
			t.Errorf("after it was stopped, %q is not in %q", want, got)
		}
	}
	if h.sandbox() == pid {
		t.Error("it was not stopped")
	}
	h.network("after it was stopped")
	h.withstands()
	h.goneWithoutTrace()
}

// hardened is a server whose class hardened reaches one address of the host's.
type hardened struct {
	t      *testing.T
	s      *server
	id     station.ID
	traces *traces
	open   string // what the class lets through; empty: this machine has no address of its own
	shut   string // another port of that address
	lines  int    // typed so far
}

const patient = 20 * time.Second

// needRunsc skips, loudly, where no session has a kernel of its own.
func needRunsc(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, sessions with a kernel of their own: only a server that is root makes them; run the tests as root")
	}
	if _, err := exec.LookPath("runsc"); err != nil {
		t.Skip("SKIPPED, sessions with a kernel of their own: runsc is not installed; run tools/setup.sh test")
	}
}

func newHardened(t *testing.T) *hardened {
	t.Helper()
	needRunsc(t)
	h := &hardened{t: t}
	env := "hardened.network=internet"
	if addr := ownAddress(t); addr != "" {
		h.open, h.shut = greeter(t, addr), greeter(t, addr)
		env += ";hardened.allow=" + h.open
	} else {
		t.Log("NOT TRIED, the network of a session with a kernel of its own: this machine has only loopback addresses")
	}
	h.s = serve(t, "STAITHE_CLASS="+env)
	h.traces = newTraces(h.s.data)
	return h
}

// ownAddress is one of this machine's own that is not loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() && !ip.IP.IsLinkLocalUnicast() {
			return ip.IP.String()
		}
	}
	return ""
}

// greeter is a server that greets whoever connects.
func greeter(t *testing.T, addr string) string {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "greetings\n") // whether it is heard, the other side says
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// sandbox is the pid of the session's sandbox, which runsc must have made.
func (h *hardened) sandbox() int {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.s.data, "sandboxes", string(h.id), "record.json"))
	if err != nil {
		h.t.Fatal(err)
	}
	var rec struct {
		PID  int
		Kind string
	}
	if err := json.Unmarshal(b, &rec); err != nil || rec.Kind != "runsc" || rec.PID == 0 {
		h.t.Fatalf("%s %v", b, err)
	}
	return rec.PID
}

// network wants the session to reach what its class names, and nothing else of the
// host's, and that its person is told of what was refused.
func (h *hardened) network(when string) {
	h.t.Helper()
	if h.open == "" {
		return
	}
	_, gateway, _ := strings.Cut(strings.TrimPrefix(h.s.base, "http://"), ":")
	host, shutPort, _ := strings.Cut(h.shut, ":")
	var script strings.Builder
	for _, a := range []string{h.open, h.shut, "127.0.0.1:" + gateway, host + ":" + gateway, "169.254.169.254:80"} {
		ip, port, _ := strings.Cut(a, ":")
		fmt.Fprintf(&script, "echo \"%s $(timeout 20 bash -c 'exec 3<>/dev/tcp/%s/%s && read -t 10 x <&3 && echo $x' 2>/dev/null).\"; ", a, ip, port)
	}
	got := h.run(script.String())
	if !strings.Contains(got, h.open+" greetings.") || strings.Count(got, "greetings") != 1 || strings.Count(got, " .") != 4 {
		h.t.Errorf("%s it reaches:\n%s", when, got)
	}
	var st struct {
		Mode    string
		Refused []struct {
			Address string
			Port    int
		}
	}
	h.s.bearer(h.s.token).must(200, "GET", "/sessions/hard/network", nil, &st)
	told := false
	for _, r := range st.Refused {
		told = told || r.Address == host && fmt.Sprint(r.Port) == shutPort
	}
	if st.Mode != "internet" || !told {
		h.t.Errorf("%s its person is told %+v", when, st)
	}
}

// run runs a script in a shell of its own and returns what it said. Its connection
// ends with it: the session's is to sleep and to be deleted.
func (h *hardened) run(script string) string {
	h.t.Helper()
	raw, status := h.s.rawMux("hard")
	if status != 0 {
		h.t.Fatal(status)
	}
	defer raw.WS.CloseNow()
	raw.Say(&wire.Hello{Client: "client-of-this-test"})
	raw.Next("welcome")
	const end = "end-of-the-script"
	raw.Say(&wire.Open{Req: wire.StringReq("r"), Cols: 90, Rows: 30, Command: []string{"/bin/bash", "-c", "stty -opost; " + script + "\necho " + end}})
	channel := raw.Next("attached").(*wire.Attached).Channel
	var said string
	for !strings.Contains(said, end) {
		_, b, err := raw.WS.Read(h.t.Context())
		if err != nil {
			h.t.Fatalf("%v; it said %q", err, said)
		}
		if b[0] == channel {
			said += string(b[1:])
		}
	}
	return said
}

// typed types a line into a tab and returns what the tab shows once it answered.
func (h *hardened) typed(tab, line string) string {
	h.t.Helper()
	c := startConsole(h.t, h.s, "attach", "hard/"+tab)
	h.lines++ // what the tab showed before is shown again
	c.key(fmt.Sprintf("%s; echo done-$((%d+1000))\r", line, h.lines))
	c.see(fmt.Sprintf("done-%d", h.lines+1000))
	c.key("\x1c") // ctrl-\
	c.see("detached")
	return c.text()
}

// withstands: the real guest and the sentry withstand the session's shells, and
// what its kernel lets succeed reaches nothing of the host's.
func (h *hardened) withstands() {
	h.t.Helper()
	hostname, err := os.Hostname()
	if err != nil {
		h.t.Fatal(err)
	}
	out := h.run(`
		for sig in KILL TERM INT STOP; do kill -$sig 1 2>/dev/null && echo FOUND signal $sig; done
		for p in ` + h.s.data + ` /root/.ssh /var/run/docker.sock /etc/shadow /proc/1/root/ /proc/kcore; do
			[ -r "$p" ] && ls -A "$p" 2>/dev/null | head -n1 | grep -q . && echo FOUND $p
		done
		find / -xdev -name guest.sock 2>/dev/null | sed 's/^/FOUND /'
		mount -t tmpfs none /mnt 2>/dev/null && echo FOUND mount
		mknod /tmp/d b 8 0 2>/dev/null && echo FOUND mknod
		touch /usr/x /etc/x /x /run/staithe/x /run/staithe/made/x 2>/dev/null && echo FOUND writable
		su -c id root </dev/null 2>/dev/null | grep -q uid=0 && echo FOUND su
		grep CapEff /proc/self/status | grep -qv 0000000000000000 && echo FOUND capabilities`)
	if strings.Contains(out, "FOUND") {
		h.t.Errorf("from inside:\n%s", out)
	}
	if now, err := os.Hostname(); err != nil || now != hostname {
		h.t.Errorf("the host is called %s now, %v", now, err)
	}
	if got := h.run("echo alive"); !strings.Contains(got, "alive") {
		h.t.Errorf("after the attacks: %q", got)
	}
}

// goneWithoutTrace deletes the session.
func (h *hardened) goneWithoutTrace() {
	h.t.Helper()
	h.traces.sessions(h.t) // and remembers them
	h.s.bearer(h.s.token).must(http.StatusNoContent, "DELETE", "/sessions/hard", nil, nil)
	for _, p := range h.traces.processes(h.t) {
		if p.session == string(h.id) || strings.Contains(p.cmdline, string(h.id)) {
			h.t.Errorf("process %d is left: %s", p.pid, p.cmdline)
		}
	}
	for _, what := range h.traces.leftovers(h.t) {
		if strings.Contains(what, string(h.id)) {
			h.t.Errorf("left on the host: %s", what)
		}
	}
	left, err := filepath.Glob(filepath.Join(h.s.data, "*", string(h.id)))
	more, err2 := filepath.Glob(filepath.Join(h.s.data, "run", "*", string(h.id)))
	if left = append(left, more...); err != nil || err2 != nil || len(left) > 0 {
		h.t.Errorf("left in the data directory: %v %v %v", left, err, err2)
	}
}
