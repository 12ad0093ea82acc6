package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Run checks what sandbox.Runtime promises.
func Run(t *testing.T, open Open, able Abilities) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, open Open, able Abilities)
	}{
		{"StartDialStop", startDialStop},
		{"ConcurrentStarts", concurrentStarts},
		{"NextProcessFindsIt", nextProcess},
		{"StopLeavesNothing", stopLeavesNothing},
		{"FailedStartLeavesNothing", failedStart},
		{"CancelledStartLeavesNothing", cancelledStart},
		{"SessionsAreApart", sessionsApart},
		{"InsideIsUsable", usable},
		{"FreezeThaw", freezeThaw},
		{"StopFrozen", stopFrozen},
		{"Usage", usage},
		{"CPULimit", cpuLimit},
		{"OpenFiles", openFiles},
		{"Attach", attach},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open, able) })
	}
}

func startDialStop(t *testing.T, open Open, _ Abilities) {
	rt := open(t, longData(t))
	spec := Spec(t, Home(t, 1), 1)
	if _, err := rt.Dial(t.Context(), spec.Session); !errors.Is(err, station.ErrUnavailable) {
		t.Fatalf("dial of nothing: %v", err)
	}
	b := start(t, rt, spec)
	if err := b.health(); err != nil {
		t.Fatal(err)
	}
	pid := b.pid(t)
	if err := rt.Start(t.Context(), spec); err != nil || b.pid(t) != pid {
		t.Fatalf("second start: %v, guest %d was %d", err, b.pid(t), pid)
	}
	for range 2 {
		if err := rt.Stop(t.Context(), spec.Session); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rt.Dial(t.Context(), spec.Session); !errors.Is(err, station.ErrUnavailable) {
		t.Fatalf("dial of a stopped one: %v", err)
	}
	if err := rt.Start(t.Context(), spec); err != nil {
		t.Fatal("start after stop:", err)
	}
	if err := b.health(); err != nil {
		t.Fatal(err)
	}
	if rt.Describe(station.Class{}) == "" {
		t.Error("the boundary is not described")
	}
}

func concurrentStarts(t *testing.T, open Open, _ Abilities) {
	rt := open(t, t.TempDir())
	specs := []sandbox.Spec{Spec(t, Home(t, 1), 1), Spec(t, Home(t, 2), 2), Spec(t, Home(t, 3), 3)}
	var all sync.WaitGroup
	for _, spec := range specs {
		for range 4 {
			all.Go(func() {
				if err := rt.Start(t.Context(), spec); err != nil {
					t.Error(err)
				}
			})
		}
		t.Cleanup(func() {
			if err := rt.Stop(context.Background(), spec.Session); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if infos := list(t, rt); len(infos) != len(specs) {
		t.Errorf("sandboxes: %v", infos)
	}
	for _, spec := range specs {
		if err := reach(rt, spec).health(); err != nil {
			t.Error(err)
		}
	}
}

func nextProcess(t *testing.T, open Open, _ Abilities) {
	data := t.TempDir()
	first := start(t, open(t, data), Spec(t, Home(t, 1), 1))
	mark := "/tmp/mark-" + string(first.Session)
	first.sh(t, "echo here > "+mark)
	second := reach(open(t, data), first.Spec)
	if second.pid(t) != first.pid(t) {
		t.Errorf("found guest %d, started %d", second.pid(t), first.pid(t))
	}
	if err := second.rt.Start(t.Context(), first.Spec); err != nil {
		t.Fatal(err)
	}
	if got := second.sh(t, "cat "+mark+" && rm "+mark); got != "here" {
		t.Errorf("another sandbox answered: %q", got)
	}
	if err := second.rt.Stop(t.Context(), first.Session); err != nil {
		t.Fatal(err)
	}
	if infos := list(t, first.rt); len(infos) != 0 {
		t.Errorf("left: %v", infos)
	}
}

func stopLeavesNothing(t *testing.T, open Open, able Abilities) {
	data := t.TempDir()
	b := start(t, open(t, data), Spec(t, Home(t, 1), 1))
	mounts := hostMounts(t)
	// Processes that would like to stay: detached, deaf to polite signals.
	b.sh(t, "for i in 1 2 3; do setsid sh -c 'trap \"\" HUP TERM INT; while :; do sleep 1000; done' >/dev/null 2>&1 & done")
	inside := b.processes(t, able)
	if n := len(inside()); n < 4 && able.NoPID == "" {
		t.Fatalf("%d processes inside", n)
	}
	if err := b.rt.Stop(t.Context(), b.Session); err != nil {
		t.Fatal(err)
	}
	if left := inside(); len(left) != 0 {
		t.Errorf("processes left: %v", left)
	}
	Traceless(t, data, b.Session)
	if now := hostMounts(t); !slices.Equal(now, mounts) {
		t.Errorf("mounts changed:\n%v\n%v", mounts, now)
	}
}

func failedStart(t *testing.T, open Open, _ Abilities) {
	data := t.TempDir()
	rt := open(t, data)
	good := Spec(t, Home(t, 1), 1)
	for name, spoil := range map[string]func(*sandbox.Spec){
		"no home":   func(s *sandbox.Spec) { s.Home = filepath.Join(s.Home, "missing") },
		"no guest":  func(s *sandbox.Spec) { s.Guest += "-missing" },
		"bad name":  func(s *sandbox.Spec) { s.UserName = "../etc" },
		"bad range": func(s *sandbox.Spec) { s.UIDRange = -1 },
	} {
		spec := good
		spoil(&spec)
		err := rt.Start(t.Context(), spec)
		var p *station.Problem
		if !errors.As(err, &p) || p.Sentence == "" || strings.Contains(p.Sentence, data) {
			t.Errorf("%s: %v", name, err)
		}
		Traceless(t, data, spec.Session)
	}
	start(t, rt, good) // what failed can be repaired

	// A guest that cannot run shows at once or as one that does not answer.
	spec := Spec(t, good.Home, 1)
	spec.Guest = filepath.Join(t.TempDir(), "guest")
	if err := os.WriteFile(spec.Guest, []byte("this is no program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := rt.Start(t.Context(), spec); err == nil {
		if err := reach(rt, spec).health(); err == nil {
			t.Error("a text file answered")
		}
		if err := rt.Stop(t.Context(), spec.Session); err != nil {
			t.Error(err)
		}
	}
	Traceless(t, data, spec.Session)
}

func cancelledStart(t *testing.T, open Open, _ Abilities) {
	data := t.TempDir()
	rt := open(t, data)
	start(t, rt, Spec(t, Home(t, 1), 1)) // warm, so that the cancel hits the start itself
	for range 10 {
		cancelInTheMiddle(t, rt, data)
	}
}

func cancelInTheMiddle(t *testing.T, rt sandbox.Runtime, data string) {
	spec := Spec(t, Home(t, 1), 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- rt.Start(ctx, spec) }()
	for {
		select {
		case err := <-done:
			if err == nil { // it was quicker
				err = rt.Stop(context.Background(), spec.Session)
			} else if errors.Is(err, context.Canceled) {
				t.Log(err) // with it, why something is left, if it is
				err = nil
			}
			if err != nil {
				t.Error(err)
			}
			Traceless(t, data, spec.Session)
			return
		default:
			// Anywhere in the middle: as soon as traces are on disk.
			if found, err := filepath.Glob(filepath.Join(data, "*", string(spec.Session))); err != nil {
				t.Fatal(err)
			} else if len(found) > 0 {
				cancel()
			}
		}
	}
}

func sessionsApart(t *testing.T, open Open, able Abilities) {
	need(t, able.NoNamespace)
	rt := open(t, t.TempDir())
	home := Home(t, 1)
	a, b := start(t, rt, Spec(t, home, 1)), start(t, rt, Spec(t, home, 1))
	namespacesApart(t, a, b, able)
	a.sh(t, "echo shared > ~ann/file && echo own > /tmp/file")
	if got := b.sh(t, "cat ~ann/file"); got != "shared" {
		t.Errorf("the home differs: %q", got)
	}
	if got := b.run(t, false, "/bin/cat", "/tmp/file"); got.Code == 0 {
		t.Error("/tmp is shared")
	}
	if err := rt.Stop(t.Context(), a.Session); err != nil {
		t.Fatal(err)
	}
	if err := b.health(); err != nil {
		t.Errorf("the other session suffered: %v", err)
	}
}

func namespacesApart(t *testing.T, a, b *box, able Abilities) {
	t.Helper()
	if able.OwnKernel != "" {
		t.Log("namespaces are not looked at: " + able.OwnKernel)
		return
	}
	for _, ns := range []string{"pid", "mnt", "net", "ipc", "uts", "user"} {
		if ns == "user" && able.NoUserNS != "" {
			t.Log("user namespaces are not looked at: " + able.NoUserNS)
			continue
		}
		read := "readlink /proc/self/ns/" + ns
		host, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		if x, y := a.sh(t, read), b.sh(t, read); x == y || x == host || y == host {
			t.Errorf("%s namespaces: %s, %s, host %s", ns, x, y, host)
		}
	}
}

// usable is what a person and their programs take for granted.
func usable(t *testing.T, open Open, able Abilities) {
	need(t, able.NoNamespace)
	spec := Spec(t, Home(t, 1), 1)
	spec.Resolver = "192.0.0.1"
	b := start(t, open(t, t.TempDir()), spec)
	for script, want := range map[string]string{
		"grep -E 'nameserver|search|domain' /etc/resolv.conf":                     "nameserver 192.0.0.1",
		"id -un && id -u && id -g":                                                "ann\n" + b.person(t, able) + "\n" + b.person(t, able),
		"hostname":                                                                "main",
		"cd ~ann && pwd":                                                          "/home/ann",
		"getent hosts localhost | wc -l":                                          "1",
		"grep -c . /proc/net/dev":                                                 "3", // two lines of heading, and lo
		"echo x > /tmp/a && cat /tmp/a":                                           "x",
		"echo x > /dev/shm/a && cat /dev/shm/a":                                   "x",
		"echo x > /run/user/1000/a && echo y":                                     "y",
		"echo gone > /dev/null && head -c3 /dev/zero | wc -c":                     "3",
		"stat -c %a /tmp /var/tmp":                                                "1777\n1777",
		"grep CapEff /proc/self/status":                                           "CapEff:\t0000000000000000",
		"grep NoNewPrivs /proc/self/status":                                       "NoNewPrivs:\t1",
		"script -qec 'test -t 0 && echo tty' /dev/null < /dev/null | tr -d '\\r'": "tty",
		"ls -A /home /opt /root /srv /mnt /media | grep -v : | tr -d '\\n'":       "ann",
	} {
		if got := b.sh(t, script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	for _, path := range []string{"/usr/x", "/etc/x", "/x", "/run/x", "/run/staithe/x", "/home/x", "/sys/x", "/dev/x", "/var/lib/x"} {
		if a := b.run(t, false, "/usr/bin/touch", path); a.Code == 0 {
			t.Errorf("the person can write %s", path)
		}
	}
}

// Traceless wants nothing of a session on the host: no folder in the data
// directory, no cgroup, no process that was called with it or has it in its
// environment.
func Traceless(t testing.TB, data string, session station.ID) {
	t.Helper()
	for _, root := range []string{data, "/sys/fs/cgroup"} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && strings.Contains(d.Name(), string(session)) {
				t.Errorf("left behind: %s", path)
			}
			return nil // what goes away while we look is fine
		})
		if err != nil {
			t.Error(err)
		}
	}
	for _, what := range processesOf(t, session) {
		t.Errorf("of session %s: %s", session, what)
	}
}

// processesOf lists the host's processes that were called with a session's id or
// have it in their environment.
func processesOf(t testing.TB, session station.ID) (out []string) {
	t.Helper()
	for _, pid := range pids(t) {
		// Any of these may be gone meanwhile: then it is none.
		environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(environ)+string(cmdline), string(session)) {
			out = append(out, fmt.Sprintf("process %d, %.200q", pid, cmdline))
		}
	}
	return out
}
