package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

// laptop is another machine's command line, with a folder to work in.
type laptop struct {
	t   testing.TB
	s   *server
	dir string
}

func (s *server) laptop(t testing.TB) *laptop {
	return &laptop{t, s, t.TempDir()}
}

// command is a staithe command in the laptop's folder.
func (l *laptop) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir = l.dir
	cmd.Env = append(os.Environ(), "STAITHE_URL="+l.s.base, "STAITHE_TOKEN="+l.s.token, "HOME="+l.dir, "XDG_CACHE_HOME="+l.dir+"/.cache")
	return cmd
}

// run wants that a command does well, and returns what it wrote.
func (l *laptop) run(args ...string) string {
	l.t.Helper()
	cmd := l.command(args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("staithe %q: %v\n%s%s", args, err, out, errs.String())
	}
	return string(out)
}

// refused wants that a command does not do well, with a text on standard error.
func (l *laptop) refused(text string, args ...string) {
	l.t.Helper()
	out, err := l.command(args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), text) || bytes.ContainsAny(out, "\x1b\x07") {
		l.t.Errorf("staithe %q: %v, not %q but %q", args, err, text, out)
	}
}

// put makes a file, with its folders.
func (l *laptop) put(name, content string, mode os.FileMode) {
	l.t.Helper()
	p := filepath.Join(l.dir, name)
	at := time.Date(2020, 1, 2, 3, 4, 5, len(content), time.UTC)
	err := os.MkdirAll(filepath.Dir(p), 0o755)
	if err == nil {
		err = os.WriteFile(p, []byte(content), mode)
	}
	if err == nil {
		err = os.Chmod(p, mode)
	}
	if err == nil {
		err = os.Chtimes(p, at, at)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// tree says all that is to be kept of a folder: names, kinds, modes, times of
// files, targets, contents.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%q %v", rel, info.Mode())
		switch {
		case info.Mode().IsRegular():
			c, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %v %x", info.ModTime().UnixNano(), c)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line = fmt.Sprintf("%q -> %q", rel, target)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// same wants that two folders are the same.
func same(t testing.TB, a, b string) {
	t.Helper()
	if x, y := tree(t, a), tree(t, b); x != y {
		t.Errorf("%s is\n%s\nbut %s is\n%s", a, x, b, y)
	}
}

// nasty makes a folder with everything that copying can get wrong.
func (l *laptop) nasty(name string) {
	l.t.Helper()
	for i, n := range []string{"plain", "with space", "$(touch pwned)", "-rf", "a\nb", "\x1b]0;pwned\x07", "caf\xe9", "100%", "%41", ":colon", "deep/er/f", "é\u202e"} {
		l.put(name+"/"+n, strings.Repeat("x", i), []os.FileMode{0o644, 0o755, 0o600, 0o444}[i%4])
	}
	l.put(name+"/large", string(bytes.Repeat([]byte("0123456789"), 300_000)), 0o640)
	for target, link := range map[string]string{"/etc/passwd": "absolute", "../..": "up", "nothing \x1b[31m": "dangling", "deep": "folder"} {
		if err := os.Symlink(target, filepath.Join(l.dir, name, link)); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, d := range []string{"empty", "closed"} {
		if err := os.Mkdir(filepath.Join(l.dir, name, d), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	l.put(name+"/closed/f", "in there", 0o600)
	if err := os.Chmod(filepath.Join(l.dir, name, "closed"), 0o500); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { // or it cannot be removed
		filepath.WalkDir(l.dir, func(p string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() {
				os.Chmod(p, 0o700)
			}
			return nil
		})
	})
}

func TestCopyThereAndBack(t *testing.T) {
	s := serve(t)
	l := s.laptop(t)
	l.nasty("src")
	l.run("cp", "-r", "src", ":")
	same(t, filepath.Join(l.dir, "src"), filepath.Join(s.home(), "src"))
	l.run("cp", "-r", "src", ":") // again, over itself
	l.run("cp", "-r", ":src", "back")
	same(t, filepath.Join(l.dir, "src"), filepath.Join(l.dir, "back"))
	l.run("cp", "-r", "src", ":other") // another name
	l.run("cp", "-r", ":other", ".")
	same(t, filepath.Join(l.dir, "src"), filepath.Join(l.dir, "other"))

	l.put("f", "one", 0o640)
	l.run("cp", "f", ":made/on/the/way")
	l.put("f", "two", 0o755)
	l.run("cp", "f", ":made/on/the/way")
	l.run("cp", "f", "src/plain", ":made/")
	if got := l.run("ls", "made"); got != "f\non\nplain\n" {
		t.Errorf("%q", got)
	}
	if got := l.run("cat", "made/on/the/way", "~/made/f"); got != "twotwo" {
		t.Errorf("%q", got)
	}
	l.run("cp", ":made/f", ":made/plain", ".")
	l.run("cp", ":made/f", "renamed")
	if c, err := os.ReadFile(filepath.Join(l.dir, "renamed")); err != nil || string(c) != "two" {
		t.Errorf("%q %v", c, err)
	}
	l.refused("is a folder; give -r", "cp", "src", ":")
	l.refused("is a folder; give -r", "cp", ":src", ".")
	l.refused("is no folder", "cp", "f", "renamed", ":made/f")
	l.refused("Give one side", "cp", "f", "renamed")
	l.refused("Give one side", "cp", ":f", ":renamed")
	l.refused("leads out of the home", "cp", "f", ":../x")
	l.refused("no path in the home", "cat", "/etc/passwd")
	l.refused("There is no", "cat", "none")
	l.refused("There is no", "cp", ":none\x1b[31m", ".")
}

// A name that a terminal would obey is shown inert on one, and is itself in a pipe.
func TestAbuse27_NamesOnTheCommandLine(t *testing.T) {
	s := serve(t)
	l := s.laptop(t)
	l.nasty("src")
	l.run("cp", "-r", "src", ":")
	names := strings.Split(l.run("ls", "-0", "-a", "src"), "\x00")
	entries, err := os.ReadDir(filepath.Join(l.dir, "src"))
	if err != nil || len(names) != len(entries)+1 {
		t.Fatalf("%q %v", names, err)
	}
	have := map[string]bool{}
	for _, n := range names {
		have[n] = true
	}
	for _, e := range entries {
		if !have[e.Name()] {
			t.Errorf("%q is not listed", e.Name())
		}
	}
	for _, args := range [][]string{{"ls", "src"}, {"ls", "-la", "src"}, {"cp", ":src/none\x1b]0;pwned\x07", "x"}} {
		c := startConsole(t, s, args...)
		c.code()
		c.ended()
		if got := c.text(); strings.ContainsAny(got, "\x1b\x07\u202e") {
			t.Errorf("%q: %q", args, got)
		}
	}
	l.put("evil", "a\x1b]0;pwned\x07b\r\n", 0o600)
	l.run("cp", "evil", ":evil")
	c := startConsole(t, s, "cat", "evil")
	c.see(`a\033]0;pwned\007b\015`)
	if got := l.run("cat", "evil"); got != "a\x1b]0;pwned\x07b\r\n" {
		t.Errorf("%q", got)
	}
	if _, err := os.Stat(filepath.Join(l.dir, "pwned")); err == nil {
		t.Error("a name was executed")
	}
}

// ended waits until all that a command wrote was read.
func (c *console) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.over {
		c.cond.Wait()
	}
}

func TestSync(t *testing.T) {
	s := serve(t)
	l := s.laptop(t)
	l.nasty("src")
	src, there := filepath.Join(l.dir, "src"), filepath.Join(s.home(), "dst")
	if out := l.run("sync", "-n", "src", ":dst"); !strings.Contains(out, "new     plain\n") || strings.ContainsAny(out, "\x1b\x07") {
		t.Errorf("%q", out)
	}
	if _, err := os.Lstat(there); err == nil {
		t.Error("a dry run made something")
	}
	l.run("sync", "src", ":dst")
	same(t, src, there)
	if out := l.run("sync", "src", ":dst"); !strings.HasSuffix(out, " the same, 0 sent, 0 taken away\n") {
		t.Errorf("%q", out)
	}
	// Kinds that change places, modes alone, contents of the same size.
	for _, name := range []string{"src/plain", "src/absolute", "src/deep/er/f", "src/-rf"} {
		if err := os.Remove(filepath.Join(l.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l.put("src/plain/now/a/folder", "x", 0o600)
	l.put("src/absolute", "now a file", 0o600)
	if err := os.Symlink("elsewhere", filepath.Join(src, "-rf")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(src, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.put("src/closed/f", "another", 0o600)
	if err := os.Chmod(filepath.Join(src, "closed"), 0o500); err != nil {
		t.Fatal(err)
	}
	l.put("src/100%", strings.Repeat("y", 7), 0o400)
	if err := os.Chmod(filepath.Join(src, "with space"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.run("sync", "src", ":dst")
	if _, err := os.Lstat(filepath.Join(there, "deep/er/f")); err != nil {
		t.Error("something was deleted without --delete")
	}
	l.run("sync", "--delete", "src", ":dst")
	same(t, src, there)
	if got := l.run("ls", "-a", ".local/share/Trash/files"); !strings.Contains(got, "f\n") {
		t.Errorf("what was deleted is not in the trash: %q", got)
	}
	// And the other way round.
	l.run("sync", ":dst", "back")
	same(t, src, filepath.Join(l.dir, "back"))
	l.put("back/more", "x", 0o600)
	if err := os.Remove(filepath.Join(l.dir, "back/absolute")); err != nil {
		t.Fatal(err)
	}
	l.put("back/absolute/folder", "x", 0o600)
	if out := l.run("sync", "--delete", ":dst", "back"); !strings.HasSuffix(out, " 1 sent, 2 taken away\n") {
		t.Errorf("%q", out)
	}
	same(t, src, filepath.Join(l.dir, "back"))
}

// A large copy says how far it is, goes on when the gateway is killed, and, when
// it was ended itself, goes on another time.
func TestCopySurvivesKills(t *testing.T) {
	s := serve(t)
	l := s.laptop(t)
	large := made(t, l.dir, "large", 200<<20)
	hit := func(path string, args ...string) {
		t.Helper()
		cmd := l.command(args...)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		grown(t, path, 20<<20)
		s.kill()
		s.killHelpers()
		s.again()
		if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "connection lost") {
			t.Errorf("%v: %s", err, said.String())
		}
	}
	l.run("ls") // makes the home
	hit(filepath.Join(s.home(), ".local/share/staithe/staging/uploads/*"), "cp", "large", ":up")
	s.arrived("up", large)
	hit(filepath.Join(l.dir, ".staithe-*.part"), "cp", ":up", "down")
	same(t, large, filepath.Join(l.dir, "down"))

	// The command itself is killed; another run goes on.
	for _, c := range []struct {
		grows, final string
		args         []string
	}{
		{filepath.Join(s.home(), ".local/share/staithe/staging/uploads/*"), filepath.Join(s.home(), "later"), []string{"cp", "large", ":later"}},
		{filepath.Join(l.dir, ".staithe-*.part"), filepath.Join(l.dir, "later"), []string{"cp", ":up", "later"}},
	} {
		cmd := l.command(c.args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		grown(t, c.grows, 20<<20)
		cmd.Process.Kill()
		cmd.Wait() // "signal: killed"
		if _, err := os.Lstat(c.final); err == nil {
			t.Errorf("%q: half a file", c.args)
		}
		before := inode(t, c.grows)
		l.run(c.args...)
		same(t, large, c.final)
		if after := inode(t, c.final); after != before {
			t.Errorf("%q began anew", c.args)
		}
	}
}

// inode is that of the largest file of a pattern.
func inode(t testing.TB, pattern string) (ino uint64) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, name := range names {
		info, err := os.Stat(name)
		if err == nil && info.Size() > size {
			size, ino = info.Size(), info.Sys().(*syscall.Stat_t).Ino
		}
	}
	return ino
}

// grown waits until a file of a pattern has more than so many bytes, and says how
// many.
func grown(t testing.TB, pattern string, bytes int64) int64 {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.Size() >= bytes {
				return info.Size()
			}
		}
		time.Sleep(time.Millisecond) // between two looks
	}
	t.Fatalf("nothing grew at %s", pattern)
	return 0
}

func TestCopySaysHowFarItIs(t *testing.T) {
	s := serve(t)
	l := s.laptop(t)
	large := made(t, l.dir, "large", 100<<20)
	l.run("ls")
	c := startConsole(t, s, "cp", large, ":large")
	grown(t, filepath.Join(s.home(), ".local/share/staithe/staging/uploads/*"), 10<<20)
	s.kill()
	c.see(" of 105 MB  connection lost; trying again")
	s.again()
	if c.code() != 0 {
		t.Errorf("%q", c.text())
	}
	c.ended()
	if got := c.text(); !strings.HasSuffix(got, "\r\x1b[K") || strings.Contains(got, "\n") {
		t.Errorf("the line was not taken away: %q", got)
	}
	s.arrived("large", large)
}
