package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/muxclient"
	"staithe/internal/muxclient/muxtest"
	"staithe/internal/wire"
)

// together builds the program that both sessions run, into the home.
func together(t *testing.T, s *server) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "together")
	cmd := exec.Command("go", "build", "-o", program, "./testdata/together")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	c := s.bearer(s.token)
	if status, out, err := c.file("PUT", "/content", "together", bytes.NewReader(b), "mode", "0755"); status != 200 {
		t.Fatalf("%d %s %v", status, out, err)
	}
}

// pair is two sessions of one user.
type pair struct {
	t    *testing.T
	s    *server
	a, b *muxclient.Client
}

func (p *pair) run(c *muxclient.Client, args ...string) (*muxclient.Stream, *muxtest.Sink) {
	p.t.Helper()
	return openTab(p.t, c, wire.Open{Command: append([]string{"/bin/sh", "-c", `stty -opost -echo; exec ./together "$@"`, "sh"}, args...)})
}

// Two sessions of one user are one machine for files: locks of both kinds exclude,
// a rename replaces at once, hard links are one file, and each sees what the other
// does, and what comes over the API.
func TestTwoSessionsOneHome(t *testing.T) {
	s := serve(t)
	c := s.bearer(s.token)
	together(t, s)
	c.must(201, "POST", "/sessions", map[string]any{"name": "second"}, nil)
	p := &pair{t, s, s.mux("main"), s.mux("second")}
	t.Run("locks", p.locks)
	t.Run("rename", p.rename)
	t.Run("links", p.links)
	t.Run("inotify", p.inotify)
}

func (p *pair) locks(t *testing.T) {
	for _, c := range []struct{ hold, try string }{{"lock", "try"}, {"fcntl", "fcntl"}} {
		st, held := p.run(p.a, c.hold, "l")
		held.See(t, "locked")
		_, refused := p.run(p.b, c.try, "l")
		refused.WaitExit(t)
		if out := refused.Text(); !strings.Contains(out, "failed: resource temporarily unavailable") {
			t.Errorf("%s: the other session got the lock: %q", c.hold, out)
		}
		waits, waiting := p.run(p.b, "lock", "l2") // another file is free
		waiting.See(t, "locked")
		waits.Write([]byte("\n"))
		waiting.WaitExit(t)
		st.Write([]byte("\n"))
		held.WaitExit(t)
		got, then := p.run(p.b, c.try, "l")
		then.See(t, "locked")
		got.Write([]byte("\n"))
		then.WaitExit(t)
	}
}

func (p *pair) rename(t *testing.T) {
	if out := shellOutput(t, p.s, "main", `head -c 20000 /dev/zero | tr '\0' z > f; stat -c %s f`); out != "20000\n" {
		t.Fatalf("%q", out)
	}
	_, reading := p.run(p.b, "whole", "f")
	reading.See(t, "reading")
	st, writing := p.run(p.a, "swap", "f")
	reading.WaitExit(t)
	st.Write([]byte("\n"))
	writing.WaitExit(t)
	if out := reading.Text(); !strings.Contains(out, "whole") {
		t.Errorf("%q", out)
	}
	if out := writing.Text(); !strings.Contains(out, "swapped") {
		t.Errorf("%q", out)
	}
}

func (p *pair) links(t *testing.T) {
	if out := shellOutput(t, p.s, "main", `mkdir d1 d2; echo one > d1/h; ln d1/h d2/h; stat -c %h d1/h`); out != "2\n" {
		t.Fatalf("%q", out)
	}
	if out := shellOutput(t, p.s, "second", `[ d1/h -ef d2/h ] && echo same; stat -c '%h %U' d2/h; echo two >> d2/h; ln d2/h third; stat -c %h third`); !strings.HasPrefix(out, "same\n2 ") || !strings.HasSuffix(out, "\n3\n") {
		t.Errorf("%q", out)
	}
	if out := shellOutput(t, p.s, "main", `cat d1/h; stat -c '%h %i' d1/h | cut -d' ' -f1`); out != "one\ntwo\n3\n" {
		t.Errorf("%q", out)
	}
}

func (p *pair) inotify(t *testing.T) {
	if out := shellOutput(t, p.s, "main", "mkdir w; echo made"); out != "made\n" {
		t.Fatalf("%q", out)
	}
	_, seen := p.run(p.a, "watch", "w")
	seen.See(t, "watching")
	if out := shellOutput(t, p.s, "second", "echo x > w/new; echo y > tmp; mv tmp w/moved; chmod 600 w/new; rm w/new; echo done"); out != "done\n" {
		t.Fatalf("%q", out)
	}
	for _, what := range []string{"create new", "written new", "moved moved", "attrib new", "delete new"} {
		seen.See(t, what)
	}
	// What comes over the API appears at once and whole: it is moved there.
	c := p.s.bearer(p.s.token)
	c.put("w/api", "content")
	seen.See(t, "moved api")
	c.put("w/end", "content")
	seen.WaitExit(t)
	if out := seen.Text(); strings.Contains(out, "create api") || strings.Contains(out, "written api") {
		t.Errorf("half a file was to be seen: %q", out)
	}
}
