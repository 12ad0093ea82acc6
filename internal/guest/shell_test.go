package guest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"staithe/internal/guestapi"
	"staithe/internal/muxclient/muxtest"
	"staithe/internal/wire"
)

// shellTab is a tab of a shell that reads our files, and what a client hears of it.
type shellTab struct {
	*muxtest.Raw
	t     *testing.T
	world *world
	api   *guestapi.Client
	at    *wire.Attached
	cwd   *wire.Cwd // the first, where it came before that
}

// startShell starts a shell in a tab, with files of the person's own in the home folder.
// It is skipped where the shell is not installed.
func startShell(t *testing.T, shell string, files map[string]string, env ...string) *shellTab {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		t.Skipf("%s is not here: apt-get install %s", shell, shell)
	}
	w := newWorld(t)
	for name, text := range files {
		p := filepath.Join(w.home, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if w.guest.shells, err = putShells(filepath.Join(t.TempDir(), "shell")); err != nil {
		t.Fatal(err)
	}
	config := &w.guest.opt.Config
	config.Shell = path
	config.Env = slices.DeleteFunc(config.Env, func(e string) bool { return strings.HasPrefix(e, "PS1=") })
	config.Env = append(append(config.Env, "LANG=C.UTF-8"), env...)
	s := &shellTab{t: t, world: w, api: w.api()}
	ws, err := s.api.Mux(t.Context(), owner("ada"), wire.Subprotocol)
	if err != nil {
		t.Fatal(err)
	}
	s.Raw = muxtest.NewRaw(t, ws)
	s.Say(&wire.Hello{Client: "shell-integration-test"})
	s.Say(&wire.Open{Req: wire.StringReq("1"), Cols: 100, Rows: 30})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for s.at == nil { // the shell may be faster than the answer
		_, b, err := ws.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if b[0] != wire.ControlChannel {
			continue
		}
		switch m, _ := wire.ParseServer(b[1:]); m := m.(type) {
		case *wire.Attached:
			s.at = m
		case *wire.Cwd:
			s.cwd = m
		}
	}
	return s
}

// openShell starts a shell and waits for its first prompt.
func openShell(t *testing.T, shell string, files map[string]string, env ...string) *shellTab {
	t.Helper()
	s := startShell(t, shell, files, env...)
	if s.cwd == nil {
		s.cwd = s.Next("cwd").(*wire.Cwd)
	}
	if s.cwd.Cwd != s.world.home {
		t.Errorf("it begins in %q", s.cwd.Cwd)
	}
	return s
}

// enter types lines.
func (s *shellTab) enter(lines ...string) {
	s.t.Helper()
	s.Send(append([]byte{s.at.Channel}, strings.Join(lines, "\r")+"\r"...))
}

// heard is a command from its begin to its end; more is typed at its bell, when the
// terminal is no longer the shell's.
func (s *shellTab) heard(line string, code int, typed ...string) {
	s.t.Helper()
	began := s.Next("command").(*wire.Command)
	if began.Phase != "start" || began.Line != line {
		s.t.Errorf("%q began as %+v", line, began)
	}
	if len(typed) > 0 {
		s.Next("bell")
		s.enter(typed...)
	}
	ended := s.Next("command").(*wire.Command)
	if ended.Phase != "end" || ended.ID != began.ID || ended.ExitCode == nil || *ended.ExitCode != code || ended.Offset <= began.Offset {
		s.t.Errorf("%q ended as %+v", line, ended)
	}
}

// run types a line and waits for its end; the shell tells the line.
func (s *shellTab) run(line string, code int) {
	s.t.Helper()
	s.enter(line)
	s.heard(line, code)
}

// screen is all that was put out.
func (s *shellTab) screen() string {
	s.t.Helper()
	screen, err := s.api.Screen(s.t.Context(), owner("ada"), s.at.Tab, 500, false)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(screen.Lines, "\n")
}

// seen looks for what is to be on the screen, and unseen for what is not.
func (s *shellTab) seen(texts ...string) {
	s.t.Helper()
	screen := s.screen()
	for _, text := range texts {
		if !strings.Contains(screen, text) {
			s.t.Errorf("%q is not seen:\n%s", text, screen)
		}
	}
}

func (s *shellTab) unseen(texts ...string) {
	s.t.Helper()
	screen := s.screen()
	for _, text := range texts {
		if strings.Contains(screen, text) {
			s.t.Errorf("%q is seen:\n%s", text, screen)
		}
	}
}

// leave ends the shell.
func (s *shellTab) leave() {
	s.t.Helper()
	s.enter("exit")
	s.Next("exit")
}

// into goes to a new folder and waits for the shell to say it.
func (s *shellTab) into(name string) {
	s.t.Helper()
	dir := filepath.Join(s.world.home, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.enter("cd '" + dir + "'")
	for s.Next("cwd").(*wire.Cwd).Cwd != dir { // each prompt says it
	}
	s.enter("true")
	for s.Next("command").(*wire.Command).Line != "true" { // fish 4 says it before the end of cd
	}
	s.Next("command")
}

// Each shell says where its commands begin and end, what they are and how they
// ended, and its folder; and reads the person's own files as it always does, with
// nothing of ours in the environment of what it starts.
func TestShellIntegration(t *testing.T) {
	for shell, files := range map[string]map[string]string{
		"bash": {".bash_profile": "OWN=from-profile\n. ~/.bashrc\n", ".bashrc": "alias greet='echo hello'\nPS1='own> '\nPROMPT_COMMAND='LAST=$?'\nshopt -s histappend\n"},
		"zsh":  {".zshenv": "OWN=from-zshenv\n", ".zshrc": "alias greet='echo hello'\nPS1='own> '\nprecmd() { LAST=$? }\n"},
		"fish": {".config/fish/config.fish": "set OWN from-config\nalias greet 'echo hello'\nfunction fish_prompt; set -g LAST $status; echo -n 'own> '; end\nfunction fish_greeting; end\n"},
	} {
		t.Run(shell, func(t *testing.T) {
			s := openShell(t, shell, files)
			s.run("greet; echo $OWN", 0)
			s.run("false", 1)
			s.run("echo last-$LAST 'a b' ; echo \"é;%\"", 0)
			s.into("é b%;")
			s.run("env", 0)
			s.seen("own> greet", "hello\nfrom-", "last-1 a b")
			s.unseen("STAITHE_", "\nENV=", "ZDOTDIR=", s.world.guest.shells.dir, "HISTFILE", "POSIXLY_CORRECT", "133;")
			if shell == "bash" {
				s.run("set -o | grep posix | grep off; echo $HISTFILE", 0)
				s.seen(filepath.Join(s.world.home, ".bash_history"))
			}
			s.leave()
			// The first prompt of the next shell says how the last command ended: that was
			// none of its own.
			s.Say(&wire.Attach{Req: wire.StringReq("2"), Tab: s.at.Tab, Cols: 100, Rows: 30, Restart: true})
			s.at = s.Next("attached").(*wire.Attached)
			s.run("echo again", 0)
			s.leave()
		})
	}
}

// A shell whose files of ours are gone, or that is not known, is as it always was.
func TestShellsWithoutOurFiles(t *testing.T) {
	env := []string{"HOME=/h", "ENV=/x", "ZDOTDIR=/z"}
	for _, s := range []shells{{}, {t.TempDir()}} {
		for _, shell := range []string{"/bin/bash", "/bin/zsh", "/usr/bin/fish", "/bin/sh"} {
			argv, got := s.start(shell, env)
			if fmt.Sprint(argv) != fmt.Sprint([]string{shell, "-l"}) || fmt.Sprint(got) != fmt.Sprint(env) {
				t.Errorf("%s: %q %q", shell, argv, got)
			}
		}
	}
	s, err := putShells(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if argv, got := s.start("/bin/sh", env); len(argv) != 2 || len(got) != len(env) {
		t.Errorf("%q %q", argv, got)
	}
	_, got := s.start("/bin/bash", env)
	if !slices.Contains(got, "STAITHE_ENV=/x") || !slices.Contains(got, "HISTFILE=/h/.bash_history") || slices.Contains(got, "ENV=/x") || !slices.Contains(env, "ENV=/x") {
		t.Errorf("%q", got)
	}
	for shell, name := range map[string]string{"/bin/zsh": "ZDOTDIR", "/usr/bin/fish": "XDG_DATA_DIRS", "/bin/bash": "ENV"} {
		_, got := s.start(shell, []string{name + "=/a", "HOME=/h", name + "=/b"})
		n := 0
		for _, e := range got {
			if strings.HasPrefix(e, name+"=") {
				n++
			}
		}
		if n != 1 || !slices.Contains(got, "STAITHE_"+name+"=/b") {
			t.Errorf("%s: %q", shell, got)
		}
	}
}
