package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/hostproc"
	"staithe/internal/sandbox"
	"staithe/internal/sandbox/sandboxtest"
	"staithe/internal/station"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// byName asks for the provider in every spec, as a router does, and lets the
// account that a guest runs as walk to a test's home.
type byName struct{ *Runtime }

func (b byName) Start(ctx context.Context, spec sandbox.Spec) error {
	spec.Runtime = Name
	for dir := filepath.Dir(spec.Home); dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755) // of a spec that is to fail, it may be missing
	}
	return b.Runtime.Start(ctx, spec)
}

func open(t *testing.T, data string) sandbox.Runtime { return byName{make1(t, data, discard)} }

func make1(t testing.TB, data string, log *slog.Logger) *Runtime {
	t.Helper()
	rt, err := New(Options{Data: data, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// able is what there is without isolation: a life, and nothing that confines it.
var able = sandboxtest.Abilities{
	NoMemory: nothing, NoOOMName: nothing, NoCPU: nothing, NoPIDs: nothing, NoPTYs: nothing, NoInotify: nothing, NoScratch: nothing,
	NoAttach: nothing, NoImage: nothing, NoSudo: nothing, NoLogBound: nothing, NoNamespace: nothing,
}

const nothing = "process isolates and limits nothing"

func TestConformance(t *testing.T) { sandboxtest.Run(t, open, able) }

func TestAbuse17_NamesAreRefused(t *testing.T) {
	rt := open(t, t.TempDir())
	for _, name := range []string{"", "..", "../x", "a/b", "A", "a\n"} {
		spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
		spec.Session = station.ID(name)
		if err := rt.Start(t.Context(), spec); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("session %q: %v", name, err)
		}
	}
}

func TestAbuse40_GuestSurvivesTheGateway(t *testing.T) {
	sandboxtest.GuestSurvives(t, open, able, "TestChild")
}

// TestChild is the gateway that TestAbuse40_GuestSurvivesTheGateway kills.
func TestChild(t *testing.T) { sandboxtest.Child(t, open) }

// It makes nothing for a spec that does not name it, and says loudly what it is.
func TestProcessOnlyByName(t *testing.T) {
	var said bytes.Buffer
	data := t.TempDir()
	rt := make1(t, data, slog.New(slog.NewTextHandler(&said, nil)))
	for _, other := range []string{"", "crun", "Process", "process "} {
		spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
		spec.Runtime = other
		if err := rt.Start(t.Context(), spec); !errors.Is(err, station.ErrInvalid) {
			t.Errorf("runtime %q: %v", other, err)
		}
		sandboxtest.Traceless(t, data, spec.Session)
	}
	if !strings.Contains(rt.Describe(station.Class{}), "NO ISOLATION") {
		t.Error(rt.Describe(station.Class{}))
	}
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	if err := (byName{rt}).Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer stop(t, rt, spec.Session)
	if !strings.Contains(said.String(), "level=WARN msg=\"a session runs without any isolation\"") {
		t.Errorf("said: %s", said.String())
	}
}

func stop(t testing.TB, rt *Runtime, session station.ID) {
	t.Helper()
	if err := rt.Stop(context.Background(), session); err != nil {
		t.Error(err)
	}
}

// started is a session with detached programs: a shell that would like to stay,
// and its children.
func started(t *testing.T, rt *Runtime) (sandbox.Spec, []stat) {
	t.Helper()
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	if err := (byName{rt}).Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, rt, spec.Session) })
	script := "for i in 1 2; do " + mark + "=" + string(spec.Session) + " setsid sh -c 'trap \"\" HUP TERM INT; while :; do sleep 1000; done' >/dev/null 2>&1 & done"
	ask(t, rt, spec.Session, "POST", "/run", fmt.Sprintf(`{"argv": ["/bin/sh", "-c", %q]}`, script))
	// Guest, two shells, two sleeps. All wait: a shell whose child has not begun its
	// program stands in the kernel (vfork), and stays there if the child is stopped.
	return spec, settled(t, rt, spec.Session, func(s []stat) bool { return len(s) >= 5 && count(s, 'S') == len(s) })
}

// settled waits until a session's processes are as wanted.
func settled(t *testing.T, rt *Runtime, session station.ID, want func([]stat) bool) []stat {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		rec, _ := rt.read(session)
		found, err := tree(session, rec.Guest)
		if err != nil {
			t.Fatal(err)
		}
		if want(found) {
			return found
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("processes: %+v", found)
		}
	}
}

func ask(t testing.TB, rt *Runtime, session station.ID, method, path, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return rt.Dial(ctx, session)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://guest"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
}

// What a session started is found and ended without the record, and after its
// guest died and left orphans.
func TestAbuse40_StopWithoutNotes(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, rt *Runtime, session station.ID, guest hostproc.Process){
		"no record": func(t *testing.T, rt *Runtime, session station.ID, _ hostproc.Process) {
			if err := os.Remove(filepath.Join(rt.path(session), recordName)); err != nil {
				t.Fatal(err)
			}
		},
		"garbage record": func(t *testing.T, rt *Runtime, session station.ID, _ hostproc.Process) {
			if err := os.WriteFile(filepath.Join(rt.path(session), recordName), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"dead guest": func(t *testing.T, _ *Runtime, _ station.ID, guest hostproc.Process) {
			if err := guest.Kill(stopLimit); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			rt := make1(t, data, discard)
			spec, inside := started(t, rt)
			spoil(t, rt, spec.Session, inside[0].Process)
			next := make1(t, data, discard)
			stop(t, next, spec.Session)
			for _, s := range inside {
				if s.Alive() {
					t.Errorf("process %d is left", s.PID)
				}
			}
			sandboxtest.Traceless(t, data, spec.Session)
		})
	}
}

// A frozen session's programs stand still, all of them, and go on at the thaw,
// but for what the person had stopped.
func TestFreezeStopsTheWholeTree(t *testing.T) {
	data := t.TempDir()
	rt := make1(t, data, discard)
	spec, inside := started(t, rt)
	held := inside[len(inside)-1]
	if err := unix.Kill(held.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	settled(t, rt, spec.Session, func(s []stat) bool { return count(s, 'T') == 1 })
	for range 2 {
		if err := rt.Freeze(t.Context(), spec.Session); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, rt, spec.Session, func(s []stat) bool { return count(s, 'T') == len(s) })
	next := make1(t, data, discard)
	if info, there, err := next.Find(t.Context(), spec.Session); err != nil || !there || !info.Running || !info.Frozen {
		t.Errorf("frozen: %+v %v %v", info, there, err)
	}
	for range 2 {
		if err := next.Thaw(t.Context(), spec.Session); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, rt, spec.Session, func(s []stat) bool { return count(s, 'T') == 1 })
	ask(t, rt, spec.Session, "GET", "/v1/health", "")
	if err := next.Freeze(t.Context(), spec.Session); err != nil {
		t.Fatal(err)
	}
	stop(t, next, spec.Session) // a frozen one, too
	for _, s := range inside {
		if s.Alive() {
			t.Errorf("process %d is left", s.PID)
		}
	}
	if err := next.Freeze(t.Context(), spec.Session); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("freeze of nothing: %v", err)
	}
	if err := next.Thaw(t.Context(), spec.Session); err != nil {
		t.Errorf("thaw of nothing: %v", err)
	}
}

func count(all []stat, state byte) (n int) {
	for _, s := range all {
		if s.state == state {
			n++
		}
	}
	return n
}

func TestUsageCountsTheTree(t *testing.T) {
	rt := make1(t, t.TempDir(), discard)
	spec, _ := started(t, rt)
	ask(t, rt, spec.Session, "POST", "/run", `{"argv": ["/bin/sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]}`)
	u, err := rt.Usage(t.Context(), spec.Session)
	if err != nil || u.CPU <= 0 || u.Memory < 1<<20 || u.PIDs < 5 || u.LimitsHonest == "" {
		t.Errorf("%+v %v", u, err)
	}
	if _, err := rt.Usage(t.Context(), station.NewID()); !errors.Is(err, station.ErrNotFound) {
		t.Errorf("usage of nothing: %v", err)
	}
}

// The guest is told the host's home and its own account; all else stays.
func TestLocalConfig(t *testing.T) {
	got, err := localConfig(sandbox.Spec{UserName: "ann", Home: "/data/h", Config: `{"session":"x","uid":1000,"gid":1000,"home":"/home/ann",` +
		`"env":["HOME=/home/ann","PATH=/home/ann/bin:/bin","XDG_RUNTIME_DIR=/run/user/1000"]}`})
	want := `{"env":["HOME=/data/h","PATH=/data/h/bin:/bin"],"gid":0,"home":"/data/h","session":"x","uid":0}`
	if err != nil || got != want {
		t.Errorf("%s %v", got, err)
	}
}

// A class may allow more open files than this process may have itself; the
// session starts all the same, with as many as there can be.
func TestMoreOpenFilesThanThereCanBe(t *testing.T) {
	rt := make1(t, t.TempDir(), discard)
	spec := sandboxtest.Spec(t, sandboxtest.Home(t, 1), 1)
	spec.Limits.Files = 1 << 30
	if err := (byName{rt}).Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, rt, spec.Session) })
	ask(t, rt, spec.Session, "POST", "/run", `{"argv": ["/bin/true"]}`)
}
