package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"staithe/internal/station"
	"staithe/internal/wire"
)

// TestKilledGatewayLosesNothing kills the gateway with SIGKILL in the middle of
// a flood: the shell goes on, and every byte arrives once.
func TestKilledGatewayLosesNothing(t *testing.T) {
	s := serve(t)
	c := s.mux("main")
	st, out := openTab(t, c, wire.Open{Command: []string{"/bin/sh", "-c", "stty -opost -echo; echo ready; read x; seq 1 200000; read y; echo got:$y; exit 5"}})
	out.See(t, "ready")
	st.Write([]byte("go\n"))
	out.Until(t, "the middle", func() bool { return out.Out.Len() > 200_000 })
	s.kill()
	st.Write([]byte("typed-while-down\n"))
	s.again()
	out.WaitExit(t)
	var want bytes.Buffer
	want.WriteString("ready\n")
	for i := range 200_000 {
		fmt.Fprintf(&want, "%d\n", i+1)
	}
	want.WriteString("got:typed-while-down\n")
	if !bytes.Equal(out.Out.Bytes(), want.Bytes()) || out.Resets != 0 || out.Exited.Code != 5 {
		t.Errorf("%d bytes, want %d; %d resets; exit %+v", out.Out.Len(), want.Len(), out.Resets, out.Exited)
	}
}

// TestForcedDrops drops the way to the shell at random moments, with output and
// input running: by the client, by the network, and by killing the gateway.
func TestForcedDrops(t *testing.T) {
	drops, seed := 200, uint64(2)
	if v := os.Getenv("STAITHE_SOAK_DROPS"); v != "" {
		drops, _ = strconv.Atoi(v)
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%d drops, seed %d", drops, seed)
	s := serve(t)
	host := strings.TrimPrefix(s.base, "http://")
	p := startProxy(t, host)
	c := s.muxAt(p.addr(), "main")
	lines, typedLen := 15_000*drops, 4096*drops
	// 1 MB/s, as on a busy machine a client that says nothing for a second is taken for
	// asleep, and the log is to last until it comes back.
	count := fmt.Sprintf(`awk 'BEGIN { for (i = 1; i <= %d; i++) { print i; if (i %% 7000 == 0) { fflush(); system("sleep 0.05") } } }'`, lines)
	script := fmt.Sprintf("stty raw -echo; echo ready; %s & head -c %d > typed; wait; sha256sum < typed; exit 7", count, typedLen)
	st, out := openTab(t, c, wire.Open{Command: []string{"/bin/sh", "-c", script}})
	out.See(t, "ready")
	rnd := rand.New(rand.NewPCG(seed, 1))
	typed := make([]byte, typedLen)
	for i := range typed {
		typed[i] = byte(rnd.Uint32())
	}
	// Each round types some, lets some output come, and drops; what is typed
	// goes in throughout, so that drops fall into the middle of it.
	perDrop := typedLen / drops
	kills := 0
	var longest time.Duration // that the client was away
	dropped := time.Now()
	for i := range drops {
		if _, err := st.Write(typed[i*perDrop : (i+1)*perDrop]); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Welcome(t.Context()); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, time.Since(dropped))
		want := st.Offset() + rnd.Int64N(64<<10)
		out.Until(t, "output", func() bool { return out.Exited != nil || int64(out.Out.Len()) > want || rnd.IntN(4) == 0 })
		if out.Exited != nil {
			t.Fatalf("the program ended after %d drops", i)
		}
		dropped = time.Now()
		switch k := rnd.IntN(20); {
		case k == 0:
			kills++
			s.kill()
			s.again()
		case k < 10:
			p.cut()
		default:
			c.Drop()
		}
	}
	out.WaitExit(t)
	var want bytes.Buffer
	want.WriteString("ready\n")
	for i := range lines {
		fmt.Fprintf(&want, "%d\n", i+1)
	}
	fmt.Fprintf(&want, "%x  -\n", sha256.Sum256(typed))
	if !bytes.Equal(out.Out.Bytes(), want.Bytes()) || out.Resets != 0 || out.Exited.Code != 7 {
		t.Errorf("%d bytes came, want %d; %d redraws; exit %+v; end %q", out.Out.Len(), want.Len(), out.Resets, out.Exited, out.Out.Bytes()[max(0, out.Out.Len()-80):])
	}
	t.Logf("%d of the %d drops were kills of the gateway; %d bytes out, %d in; the client was away for %v at most", kills, drops, want.Len(), typedLen, longest)
}

// TestTwoSessionsShareFilesOnly: other processes and network, the same files.
func TestTwoSessionsShareFilesOnly(t *testing.T) {
	s := serve(t)
	api := s.bearer(s.token)
	var second station.Session
	api.must(201, "POST", "/sessions", map[string]string{"name": "second"}, &second)
	run := func(session, script string) string {
		t.Helper()
		_, out := openTab(t, s.mux(session), wire.Open{Command: []string{"/bin/sh", "-c", "stty -opost; " + script}})
		out.WaitExit(t)
		return strings.TrimSpace(out.Text())
	}
	a := run("main", "echo shared > ~/note; readlink /proc/self/ns/pid /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts /proc/self/ns/user /proc/self/ns/mnt; hostname")
	b := run("second", "readlink /proc/self/ns/pid /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts /proc/self/ns/user /proc/self/ns/mnt; hostname")
	as, bs := strings.Fields(a), strings.Fields(b)
	if len(as) != 7 || len(bs) != 7 {
		t.Fatalf("%q %q", a, b)
	}
	for i := range as {
		if as[i] == bs[i] {
			t.Errorf("both sessions have %s", as[i])
		}
		if i < 6 {
			host, err := os.Readlink("/proc/self/ns/" + strings.Split(as[i], ":")[0])
			if err != nil || host == as[i] {
				t.Errorf("the session shares %s with the host (%v)", as[i], err)
			}
		}
	}
	if got := run("second", "cat ~/note; id -u; cat /proc/self/uid_map"); !strings.HasPrefix(got, "shared\n1000\n") || strings.Contains(strings.Join(strings.Fields(got), " "), " 0 0 ") {
		t.Errorf("%q", got)
	}
}

// TestRecoveryAfterEverythingWasKilled: gateway and a guest die; the next start
// finds what lives, says what died, and clears what nobody wants.
func TestRecoveryAfterEverythingWasKilled(t *testing.T) {
	s := serve(t)
	api := s.bearer(s.token)
	api.must(201, "POST", "/sessions", map[string]string{"name": "doomed"}, nil)
	keep, keepOut := openTab(t, s.mux("main"), wire.Open{Command: []string{"/bin/cat"}})
	doomed := s.session("doomed")
	s.kill()
	killGuest(t, doomed.ID)
	s.again()
	var v station.Session
	api.must(200, "GET", "/sessions/doomed", nil, &v)
	if v.State != station.StateAsleep || v.Reason == "" {
		t.Errorf("a session whose guest was killed is %s (%q)", v.State, v.Reason)
	}
	status, body := api.do("POST", "/sessions/doomed/tabs", map[string]any{})
	if status != 409 || !strings.Contains(string(body), "asleep") {
		t.Errorf("a tab in a sleeping session: %d %s", status, body)
	}
	keep.Write([]byte("still here\n"))
	keepOut.See(t, "still here")
	if v := s.session("doomed"); v.State != station.StateRunning {
		t.Errorf("after waking: %+v", v)
	}
}

// killGuest kills a session's PID 1 as the host sees it.
func killGuest(t testing.TB, id station.ID) {
	t.Helper()
	p, err := os.FindProcess(guestPID(t, id))
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPoliteRestartKeepsShells: a polite stop and a new start keep every shell too.
func TestPoliteRestartKeepsShells(t *testing.T) {
	s := serve(t)
	st, out := openTab(t, s.mux("main"), wire.Open{Command: []string{"/bin/sh", "-c", "stty -echo; echo ready; cat"}})
	out.See(t, "ready")
	s.stop()
	s.again()
	st.Write([]byte("after\n"))
	out.Until(t, "resumed, not redrawn", func() bool { return strings.Contains(out.Out.String(), "after") && out.Resets == 0 })
}
