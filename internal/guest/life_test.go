package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/station"
	"staithe/internal/wire"
)

// fakeProc writes a process as /proc shows it.
func fakeProc(t *testing.T, proc string, pid, parent int, start, cpu, kids, disk int, argv ...string) {
	t.Helper()
	dir := filepath.Join(proc, fmt.Sprint(pid))
	if err := os.MkdirAll(filepath.Join(dir, "fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	stat := fmt.Sprintf("%d (a ) b) S %d 1 1 0 -1 0 0 0 0 0 %d %d %d %d 20 0 1 0 %d 0 0", pid, parent, cpu/2, cpu-cpu/2, kids, 0, start)
	io := fmt.Sprintf("rchar: 9\nwchar: 9\nread_bytes: %d\nwrite_bytes: 0\ncancelled_write_bytes: 0\n", disk)
	for name, text := range map[string]string{"stat": stat, "io": io, "cmdline": strings.Join(argv, "\x00") + "\x00"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestActivityNamesWhoIsBusy(t *testing.T) {
	proc := t.TempDir()
	net := func(carried int, rows ...string) {
		t.Helper()
		dev := fmt.Sprintf("Inter-| x\n face |bytes\n    lo: 999999999 0 0 0 0 0 0 0 999999999 0\n  tap0: %d 0 0 0 0 0 0 0 0 0 0\n", carried)
		tcp := "  sl  local_address rem_address   st\n" + strings.Join(rows, "\n") + "\n"
		if err := errors.Join(os.MkdirAll(filepath.Join(proc, "net"), 0o755), os.WriteFile(filepath.Join(proc, "net/dev"), []byte(dev), 0o644),
			os.WriteFile(filepath.Join(proc, "net/tcp"), []byte(tcp), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	s := &sampler{proc: proc}
	now := time.Unix(1e9, 0)
	fakeProc(t, proc, 10, 1, 5, 100, 0, 0, "-bash")
	fakeProc(t, proc, 20, 10, 6, 500, 0, 0, "/usr/bin/cargo", "build", "--release")
	fakeProc(t, proc, 30, 10, 7, 0, 0, 4096, "rsync", "--secret=x", "y")
	net(1000)
	if a := s.ask(now); a.CPU != nil || a.Disk != nil || a.Network != nil || a.Processes != 3 {
		t.Errorf("the first look says %+v", a)
	}
	fakeProc(t, proc, 20, 10, 6, 3500, 0, 0, "/usr/bin/cargo", "build", "--release")
	fakeProc(t, proc, 30, 10, 7, 1, 0, 4096+10<<20, "rsync", "--secret=x", "y")
	net(1000+200<<10, "   0: 0100007F:1F90 0100007F:0050 01 0 0 0 0 0 11", "   1: 0A00020F:1F90 08080808:01BB 01 0 0 1000 0 22")
	net(1000+200<<10, "   0: 0100007F:1F90 0100007F:0050 01 00000000:00000000 00:00000000 00000000 1000 0 11 1",
		"   1: 0F02000A:1F90 08080808:01BB 01 00000000:00000000 00:00000000 00000000 1000 0 22 1")
	for pid, link := range map[int]string{20: "socket:[11]", 30: "socket:[22]"} {
		if err := os.Symlink(link, filepath.Join(proc, fmt.Sprint(pid), "fd", "3")); err != nil {
			t.Fatal(err)
		}
	}
	a := s.ask(now.Add(10 * time.Second))
	for what, c := range map[string]struct{ got, want *guestapi.Busy }{
		"cpu": {a.CPU, &guestapi.Busy{PID: 20, Name: "cargo build", Rate: 3}}, "disk": {a.Disk, &guestapi.Busy{PID: 30, Name: "rsync", Rate: 1 << 20}},
		"network": {a.Network, &guestapi.Busy{PID: 30, Name: "rsync", Rate: 20 << 10}},
	} {
		if c.got == nil || *c.got != *c.want {
			t.Errorf("%s: %+v, want %+v", what, c.got, c.want)
		}
	}
	if again := s.ask(now.Add(10*time.Second + sampleEvery/2)); again.CPU != a.CPU {
		t.Error("who asks too soon makes it look again")
	}
	// cargo ended: its time is its shell's now, and was told before. Another
	// process of its number is another.
	if err := os.RemoveAll(filepath.Join(proc, "20")); err != nil {
		t.Fatal(err)
	}
	fakeProc(t, proc, 10, 1, 5, 100, 3500+20, 0, "-bash")
	fakeProc(t, proc, 20, 1, 999, 10, 0, 0, "new")
	if a = s.ask(now.Add(20 * time.Second)); a.CPU == nil || a.CPU.PID != 10 || a.CPU.Rate != 0.02 || a.CPU.Name != "bash" || a.Network != nil {
		t.Errorf("%+v", a.CPU)
	}
}

func TestParkAndRestore(t *testing.T) {
	w := newWorld(t)
	c := w.client(owner("ada"))
	deep := filepath.Join(w.home, "deep")
	if err := os.Mkdir(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	st, s := openTab(t, c, wire.Open{Name: "one", Cwd: deep})
	st.Write([]byte("echo said-$((1+1)); printf '\\033]0;title\\007\\033[6n'\n"))
	s.See(t, "said-2")
	openTab(t, c, wire.Open{Name: "two", Command: []string{catProgram, "-"}})
	_, polite := openTab(t, c, wire.Open{Name: "polite", Command: []string{"/bin/bash", "-c", `trap 'echo going-$((3+3)); exit' HUP; echo ready; while :; do read -t 0.1 x; done`}})
	polite.See(t, "ready")
	_, ended := openTab(t, c, wire.Open{Name: "over", Cwd: deep, Command: []string{"/bin/echo", "built-8"}})
	ended.WaitExit(t)

	api := w.api()
	snap, err := api.Snapshot(t.Context(), owner("ada"))
	if err != nil || len(snap.Tabs) != 4 {
		t.Fatalf("%+v %v", snap, err)
	}
	viewer := owner("eve")
	viewer.Role = station.RoleWriter
	if _, err := api.Park(t.Context(), viewer); !errors.Is(err, station.ErrForbidden) {
		t.Errorf("a writer ends the session: %v", err)
	}
	parked, err := api.Park(t.Context(), owner("ada"))
	if err != nil || len(parked.Tabs) != 4 {
		t.Fatalf("%+v %v", parked, err)
	}
	one, two := parked.Tabs[0], parked.Tabs[1]
	if one.Name != "one" || one.Cwd != deep || one.Cols != 80 || one.Opener != "ada" || one.Ran != "" || two.Ran != catProgram+" -" {
		t.Errorf("%+v %+v", one, two)
	}
	if !bytes.Contains(one.Output, []byte("said-2")) || bytes.Contains(one.Output, []byte("\x1b[6n")) {
		t.Errorf("%q", one.Output)
	}
	if last := parked.Tabs[2].Output; !bytes.Contains(last, []byte("going-6")) {
		t.Errorf("a program was not asked to end, or its last words are lost: %q", last)
	}
	// What had ended is kept for what it showed.
	if over := parked.Tabs[3]; over.Name != "over" || over.Cwd != deep || !strings.HasSuffix(over.Ran, "(it had ended)") || !bytes.Contains(over.Output, []byte("built-8")) {
		t.Errorf("%+v", over)
	}
	if _, err := api.CreateTab(t.Context(), owner("ada"), guestapi.TabCreate{}); !errors.Is(err, station.ErrUnavailable) {
		t.Errorf("a tab in a session that ends: %v", err)
	}

	// Another guest, where one's folder is gone.
	if err := os.RemoveAll(deep); err != nil {
		t.Fatal(err)
	}
	next := newWorld(t)
	api = next.api()
	r := guestapi.Restore{Line: "[staithe] stopped; \x1b[6nnew.", Tabs: parked.Tabs[:2]}
	for range 2 { // asked twice is asked once
		if err := api.Restore(t.Context(), owner("ada"), r); err != nil {
			t.Fatal(err)
		}
	}
	tabs, err := api.Tabs(t.Context(), owner("ada"))
	if err != nil || len(tabs) != 2 || tabs[0].ID != one.ID || tabs[0].Name != "one" || tabs[0].Cwd != next.home || tabs[1].ID != two.ID {
		t.Fatalf("%+v %v", tabs, err)
	}
	c = next.client(owner("ada"))
	st, s = attachTab(t, c, wire.Attach{Tab: string(one.ID)})
	s.See(t, "said-2")
	s.See(t, "stopped; [6nnew.")
	st.Write([]byte("echo again-$((2+2))\n"))
	s.See(t, "again-4")
	_, s = attachTab(t, c, wire.Attach{Tab: "two"})
	s.See(t, "It ran: "+catProgram+" -")
}

// A hostile document restores nothing it should not, and hurts nobody.
func TestRestoreRefuses(t *testing.T) {
	w := newWorld(t)
	api := w.api()
	for name, tab := range map[string]guestapi.ParkedTab{
		"no id":     {ID: "../x", Name: "a", Cols: 80, Rows: 24},
		"a name":    {ID: station.NewID(), Name: "A B", Cols: 80, Rows: 24},
		"a size":    {ID: station.NewID(), Name: "a", Cols: 1 << 20, Rows: 24},
		"no folder": {ID: station.NewID(), Name: "a", Cols: 80, Rows: 24, Cwd: "\x00"},
	} {
		if err := api.Restore(t.Context(), owner("ada"), guestapi.Restore{Tabs: []guestapi.ParkedTab{tab}}); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if tabs, err := api.Tabs(t.Context(), owner("ada")); err != nil || len(tabs) != 0 {
		t.Errorf("%+v %v", tabs, err)
	}
}

// A notice is shown in every tab and told to every client; of a wish from inside
// the gateway hears until it has seen it.
func TestNoticeAndWish(t *testing.T) {
	w := newWorld(t)
	_, s := openTab(t, w.client(owner("ada")), wire.Open{Command: []string{catProgram}})
	raw := rawMux(t, w.api(), owner("eve"))
	raw.Say(&wire.Hello{Client: "client-of-this-test"})
	raw.Next("welcome")
	api := w.api()
	if err := api.Notify(t.Context(), owner("ada"), guestapi.Notice{Code: "oom", Text: "The kernel ended x\x1b[2J."}); err != nil {
		t.Fatal(err)
	}
	if n := raw.Next("notify").(*wire.Notify); n.Code != "oom" || n.Text != "The kernel ended x[2J." {
		t.Errorf("%+v", n)
	}
	s.See(t, "[staithe] The kernel ended x[2J.")

	dir := t.TempDir()
	l, err := w.guest.openInside(dir)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); w.guest.serveInside(l) }()
	t.Cleanup(func() { l.Close(); <-done })
	t.Setenv(runEnv, dir)
	for _, c := range []struct {
		argv []string
		code int
		says string
	}{
		{[]string{"/x/keep-awake", "2h"}, 0, "stays awake until"}, {[]string{"staithe", "keep-awake", "90m"}, 0, "stays awake"},
		{[]string{"keep-awake"}, 1, "for how long"}, {[]string{"keep-awake", "soon"}, 1, "no duration"}, {[]string{"keep-awake", "200h"}, 1, "7 days"},
		{[]string{"staithe", "rm"}, 2, "usage"}, {[]string{"keep-awake", "-1h"}, 1, "no duration"},
	} {
		var out bytes.Buffer
		if code, ok := Command(c.argv, &out, &out); code != c.code || !ok || !strings.Contains(out.String(), c.says) {
			t.Errorf("%v: %d %q", c.argv, code, out.String())
		}
	}
	if _, ok := Command([]string{"/run/staithe/guest"}, nil, nil); ok {
		t.Error("the guest itself is taken for a command")
	}
	a, err := api.Activity(t.Context(), owner("ada"), "")
	if err != nil || a.KeepAwake == nil || a.KeepAwake.Seconds < 5000 || a.KeepAwake.Seconds > 5400 || a.Clients != 2 {
		t.Fatalf("%+v %v", a, err)
	}
	if a, err = api.Activity(t.Context(), owner("ada"), a.KeepAwake.ID); err != nil || a.KeepAwake != nil {
		t.Errorf("seen, but %+v %v", a, err)
	}
}
