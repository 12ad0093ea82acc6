package guest

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The shells' own ways to read something of ours besides the person's files, which
// stay as they are: bash --posix with ENV, zsh's ZDOTDIR, fish's XDG_DATA_DIRS.
//
//go:embed all:shell
var shellFiles embed.FS

// shells is the folder with what shells read, "" where there is none.
type shells struct{ dir string }

// putShells writes what shells read into a folder.
func putShells(dir string) (shells, error) {
	sub, err := fs.Sub(shellFiles, "shell")
	if err != nil {
		return shells{}, err
	}
	err = fs.WalkDir(sub, ".", func(name string, d fs.DirEntry, err error) error {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err != nil || d.IsDir() {
			return errors.Join(err, os.MkdirAll(to, 0o755))
		}
		b, err := fs.ReadFile(sub, name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o644)
	})
	if err != nil {
		return shells{}, fmt.Errorf("write what shells read: %w", err)
	}
	return shells{dir}, nil
}

// start is how a login shell is started that says where its commands begin and end.
// A shell that is not known, or whose file is gone, is started as it always was.
func (s shells) start(shell string, env []string) (argv, environ []string) {
	plain := []string{shell, "-l"}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(s.dir, filepath.FromSlash(name)))
		return s.dir != "" && err == nil
	}
	// set gives a variable another value; what it had goes under another name.
	set := func(name, value, kept string) {
		if had, ok := lookup(env, name); ok {
			env = slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, name+"=") })
			env = append(env, kept+"="+had)
		}
		env = append(slices.Clip(env), name+"="+value)
	}
	switch name := filepath.Base(shell); {
	case name == "bash" && has("staithe.bash"):
		if _, ok := lookup(env, "HISTFILE"); !ok {
			home, _ := lookup(env, "HOME")
			set("HISTFILE", filepath.Join(home, ".bash_history"), "")
			set("STAITHE_HISTFILE", "1", "")
		}
		set("ENV", filepath.Join(s.dir, "staithe.bash"), "STAITHE_ENV")
		set("STAITHE_SHELL", "1", "")
		return []string{shell, "--posix", "-l"}, env
	case name == "zsh" && has("zsh/.zshenv"):
		set("ZDOTDIR", filepath.Join(s.dir, "zsh"), "STAITHE_ZDOTDIR")
	case name == "fish" && has("fish/vendor_conf.d/staithe.fish"):
		const usual = "/usr/local/share:/usr/share"
		dirs, _ := lookup(env, "XDG_DATA_DIRS")
		dirs = cmp.Or(dirs, usual)
		set("XDG_DATA_DIRS", s.dir+":"+dirs, "STAITHE_XDG_DATA_DIRS")
	}
	return plain, env
}

// lookup is a variable's value; of one that is there more than once the last counts.
func lookup(env []string, name string) (value string, ok bool) {
	for _, e := range slices.Backward(env) {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v, true
		}
	}
	return "", false
}
