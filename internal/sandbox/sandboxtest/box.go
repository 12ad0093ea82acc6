package sandboxtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"staithe/internal/sandbox"
	"staithe/internal/station"
)

// Open makes a Runtime over a data directory, as a fresh process would. It
// registers its own cleanup.
type Open func(t *testing.T, data string) sandbox.Runtime

// GuestEnv names a probe guest that is built already, for tests that run as a
// user who has no compiler.
const GuestEnv = "SANDBOXTEST_GUEST"

// guestPath builds the probe guest once for all tests of a process.
var guestPath = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(GuestEnv); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "probeguest")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "guest")
	build := exec.Command("go", "build", "-o", path, "staithe/internal/sandbox/sandboxtest/testdata/probeguest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the probe guest: %w\n%s", err, out)
	}
	return path, nil
})

// Main runs a provider's tests and removes what the suite built. Call it from
// TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	if path, err := guestPath(); err == nil && os.Getenv(GuestEnv) == "" {
		os.RemoveAll(filepath.Dir(path))
	}
	return code
}

// Guest is the path of the probe guest.
func Guest(t testing.TB) string {
	t.Helper()
	path, err := guestPath()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Spec is a sandbox of a fresh session for the user with that range.
func Spec(t testing.TB, home string, uidRange int) sandbox.Spec {
	t.Helper()
	id := station.NewID()
	return sandbox.Spec{
		Session: id, Hostname: "main", UserName: "ann", Home: home, UIDRange: uidRange,
		Guest: Guest(t), Config: fmt.Sprintf(`{"session":%q}`, id),
	}
}

// Home makes a user's home.
func Home(t testing.TB, uidRange int) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		id := station.HostUID(uidRange, station.SandboxUID)
		if err := os.Chown(home, id, id); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

// box is one running sandbox under test.
type box struct {
	sandbox.Spec
	rt   sandbox.Runtime
	http *http.Client
	able Abilities // of the provider, for attacks
	up   bool      // what the person runs is run with sudo
}

// start starts a sandbox and ends it with the test.
func start(t testing.TB, rt sandbox.Runtime, spec sandbox.Spec) *box {
	t.Helper()
	if err := rt.Start(t.Context(), spec); err != nil {
		t.Fatalf("start: %+v", err)
	}
	t.Cleanup(func() {
		if err := rt.Stop(context.Background(), spec.Session); err != nil {
			t.Error(err)
		}
	})
	return reach(rt, spec)
}

// reach talks to a sandbox that was started before.
func reach(rt sandbox.Runtime, spec sandbox.Spec) *box {
	return &box{Spec: spec, rt: rt, http: &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return rt.Dial(ctx, spec.Session)
		},
	}}}
}

// health says whether the guest answers as its session.
func (b *box) health() error {
	res, err := b.http.Get("http://guest/v1/health")
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		// As the gateway does (guestapi): gVisor now and then drops a connection
		// that comes as its sandbox is thawed.
		res, err = b.http.Get("http://guest/v1/health")
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var h struct{ Session station.ID }
	if err := json.NewDecoder(res.Body).Decode(&h); err != nil || h.Session != b.Session {
		return fmt.Errorf("guest of %s answered as %q: %w", b.Session, h.Session, err)
	}
	return nil
}

// answer is what a command said and how it ended.
type answer struct {
	Out  string `json:"out"`
	Code int    `json:"code"`
}

// run runs a command in the sandbox as the person, or as its root.
func (b *box) run(t testing.TB, root bool, argv ...string) answer {
	t.Helper()
	if b.up && !root {
		argv = append([]string{"/usr/bin/sudo", "-n"}, argv...)
	}
	body, err := json.Marshal(map[string]any{"argv": argv, "root": root})
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.http.Post("http://guest/run", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var a answer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		t.Fatalf("%v: %v", argv, err)
	}
	return a
}

// try runs a shell command that may end the sandbox.
func (b *box) try(root bool, script string) {
	body, _ := json.Marshal(map[string]any{"argv": []string{"/bin/sh", "-c", script}, "root": root}) // cannot fail
	if res, err := b.http.Post("http://guest/run", "application/json", bytes.NewReader(body)); err == nil {
		res.Body.Close()
	}
}

// sh runs a shell command as the person and wants it to succeed.
func (b *box) sh(t testing.TB, script string) string {
	t.Helper()
	a := b.run(t, false, "/bin/sh", "-c", script)
	if a.Code != 0 {
		t.Fatalf("%s: exit %d\n%s", script, a.Code, a.Out)
	}
	return strings.TrimSpace(a.Out)
}

// guestInside is found through /proc, as providers may put it anywhere.
func (b *box) guestInside(t testing.TB) string {
	t.Helper()
	return strings.Split(b.run(t, false, "/bin/cat", "/proc/1/cmdline").Out, "\x00")[0]
}

// denied runs an attack and wants it refused by the kernel: either with an
// error, or by the filter's killing it.
func (b *box) denied(t *testing.T, root bool, attack string, args ...string) {
	t.Helper()
	for _, name := range []string{attack, strings.Join(append([]string{attack}, args...), " ")} {
		if reason := b.able.Harmless[name]; reason != "" {
			t.Logf("%s is not tried on this provider: %s", name, reason)
			return
		}
	}
	a := b.run(t, root, append([]string{b.guestInside(t), "probe", attack}, args...)...)
	killed := a.Code == -1 && a.Out == "" // by a signal: SIGSYS
	refused := a.Code == 0 && strings.HasPrefix(a.Out, "denied: ")
	if !killed && !refused {
		t.Errorf("%s %v (root inside: %v): exit %d, %.300q", attack, args, root, a.Code, a.Out)
	}
	if testing.Verbose() {
		t.Logf("%s %v (root inside: %v): %s", attack, args, root, strings.TrimSpace(a.Out))
	}
}

// person is the uid of the person inside.
func (b *box) person(t testing.TB, able Abilities) string {
	t.Helper()
	if able.NoUserNS == "" {
		return strconv.Itoa(station.SandboxUID)
	}
	info, err := os.Stat(b.Home)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid))
}

// pid is the guest's pid on the host.
func (b *box) pid(t testing.TB) int {
	t.Helper()
	for _, info := range list(t, b.rt) {
		if info.Session == b.Session && info.Running {
			return info.PID
		}
	}
	t.Fatalf("%s does not run", b.Session)
	return 0
}

func list(t testing.TB, rt sandbox.Runtime) []sandbox.Info {
	t.Helper()
	infos, err := rt.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

// longData is a data directory whose sockets have longer paths than a socket's
// address holds.
func longData(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long name ", 12))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Command runs a shell command in a sandbox, as the person or as its root, for
// a provider's own tests, and returns what it said. It must succeed.
func Command(t testing.TB, rt sandbox.Runtime, spec sandbox.Spec, root bool, script string) string {
	t.Helper()
	a := reach(rt, spec).run(t, root, "/bin/sh", "-c", script)
	if a.Code != 0 {
		t.Fatalf("%s: exit %d\n%s", script, a.Code, a.Out)
	}
	return strings.TrimSpace(a.Out)
}

// Pipe runs a command in a sandbox, as the person or as its root, for other
// rooms' tests, and returns its input and output as one connection, which ends
// with the test.
func Pipe(t testing.TB, rt sandbox.Runtime, spec sandbox.Spec, root bool, argv ...string) io.ReadWriter {
	t.Helper()
	conn, err := rt.Dial(t.Context(), spec.Session)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	body, err := json.Marshal(map[string]any{"argv": argv, "root": root})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST /pipe HTTP/1.1\r\nHost: guest\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		t.Fatal(err)
	}
	const yes = "HTTP/1.1 200 OK\r\n\r\n"
	head := make([]byte, len(yes))
	if _, err := io.ReadFull(conn, head); err != nil || string(head) != yes {
		t.Fatalf("%v: %q %v", argv, head, err)
	}
	return conn
}
