package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"staithe/internal/muxclient/muxtest"
	"staithe/internal/wire"
)

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
			w.guest.opt.Config.Shell = path
			w.guest.opt.Config.Env = slices.DeleteFunc(w.guest.opt.Config.Env, func(e string) bool { return strings.HasPrefix(e, "PS1=") })
			w.guest.opt.Config.Env = append(w.guest.opt.Config.Env, "LANG=C.UTF-8")
			api := w.api()
			ws, err := api.Mux(t.Context(), owner("ada"), wire.Subprotocol)
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close(websocket.StatusNormalClosure, "")
			raw := muxtest.NewRaw(t, ws)
			raw.Say(&wire.Hello{Client: "shell-integration-test"})
			raw.Say(&wire.Open{Req: wire.StringReq("1"), Cols: 100, Rows: 30})
			at := raw.Next("attached").(*wire.Attached)
			run := func(line string, code int) {
				t.Helper()
				raw.Send(append([]byte{at.Channel}, line+"\r"...))
				began := raw.Next("command").(*wire.Command)
				if began.Phase != "start" || began.Line != line {
					t.Errorf("%q began as %+v", line, began)
				}
				ended := raw.Next("command").(*wire.Command)
				if ended.Phase != "end" || ended.ID != began.ID || ended.ExitCode == nil || *ended.ExitCode != code || ended.Offset <= began.Offset {
					t.Errorf("%q ended as %+v", line, ended)
				}
			}
			if cwd := raw.Next("cwd").(*wire.Cwd); cwd.Cwd != w.home {
				t.Errorf("it begins in %q", cwd.Cwd)
			}
			run("greet; echo $OWN", 0)
			run("false", 1)
			run("echo last-$LAST 'a b' ; echo \"é;%\"", 0)
			odd := filepath.Join(w.home, "é b%;")
			if err := os.Mkdir(odd, 0o755); err != nil {
				t.Fatal(err)
			}
			raw.Send(append([]byte{at.Channel}, "cd é*\r"...))
			for raw.Next("cwd").(*wire.Cwd).Cwd != odd { // each prompt says it
			}
			if shell == "fish" { // the others say the folder before the next prompt
				raw.Next("command")
			}
			run("env", 0)
			screen, err := api.Screen(t.Context(), owner("ada"), at.Tab, 500, false)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(screen.Lines, "\n")
			for _, want := range []string{"own> greet", "hello\nfrom-", "last-1 a b"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not seen:\n%s", want, text)
				}
			}
			for _, leak := range []string{"STAITHE_", "\nENV=", "ZDOTDIR=", w.guest.shells.dir, "HISTFILE", "POSIXLY_CORRECT", "133;"} {
				if strings.Contains(text, leak) {
					t.Errorf("%q is seen:\n%s", leak, text)
				}
			}
			if shell == "bash" {
				run("set -o | grep posix | grep off; echo $HISTFILE", 0)
				if screen, _ := api.Screen(t.Context(), owner("ada"), at.Tab, 500, false); !strings.Contains(strings.Join(screen.Lines, "\n"), filepath.Join(w.home, ".bash_history")) {
					t.Error("another history")
				}
			}
			raw.Send(append([]byte{at.Channel}, "exit\r"...))
			raw.Next("exit")
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
}
