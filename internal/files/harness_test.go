package files

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"staithe/internal/rootlesstest"
	"staithe/internal/station"
)

// TestRootless runs all of this again in an account that is not root: only there
// do permissions mean something.
func TestRootless(t *testing.T) {
	// But the kills, which take minutes and do not depend on who is killed.
	if passed := rootlesstest.Run(t, rootlesstest.Again{Run: "^(Test[^RK].*|TestR[^o].*)$"}); passed < 25 {
		t.Errorf("%d tests passed", passed)
	}
}

// inside is what the test's home is called in sessions.
const inside = "/home/dev"

// bench is a home, and beside it a folder that nothing may touch.
type bench struct {
	*Home
	t       *testing.T
	dir     string // the home
	outside string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	top := t.TempDir()
	b := &bench{t: t, dir: filepath.Join(top, "home"), outside: filepath.Join(top, "outside")}
	for _, d := range []string{b.dir, b.outside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.put("../outside/secret", "secret")
	var err error
	if b.Home, err = Open(b.dir, Options{Home: inside}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// put writes a file as a session's program would, with its folders.
func (b *bench) put(name, content string) {
	b.t.Helper()
	p := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) link(target, name string) {
	b.t.Helper()
	p := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Symlink(target, p); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) get(name string) string {
	b.t.Helper()
	c, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(c)
}

// read reads through the home.
func (b *bench) read(p Path) (string, error) {
	r, err := b.Read(b.t.Context(), p)
	if err != nil {
		return "", err
	}
	defer r.Close()
	c, err := io.ReadAll(r)
	return string(c), err
}

// write writes through the home, without a condition.
func (b *bench) write(p Path, content string) error {
	_, err := b.Write(b.t.Context(), p, strings.NewReader(content), WriteOptions{Size: -1})
	return err
}

func (b *bench) list(p Path, o ListOptions) []string {
	b.t.Helper()
	l, err := b.List(b.t.Context(), p, o)
	if err != nil {
		b.t.Fatal(err)
	}
	names := []string{}
	for _, e := range l.Entries {
		names = append(names, string(e.Name))
	}
	return names
}

// untouched fails when the folder beside the home is not as it was.
func (b *bench) untouched() {
	b.t.Helper()
	entries, err := os.ReadDir(b.outside)
	if err != nil || len(entries) != 1 || b.get("../outside/secret") != "secret" {
		b.t.Errorf("the folder outside was changed: %v %v", entries, err)
	}
	if info, err := os.Stat(b.outside); err != nil || info.Mode().Perm() != 0o755 {
		b.t.Errorf("the folder outside: %v %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Join(b.outside, "secret")); err != nil || info.Mode().Perm() != 0o644 {
		b.t.Errorf("the file outside: %v %v", info.Mode(), err)
	}
}

// staged is what is left in staging.
func (b *bench) staged() []string {
	entries, err := os.ReadDir(filepath.Join(b.dir, string(stagingDir)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	sort.Strings(names)
	return names
}

// want checks an error's code; "" is none.
func want(t *testing.T, err error, code string) {
	t.Helper()
	p, ok := errors.AsType[*station.Problem](err)
	switch {
	case code == "" && err == nil:
	case err == nil || !ok || p.Code != code:
		t.Errorf("error is %v, not %q", err, code)
	case !strings.HasSuffix(p.Sentence, ".") || strings.ContainsAny(p.Sentence, "\n\x1b"):
		t.Errorf("no sentence: %q", p.Sentence)
	}
}
