package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/muxclient/muxtest"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// Attacks on the whole: the running binary, real sandboxes. Most rows are
// tested nearer to where they are withstood; doc/security.md lists them all.

// shellOutput runs a script in a session's shell and returns what it said.
func shellOutput(t testing.TB, s *server, session, script string) string {
	t.Helper()
	_, out := openTab(t, s.mux(session), wire.Open{Command: []string{"/bin/bash", "-c", "stty -opost; " + script}})
	out.WaitExit(t)
	return out.Text()
}

// dial opens the mux with a ticket, as a page without a cookie would.
func (s *server) dial(t *testing.T, session station.ID, ticket string) (*muxtest.Raw, *http.Response, error) {
	t.Helper()
	ws, res, err := websocket.Dial(t.Context(), s.base+"/ws/sessions/"+string(session), &websocket.DialOptions{
		Subprotocols: []string{wire.Subprotocol, wire.TicketPrefix + ticket},
	})
	if err != nil {
		return nil, res, err
	}
	return muxtest.NewRaw(t, ws), res, nil
}

func (s *server) ticket(body map[string]any) string {
	s.t.Helper()
	var out struct{ Ticket string }
	s.bearer(s.token).must(201, "POST", "/sessions/main/tickets", body, &out)
	return out.Ticket
}

// A viewer's ticket: the gateway's signed role holds in the guest.
func TestAbuse08_ViewerTicketChangesNothing(t *testing.T) {
	s := serve(t)
	main := s.session("main")
	st, out := openTab(t, s.mux("main"), wire.Open{Name: "target", Command: []string{"/bin/sh", "-c", "stty -echo; echo ready; cat"}})
	out.See(t, "ready")
	r, _, err := s.dial(t, main.ID, s.ticket(map[string]any{"scope": "terminal", "role": "viewer"}))
	if err != nil {
		t.Fatal(err)
	}
	r.Say(&wire.Hello{Client: "abcdefghijklmnopqrst"})
	if w := r.Next("welcome").(*wire.Welcome); w.You.Role != "viewer" {
		t.Fatalf("%+v", w.You)
	}
	r.Say(&wire.Attach{Req: wire.StringReq("a"), Tab: "target", Cols: 9, Rows: 9})
	ch := r.Next("attached").(*wire.Attached).Channel
	r.Send([]byte{ch, 'e', 'v', 'i', 'l', '\n'})
	r.Next("error")
	for _, m := range []wire.ClientMessage{
		&wire.Resize{Channel: ch, Cols: 1, Rows: 1}, &wire.Drive{Channel: ch}, &wire.Signal{Channel: ch, Signal: "KILL"},
		&wire.Close{Tab: "target"}, &wire.Rename{Tab: "target", Name: "x"}, &wire.Open{Req: wire.StringReq("b"), Cols: 80, Rows: 24},
	} {
		r.Say(m)
		if e := r.Next("error").(*wire.Error); e.Code != "forbidden" {
			t.Errorf("%T: %+v", m, e)
		}
	}
	st.Write([]byte("untouched\n"))
	out.See(t, "untouched")
	if strings.Contains(out.Text(), "evil") {
		t.Error("a viewer typed")
	}
}

// A ticket's socket ends within 5 s of the end of the token it was made with.
func TestAbuse11_RevokedTokenEndsTheShellsSocket(t *testing.T) {
	s := serve(t)
	main := s.session("main")
	var tok struct{ ID, Token string }
	s.bearer(s.token).must(201, "POST", "/tokens", map[string]any{"name": "x", "scopes": []string{"*"}}, &tok)
	var made struct{ Ticket string }
	s.bearer(tok.Token).must(201, "POST", "/sessions/main/tickets", map[string]any{"scope": "terminal"}, &made)
	r, _, err := s.dial(t, main.ID, made.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	r.Say(&wire.Hello{Client: "abcdefghijklmnopqrst"})
	r.Next("welcome")
	s.bearer(s.token).must(204, "DELETE", "/tokens/"+tok.ID, nil, nil)
	if code := r.CloseCode(5 * time.Second); code != wire.CloseUnauthorized {
		t.Errorf("close %d", code)
	}
}

// 1,000 dropped connections leave nothing in the gateway's process either.
func TestAbuse34_ThousandDropsLeaveNothingInTheGateway(t *testing.T) {
	s := serve(t)
	main := s.session("main")
	openTab(t, s.mux("main"), wire.Open{Name: "target", Command: []string{"/bin/cat"}})
	fds := func() int {
		d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(d)
	}
	goroutines := func() (n int) {
		res, err := s.bearer(s.token).get("/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(res) {
			fmt.Sscanf(line, "go_goroutines %d", &n)
		}
		return n
	}
	beforeFDs, before := fds(), goroutines()
	if before == 0 {
		t.Fatal("the metrics do not count goroutines")
	}
	hello := wire.AppendClient(nil, &wire.Hello{Client: "abcdefghijklmnopqrst"})
	attach := wire.AppendClient(nil, &wire.Attach{Req: wire.StringReq("a"), Tab: "target", Cols: 80, Rows: 24})
	for range 1000 {
		ws, _, err := websocket.Dial(t.Context(), s.base+"/ws/sessions/"+string(main.ID), &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + s.token}}, Subprotocols: []string{wire.Subprotocol},
		})
		if err != nil {
			t.Fatal(err)
		}
		ws.Write(t.Context(), websocket.MessageBinary, hello) // a drop may be quicker
		ws.Write(t.Context(), websocket.MessageBinary, attach)
		ws.CloseNow()
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		f, g := fds(), goroutines()
		if f <= beforeFDs+8 && g <= before+12 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("descriptors %d → %d, goroutines %d → %d", beforeFDs, f, before, g)
		}
	}
	var tabs []station.Tab
	for s.bearer(s.token).must(200, "GET", "/sessions/main/tabs", nil, &tabs); tabs[0].Clients != 1; s.bearer(s.token).must(200, "GET", "/sessions/main/tabs", nil, &tabs) {
		if time.Now().After(deadline) {
			t.Fatalf("%d clients are still attached", tabs[0].Clients)
		}
	}
}

// get reads a path outside of the API.
func (c *client) get(path string) (string, error) {
	req, err := http.NewRequest("GET", c.s.base+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+c.bearer)
	res, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(res.Body)
	return b.String(), err
}

// From a real shell: the host is not there.
func TestAbuse35_RealShellSeesNothingOfTheHost(t *testing.T) {
	s := serve(t)
	api := s.bearer(s.token)
	api.must(201, "POST", "/sessions", map[string]string{"name": "other"}, nil)
	openTab(t, s.mux("other"), wire.Open{Name: "secret", Command: []string{"/bin/sh", "-c", "exec sleep 98765"}})
	api.must(201, "POST", "/users", map[string]string{"username": "bob", "password": password}, nil)
	secret := filepath.Join(s.data, "homes")
	out := shellOutput(t, s, "main", `
		ls -d /proc/[0-9]* | wc -l
		grep -al $((98764+1)) /proc/[0-9]*/cmdline && echo FOUND other session
		for p in `+s.data+` `+secret+` /root/.ssh /var/run/docker.sock /run/docker.sock /home/bob /var/lib /run/systemd /etc/shadow /etc/ssh /proc/1/root/ /proc/1/cwd /proc/kcore /proc/sysrq-trigger /sys/fs/cgroup/memory; do
			[ -r "$p" ] && ls -A "$p" 2>/dev/null | head -n1 | grep -q . && echo FOUND $p
			[ -f "$p" ] && head -c1 "$p" 2>/dev/null | grep -q . && echo FOUND file $p
			[ -S "$p" ] && echo FOUND socket $p
		done
		find / -xdev -name guest.sock 2>/dev/null | sed 's/^/FOUND /'
		touch /usr/x /etc/x /x /run/staithe/x 2>/dev/null && echo FOUND writable
		(exec 3<>/dev/tcp/127.0.0.1/`+s.base[strings.LastIndex(s.base, ":")+1:]+`) 2>/dev/null && echo FOUND gateway
		cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' \n'; echo
		cat /proc/1/environ /proc/1/maps 2>/dev/null | head -c1 | grep -q . && echo FOUND guest
		id -u; grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status | tr -d '\n\t'; echo
		echo end`)
	if strings.Contains(out, "FOUND") || !strings.Contains(out, "\nend\n") {
		t.Errorf("seen from inside:\n%s", out)
	}
	for _, want := range []string{"\nloeth0\n", "\n1000\n", "NoNewPrivs:1", "Seccomp:2", "CapEff:0000000000000000"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not there:\n%s", want, out)
		}
	}
}

// The real guest withstands the shells it started.
func TestAbuse38_RealGuestWithstandsItsShells(t *testing.T) {
	s := serve(t)
	out := shellOutput(t, s, "main", `
		for sig in KILL TERM INT QUIT SEGV STOP USR1; do kill -$sig 1 2>/dev/null && echo FOUND signal $sig; done
		kill -9 -1 2>/dev/null
		[ -r /proc/1/mem ] && echo FOUND mem
		cat /proc/1/environ 2>/dev/null | head -c1 | grep -q . && echo FOUND environ
		ls /proc/1/fd 2>/dev/null | grep -q . && echo FOUND fd
		mount -t tmpfs none /mnt 2>/dev/null && echo FOUND mount
		unshare -Ur true 2>/dev/null && echo FOUND userns
		mknod /tmp/d b 8 0 2>/dev/null && echo FOUND mknod
		echo 1 > /proc/sys/kernel/panic 2>/dev/null && echo FOUND sysctl
		for b in $(find /usr/bin /usr/sbin -perm -4000 2>/dev/null | head -3); do [ "$(stat -c %u $b)" = 0 ] && echo setuid $b; done
		su -c id root </dev/null 2>/dev/null | grep -q uid=0 && echo FOUND su
		echo end`)
	if strings.Contains(out, "FOUND") {
		t.Errorf("from inside:\n%s", out)
	}
	if v := s.session("main"); v.State != station.StateRunning {
		t.Errorf("the session is %s", v.State)
	}
	if got := shellOutput(t, s, "main", "echo alive"); !strings.Contains(got, "alive") {
		t.Errorf("after the attacks: %q", got)
	}
}
