package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
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
			line += fmt.Sprintf(" %v %x", info.ModTime().UnixNano(), sha256.Sum256(c))
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

// ended waits until all that a command wrote was read.
func (c *console) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.over {
		c.cond.Wait()
	}
}
