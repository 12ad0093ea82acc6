package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"staithe/internal/muxclient/muxtest"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// rawMux connects to a session once; a refusal is the answer's status.
func (s *server) rawMux(session string) (*muxtest.Raw, int) {
	s.t.Helper()
	ws, res, err := websocket.Dial(s.t.Context(), s.base+"/ws/sessions/"+session, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + s.token}}, Subprotocols: []string{wire.Subprotocol},
	})
	if err != nil {
		if res == nil {
			s.t.Fatal(err)
		}
		return nil, res.StatusCode
	}
	return muxtest.NewRaw(s.t, ws), 0
}

// seeRaw reads a channel's output until a text came.
func seeRaw(raw *muxtest.Raw, channel uint8, text string) {
	raw.T.Helper()
	for seen := ""; !strings.Contains(seen, text); {
		_, b, err := raw.WS.Read(raw.T.Context())
		if err != nil {
			raw.T.Fatalf("waiting for %q: %v; got %q", text, err, seen)
		}
		if b[0] == channel {
			seen += string(b[1:])
		}
	}
}

// see is the session as the API shows it; it wakes nothing.
func (s *server) see(ref string) (v station.Session) {
	s.t.Helper()
	s.bearer(s.token).must(200, "GET", "/sessions/"+ref, nil, &v)
	return v
}

func (s *server) until(what string, is func() bool) {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(60 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatalf("it never came: %s\nlog:\n%s", what, s.log)
		}
	}
}

// TestLifeOfASession: connected it is awake and says so; put to sleep it closes
// with 4412 and wakes with its shell; stopped it wakes with its tab, and a line.
func TestLifeOfASession(t *testing.T) {
	s := serve(t)
	api := s.bearer(s.token)
	s.session("main")
	raw, status := s.rawMux("main")
	if status != 0 {
		t.Fatal(status)
	}
	raw.Say(&wire.Hello{Client: "client-of-this-test"})
	raw.Next("welcome")
	raw.Say(&wire.Open{Req: wire.StringReq("r"), Name: "work", Cols: 90, Rows: 30})
	tab := raw.Next("attached").(*wire.Attached)
	raw.Send(wire.AppendFrame(nil, tab.Channel, []byte("cd /usr/share; sleep 1000 & echo job-$!. kept-$((20+3))\n")))
	seeRaw(raw, tab.Channel, "kept-23")
	s.until("it says who is connected", func() bool { return strings.Contains(s.see("main").WhyAwake, "you are connected") })
	pid := guestPID(t, s.see("main").ID)

	var slept station.Session
	api.must(200, "POST", "/sessions/main/sleep", nil, &slept)
	if slept.State != station.StateAsleep || slept.SleptAt.IsZero() || slept.WhyAwake != "" {
		t.Errorf("%+v", slept)
	}
	if code := raw.CloseCode(20 * time.Second); code != wire.CloseAsleep {
		t.Errorf("closed with %d", code)
	}
	if _, status := s.rawMux("main"); status != 409 {
		t.Errorf("a WebSocket to a sleeping session: %d", status)
	}
	if v := s.session("main"); v.State != station.StateRunning {
		t.Errorf("%+v", v)
	}
	frozen := guestPID(t, slept.ID) == pid
	if !frozen {
		t.Log("this machine cannot freeze: the session was stopped")
	}
	api.must(200, "POST", "/sessions/main/sleep?stop=true", nil, &slept)
	if v := s.session("main"); v.State != station.StateRunning || v.Notice.Code != "" || guestPID(t, v.ID) == pid {
		t.Errorf("%+v", v)
	}
	sink := muxtest.New()
	st, err := s.mux("main").Attach(t.Context(), wire.Attach{Tab: "work", Cols: 80, Rows: 24}, sink)
	if err != nil {
		t.Fatal(err)
	}
	sink.See(t, "kept-23")
	sink.See(t, "was stopped; the shell below is new.")
	st.Write([]byte("pwd; keep-awake 2h\n"))
	sink.See(t, "/usr/share\r\n")
	sink.See(t, "stays awake until")
	s.until("the wish from inside is taken over", func() bool { return !s.see("main").KeepAwakeUntil.IsZero() })
}

// TestKeepAwake by API and command line.
func TestKeepAwake(t *testing.T) {
	s := serve(t)
	api := s.bearer(s.token)
	for _, bad := range []any{map[string]int{"seconds": -1}, map[string]int{"seconds": 604801}, map[string]string{}, nil} {
		if status, body := api.do("POST", "/sessions/main/keep-awake", bad); status != 422 && status != 400 {
			t.Errorf("%v: %d %s", bad, status, body)
		}
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), "STAITHE_URL="+s.base, "STAITHE_TOKEN="+s.token, "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("keep-awake", "main", "90m"); err != nil || !strings.Contains(out, "main stays awake until") {
		t.Errorf("%s %v", out, err)
	}
	if left := time.Until(s.see("main").KeepAwakeUntil); left < 80*time.Minute || left > 90*time.Minute {
		t.Errorf("awake for %s", left)
	}
	if out, err := run("keep-awake", "main", "off"); err != nil || !strings.Contains(out, "may sleep again") || !s.see("main").KeepAwakeUntil.IsZero() {
		t.Errorf("%s %v", out, err)
	}
	for _, bad := range []string{"soon", "-1h", "200h"} {
		if out, err := run("keep-awake", "main", bad); err == nil {
			t.Errorf("%s: %s", bad, out)
		}
	}
}

// TestAbuse23_NothingButAPersonWakes: a client that comes back to a sleeping
// session again and again, reads of the API, tickets, probes and a restart of
// the server wake nothing. (The same for an hour, by a clock of the test's own,
// is in internal/fleet.)
func TestAbuse23_NothingButAPersonWakes(t *testing.T) {
	s := serve(t, "STAITHE_CLASS=standard.idle-freeze=2s;standard.idle-stop=4s")
	api := s.bearer(s.token)
	id := s.session("main").ID
	s.until("asleep", func() bool { return s.see("main").State == station.StateAsleep })
	tries := 0
	try := func() {
		tries++
		if _, status := s.rawMux("main"); status != 409 {
			t.Fatalf("try %d: %d", tries, status)
		}
		for _, path := range []string{"/sessions", "/sessions/main", "/sessions/main/tabs", "/sessions/main/network"} {
			api.do("GET", path, nil)
		}
		api.do("POST", "/sessions/main/tabs", map[string]any{})
		api.do("POST", "/sessions/main/keep-awake", map[string]int{"seconds": 0})
		if v := s.see("main"); v.State != station.StateAsleep {
			t.Fatalf("try %d: %+v", tries, v)
		}
	}
	s.until("stopped, while clients come back", func() bool {
		try()
		left, err := filepath.Glob(filepath.Join(s.data, "sandboxes", string(id)))
		return err == nil && len(left) == 0
	})
	s.kill()
	s.again()
	for range 100 {
		try()
	}
	if left, _ := filepath.Glob(filepath.Join(s.data, "sandboxes", "*")); len(left) != 0 {
		t.Errorf("woken: %v", left)
	}
	if v := s.session("main"); v.State != station.StateRunning {
		t.Errorf("%+v", v)
	}
}

// egressPID finds the process that is a session's way out, 0 when there is none.
func egressPID(t *testing.T, s *server, id station.ID) (pid int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.data, "egress", string(id), "record.json"))
	if err != nil {
		return 0
	}
	var rec struct{ PID int }
	if err := json.Unmarshal(b, &rec); err != nil || syscall.Kill(rec.PID, 0) != nil {
		return 0
	}
	return rec.PID
}

// TestAbuse40_LostNetworkComesBack: a session's way out is killed; the server
// starts it anew and says so. It ends with the session.
func TestAbuse40_LostNetworkComesBack(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a way out for sessions of a server that is not root is tested in internal/egress")
	}
	s := serve(t, "STAITHE_CLASS=standard.network=internet")
	id := s.session("main").ID
	var net struct {
		Mode    string
		Refused []any
	}
	api := s.bearer(s.token)
	api.must(200, "GET", "/sessions/main/network", nil, &net)
	pid := egressPID(t, s, id)
	if net.Mode != "internet" || net.Refused == nil || pid == 0 {
		t.Fatalf("%+v, process %d", net, pid)
	}
	raw, _ := s.rawMux("main")
	raw.Say(&wire.Hello{Client: "client-of-this-test"})
	raw.Say(&wire.Open{Req: wire.StringReq("r"), Cols: 80, Rows: 24, Command: []string{"/bin/sh", "-c", "cat /etc/resolv.conf; read x; echo on-$x; cat"}})
	channel := raw.Next("attached").(*wire.Attached).Channel
	seeRaw(raw, channel, "nameserver 192.0.0.1")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.until("the way out is there again", func() bool { again := egressPID(t, s, id); return again != 0 && again != pid })
	s.until("the session says so", func() bool { return s.see("main").Notice.Code == "network_restarted" })
	raw.Send(wire.AppendFrame(nil, channel, []byte("and on\n"))) // it went on all the time
	seeRaw(raw, channel, "on-and on")
	api.must(204, "DELETE", "/sessions/main/notice", nil, nil)
	api.must(200, "POST", "/sessions/main/sleep?stop=true", nil, nil)
	if egressPID(t, s, id) != 0 {
		t.Error("it outlives its session")
	}
	if v := s.see("main"); v.Notice.Code != "" {
		t.Errorf("%+v", v)
	}
}
