package e2e

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"staithe/internal/station"
)

// A new home begins with the server's template, before the host's skeleton, once.
func TestANewHomeHasItsTemplate(t *testing.T) {
	from := t.TempDir()
	for name, content := range map[string]string{".bashrc": "export FROM=template\n", "bin/tool": "#!/bin/sh\necho tool\n"} {
		p := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, "STAITHE_HOME_TEMPLATE="+from)
	if state := templateStateOf(t, s); !strings.Contains(state, `"done"`) {
		t.Fatalf("%s\n%s", state, s.log.String())
	}
	if out := shellOutput(t, s, "main", "bin/tool; cat .bashrc"); out != "tool\nexport FROM=template\n" {
		t.Errorf("%q", out)
	}
	s.bearer(s.token).must(204, "DELETE", "/workstation/files?path=bin", nil, nil)
	s.kill()
	s.again()
	s.bearer(s.token).must(404, "GET", "/workstation/files/stat?path=bin", nil, nil)
}

// A user may begin with something else than the others, or with the skeleton alone.
func TestAUserHasATemplateOfTheirOwn(t *testing.T) {
	dirs := map[string]string{}
	for _, name := range []string{"server", "bob"} {
		dirs[name] = t.TempDir()
		if err := os.WriteFile(filepath.Join(dirs[name], ".bashrc"), []byte("# of "+name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, "STAITHE_HOME_TEMPLATE="+dirs["server"])
	want := map[string]string{"bob": "# of bob\n", "cy": "# of server\n", "dee": ""}
	for name, flag := range map[string]string{"bob": "--home-template=" + dirs["bob"], "cy": "", "dee": "--home-template="} {
		c := signUp(t, s, name, flag)
		c.must(200, "GET", "/workstation/files", nil, nil) // makes the home
		if name == "dee" {
			skel, err := os.ReadFile("/etc/skel/.bashrc")
			if errors.Is(err, fs.ErrNotExist) { // then the home has none either
				c.must(404, "GET", "/workstation/files/stat?path=.bashrc", nil, nil)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			want[name] = string(skel)
		}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		got := ""
		for deadline := time.Now().Add(30 * time.Second); got != want[name] && time.Now().Before(deadline); <-tick.C {
			_, body := c.do("GET", "/workstation/files/content?path=.bashrc", nil)
			got = string(body)
		}
		if got != want[name] {
			t.Errorf("%s begins with %q", name, got)
		}
	}
	if code, _, stderr := run(t, "exec $staithe admin user add eve --home-template=relative --data "+s.data); code == 0 || !strings.Contains(stderr, "absolute path") {
		t.Errorf("%d %s", code, stderr)
	}
}

// A template that cannot be had keeps nobody from their shell, and its home's owner is
// told what is so.
func TestATemplateThatFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/proc/self/mem", filepath.Join(dir, "breaks-off.tar")); err != nil { // reading it fails
		t.Fatal(err)
	}
	for source, trouble := range map[string]string{
		"none":           "The template is not where the server looks for it",
		"breaks-off.tar": "The server cannot read the template",
	} {
		t.Run(source, func(t *testing.T) { templateFails(t, dir, source, trouble) })
	}
}

func templateFails(t *testing.T, dir, source, trouble string) {
	s := serve(t, "STAITHE_HOME_TEMPLATE="+filepath.Join(dir, source))
	if out := shellOutput(t, s, "main", "echo works"); out != "works\n" {
		t.Errorf("%q", out)
	}
	if state := templateStateOf(t, s); !strings.Contains(state, `"failed"`) {
		t.Error(state)
	}
	got := awaitTemplate(t, s.bearer(s.token), func(h station.HomeTemplate) bool { return h.State == "failed" })
	if got.Source != source || got.Trouble != trouble+"; tell the administrator, and put in yourself what you miss." || got.At.IsZero() {
		t.Errorf("%+v", got)
	}
}

// Whose home it is sees how its template comes, and nobody else does.
func TestATemplateIsSeenToCome(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "begin.tar")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "STAITHE_HOME_TEMPLATE="+pipe)
	ada := s.bearer(s.token)
	pending := func(h station.HomeTemplate) bool { return h.State == "pending" }
	if got := awaitTemplate(t, ada, pending); got.Source != "begin.tar" || got.Fetched != 0 {
		t.Errorf("before anything came: %+v", got)
	}
	s.kill()
	s.again()
	ada = s.bearer(s.token)
	awaitTemplate(t, ada, pending)
	bob := signUp(t, s, "bob", "--home-template=")
	if got := awaitTemplate(t, bob, func(station.HomeTemplate) bool { return true }); got != (station.HomeTemplate{State: "none"}) {
		t.Errorf("bob sees %+v", got)
	}
	w, err := os.OpenFile(pipe, os.O_RDWR, 0) // for writing alone it would wait for a reader
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	archive := tar.NewWriter(w)
	for _, name := range []string{"one", "two"} {
		err := archive.WriteHeader(&tar.Header{Name: name, Size: 3, Mode: 0o644, Typeflag: tar.TypeReg})
		if err == nil {
			_, err = archive.Write([]byte(name))
		}
		if err == nil {
			err = archive.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		if name == "one" {
			ada.put("two", "mine")
			awaitTemplate(t, ada, func(h station.HomeTemplate) bool { return h.State == "pending" && h.Fetched > 0 })
		}
	}
	if err := errors.Join(archive.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	got := awaitTemplate(t, ada, func(h station.HomeTemplate) bool { return h.State == "done" })
	if got.Files != 1 || got.Kept != 1 || got.Fetched != 0 || got.Trouble != "" {
		t.Errorf("%+v", got)
	}
}

// awaitTemplate asks until what is answered will do.
func awaitTemplate(t *testing.T, c *client, will func(station.HomeTemplate) bool) (got station.HomeTemplate) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		got = station.HomeTemplate{}
		if c.must(200, "GET", "/workstation/template", nil, &got); will(got) {
			return got
		}
	}
	t.Fatalf("the template stays %+v", got)
	return got
}

// signUp adds a user on the server's machine, and is them.
func signUp(t *testing.T, s *server, name, flag string) *client {
	t.Helper()
	code, out, stderr := run(t, "exec $staithe admin user add "+name+" "+flag+" --data "+s.data)
	if code != 0 {
		t.Fatal(out, stderr)
	}
	_, token, _ := strings.Cut(out, "/invite#")
	token, _, _ = strings.Cut(token, "\n")
	c := s.client()
	c.must(200, "POST", "/invite", map[string]string{"token": token, "password": name + "'s own password"}, nil)
	return c
}

// templateStateOf is what became of the first home's template.
func templateStateOf(t *testing.T, s *server) (state string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		list, _ := filepath.Glob(filepath.Join(s.data, "templates", "*.json"))
		for _, f := range list {
			b, err := os.ReadFile(f)
			if state = string(b); err == nil && !strings.Contains(state, `"pending"`) {
				return state
			}
		}
	}
	t.Fatalf("the template came to no end: %s", state)
	return ""
}
