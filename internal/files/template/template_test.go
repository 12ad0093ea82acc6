package template

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"staithe/internal/station"
)

func names(t *testing.T, s *Stream) (out []string) {
	t.Helper()
	defer s.Close()
	r := tar.NewReader(s)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeSymlink {
			out = append(out, h.Name)
		}
	}
}

func TestCheck(t *testing.T) {
	for source, ok := range map[string]bool{"": true, "/srv/template": true, "https://h/x.tar.gz": true, "git+https://h/x.git": true,
		"relative": false, "http://h/x.tar": false, "https://h/x": false, "git+ssh://h/x": false, "git+file:///x": false, "git+ext::sh": false, "file:///x": false} {
		if err := Check(source); (err == nil) != ok || err != nil && !errors.Is(err, station.ErrInvalid) {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// Neither who begins with a template nor the server's log hears of the credentials
// in its address, or of where the server keeps it.
func TestCredentialsAreNotTold(t *testing.T) {
	for source, shown := range map[string]string{
		"":                                  "",
		"/srv/secret/begin":                 "begin",
		"/srv/secret/begin.tar":             "begin.tar",
		"https://u:secret@h/a/x.zip?t=.zip": "https://h/a/x.zip",
		"git+https://secret@h:8443/x.git":   "git+https://h:8443/x.git",
		"https://h/%zz.tar":                 "",
	} {
		if got := Shown(source); got != shown {
			t.Errorf("%s is shown as %q", source, got)
		}
	}
	for _, source := range []string{"git+https://secret-user:s%65cret@127.0.0.1:1/x.git", "https://secret-user:secret@127.0.0.1:1/x.tar"} {
		_, err := Open(t.Context(), source)
		p, ok := errors.AsType[*station.Problem](err)
		if !ok || !strings.Contains(p.Sentence, "tell the administrator") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
	if said := withoutUser("could not read Password for 'https://to%6Ben@h': a token", "https://to%6Ben@h/x.git"); said != "could not read Password for 'https://…@h': a …" {
		t.Errorf("%q", said)
	}
}

// A repository's newest files come, and nothing that it names is run: hooks,
// filters, or submodules.
func TestAbuse26_ARepositoryRunsNothing(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("SKIPPED, templates from git: there is no git")
	}
	dir, err := os.MkdirTemp("", "repository-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tmp := filepath.Join(dir, "tmp") // what is left in it is of this test alone
	if err := errors.Join(os.Mkdir(tmp, 0o755), os.Chmod(tmp, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	pwned := filepath.Join(dir, "pwned")
	script := `set -e; chmod 755 . ; git init -q -b main r; cd r
git config user.email a@b; git config user.name a; git config filter.evil.smudge "touch ` + pwned + `"
echo x > .bashrc; ln -s /etc/passwd link; echo '* filter=evil export-subst' > .gitattributes
printf '[submodule "s"]\n\tpath = s\n\turl = ext::sh -c touch%%20` + pwned + `\n' > .gitmodules
git add . ; git commit -qm 1; printf '#!/bin/sh\ntouch ` + pwned + `\n' > .git/hooks/post-checkout; chmod 755 .git/hooks/post-checkout; chmod -R a+rX .`
	sh := exec.Command("sh", "-c", script)
	sh.Dir = dir
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if _, err := git(t.Context(), "file://"+dir+"/r/.git"); err == nil {
		t.Error("a repository of this machine was fetched")
	}
	protocol = "file"
	t.Cleanup(func() { protocol = "https" })
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[safe]\n\tdirectory = *\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // the account that fetches has to own it
		if out, err := exec.Command("chown", "-R", "65534:65534", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	s, err := git(t.Context(), "file://"+dir+"/r/.git")
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, s); !slices.Equal(got, []string{".bashrc", ".gitattributes", ".gitmodules", "link"}) {
		t.Errorf("%q", got)
	}
	if _, err := os.Lstat(pwned); err == nil {
		t.Error("something of the repository was run")
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "staithe-template-*")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

func TestAFolder(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644), os.Symlink("f", filepath.Join(dir, "l"))); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, s); !slices.Equal(got, []string{"f", "l"}) {
		t.Errorf("%q", got)
	}
	if _, err := Open(t.Context(), filepath.Join(dir, "none")); err == nil {
		t.Error("a template that is not there")
	}
}
