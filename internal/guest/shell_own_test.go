package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"staithe/internal/wire"
)

// What a shell starts knows nothing of the marks, also where the person exports what
// holds them: not its environment, and not another shell's prompt.
func TestShellExports(t *testing.T) {
	const later = "export PS1 PS0 PROMPT_COMMAND"
	for name, c := range map[string]struct{ shell, file, text, env, then string }{
		"bash":           {"bash", ".bash_profile", "export PS1='own> ' PS0='' PROMPT_COMMAND='true'", "", "true"},
		"bash's image":   {"bash", ".bash_profile", "PS1='own> '", "PROMPT_COMMAND=true", "true"},
		"bash later":     {"bash", ".bash_profile", "PS1='own> '", "", later},
		"bash allexport": {"bash", ".bash_profile", "set -a\nPS1='own> '\nPROMPT_COMMAND=true", "", "true"},
		"bash array":     {"bash", ".bash_profile", "export PS1='own> '\nexport PROMPT_COMMAND=(true)", "", later},
		"zsh":            {"zsh", ".zshrc", "export PS1='own> '", "", "true"},
		"zsh allexport":  {"zsh", ".zshenv", "setopt all_export\nPS1='own> '", "", "true"},
		"fish":           {"fish", ".config/fish/config.fish", "function fish_prompt; echo -n 'own> '; end", "PS1=own> ", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, c.shell, map[string]string{c.file: c.text + "\n"}, c.env)
			s.run(c.then, 0)
			s.run("env", 0)
			s.run("bash --norc -i -c 'set; true'", 0)
			for _, child := range []string{"sh", "bash --norc"} {
				line := `sh -c 'printf "\a"; exec ` + child + `'`
				s.enter(line)
				s.heard(line, 0, "echo 'in it'", "exit 0")
			}
			s.seen("own> sh", "in it\n")
			s.unseen("staithe", "STAITHE", "133;", "not found")
			s.leave()
		})
	}
}

// A variable that holds our commands and gets into another shell before we see it, does
// nothing there.
func TestShellExportsUnseen(t *testing.T) {
	s := openShell(t, "bash", map[string]string{".bash_profile": "PS1='own> '\n"})
	const line = `export PS1 PS0 PROMPT_COMMAND; sh -c 'printf "\a"; exec bash --norc'`
	s.enter(line)
	s.heard(line, 0, "true", "exit 0")
	s.unseen("staithe", "133;", "not found")
	s.leave()
}

// The marks are right whatever options the person's files set, and no message is seen.
func TestShellOptions(t *testing.T) {
	bash := func(text string) [3]string { return [3]string{"bash", ".bash_profile", text} }
	zsh := func(text string) [3]string { return [3]string{"zsh", ".zshrc", text} }
	for name, c := range map[string][3]string{
		"bash nounset":         bash("set -u"),
		"bash nounset, unset":  bash("set -u\nunset HOSTNAME PROMPT_COMMAND PS0 HISTCONTROL HISTIGNORE"),
		"bash nounset, array":  bash("set -u\nPROMPT_COMMAND=('LAST=$?' 'true')"),
		"bash errexit":         bash("set -e\nPROMPT_COMMAND='LAST=$?'\n[[ -r /nothing ]] && true"),
		"bash globs":           bash("shopt -s failglob nullglob dotglob extglob nocasematch"),
		"bash noclobber":       bash("set -o noclobber"),
		"bash noglob":          bash("set -f"),
		"bash IFS":             bash("IFS='_/%0123456789;'"),
		"bash posix":           bash("set -o posix"),
		"bash restricted":      bash("set -r; cd() { builtin cd \"$@\"; }"),
		"bash semicolon":       bash("PROMPT_COMMAND='LAST=$?; '"),
		"bash comment":         bash("PROMPT_COMMAND='LAST=$? # mine'"),
		"zsh glob_subst":       zsh("setopt glob_subst"),
		"zsh sh_word_split":    zsh("setopt sh_word_split; IFS='_/%0123456789;'"),
		"zsh ksh_arrays":       zsh("setopt ksh_arrays"),
		"zsh emulate sh":       zsh("emulate sh"),
		"zsh emulate ksh":      zsh("emulate ksh"),
		"zsh nounset":          zsh("setopt no_unset warn_create_global"),
		"zsh errexit":          zsh("setopt err_exit"),
		"zsh precmd_functions": zsh("x() { LAST=$?; }\nprecmd_functions=(x)"),
		"zsh both functions":   zsh("x() { :; }\nprecmd_functions=(x)\npreexec_functions=(x)"),
		"zsh's .zshenv":        {"zsh", ".zshenv", "setopt rc_quotes ignore_braces sh_glob ksh_glob ksh_arrays no_unset err_exit\n[[ -r /nothing ]] && true"},
		"zsh's .zlogin":        {"zsh", ".zlogin", "precmd_functions=()\npreexec_functions=()"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, c[0], map[string]string{c[1]: "PS1='own> '\n" + c[2] + "\n"})
			s.run("echo one", 0)
			s.run("! true", 1)
			s.run(`echo "last-${LAST-1}"`, 0)
			if name != "bash restricted" {
				s.into("[a]* b_1;")
			}
			s.run("echo two /t*p", 0)
			s.seen("own> echo one", "\nlast-1", "\ntwo /t")
			s.unseen("staithe", "bash:", "zsh:", "unbound", "/nothing")
			s.leave()
		})
	}
}

// Where zsh's list of hooks is set anew at a prompt, the next command puts ours back.
func TestShellHooksAgain(t *testing.T) {
	s := openShell(t, "zsh", map[string]string{".zshrc": "PS1='own> '\n"})
	s.run("true", 0)
	s.enter("precmd_functions=()", "true")
	for _, phase := range []string{"start", "start", "end"} {
		if c := s.Next("command").(*wire.Command); c.Phase != phase {
			t.Errorf("%+v, not its %s", c, phase)
		}
	}
	s.run("false", 1)
	s.leave()
}

// A prompt whose variables are not expanded shows nothing of ours; the marks are where
// they can be.
func TestShellPromptvars(t *testing.T) {
	s := openShell(t, "bash", map[string]string{".bash_profile": "PS1='own> '\nPS0='(runs)'\nshopt -u promptvars\n"})
	s.enter("echo one")
	s.Next("cwd")
	s.enter("shopt -s promptvars")
	s.Next("cwd")
	s.run("echo two", 0)
	s.run("shopt -u promptvars", 0)
	s.enter("echo three")
	s.Next("cwd")
	s.Next("cwd")
	s.seen("own> echo one\n(runs)one", "own> echo two\n(runs)two", "own> echo three\n(runs)three")
	s.unseen("staithe")
	s.leave()
}

// A DEBUG trap sees nothing of ours after the person's own PROMPT_COMMAND, and that
// sees a pipeline's statuses where it is an array.
func TestShellTraps(t *testing.T) {
	const timer = "trap 'timer=${timer:-$SECONDS}' DEBUG\nPS1='${timer-none}> '\n"
	for name, profile := range map[string]string{
		"text":  timer + "PROMPT_COMMAND='ps=\"$? 0\"; unset timer'",
		"array": timer + "PROMPT_COMMAND=('ps=\"${PIPESTATUS[*]}\"; unset timer')",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, "bash", map[string]string{".bash_profile": profile + "\n"})
			s.run(map[string]string{"text": "(exit 2)", "array": "(exit 2) | true"}[name], map[string]int{"text": 2}[name])
			s.run(`echo "pipe $ps"`, 0)
			s.seen("\npipe 2 0", "\nnone> echo")
			s.leave()
		})
	}
}

// Marks go to the terminal, whatever standard output has become, and set -x tells
// little of them.
func TestShellRedirected(t *testing.T) {
	for _, shell := range []string{"bash", "zsh"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, shell, map[string]string{".zshenv": "unsetopt global_rcs\n", ".zshrc": "PS1='own> '\n", ".bash_profile": "PS1='own> '\n"}) // Debian's zshrc writes to standard output
			s.run("exec >out", 0)
			s.run("echo text", 0)
			s.run("exec >&-", 0)
			s.run("true", 0)
			if b, err := os.ReadFile(filepath.Join(s.world.home, "out")); err != nil || string(b) != "text\n" {
				t.Errorf("%q %v", b, err)
			}
			s.unseen("staithe", "error", "bad file")
			s.run("exec >/dev/tty; set -x", 0)
			s.run("true one; true two", 0)
			if n := strings.Count(s.screen(), "staithe"); n > 12 {
				t.Errorf("set -x shows of ours:\n%s", s.screen())
			}
			s.leave()
		})
	}
}

// What is readonly stays as it is, without a message: then there are no marks.
func TestShellReadonly(t *testing.T) {
	s := startShell(t, "bash", map[string]string{".bash_profile": "PS1='own> '\nreadonly PROMPT_COMMAND='LAST=$?'\n"})
	s.enter("false", `printf "last-$LAST\n\a"`)
	s.Next("bell")
	s.seen("own> false", "\nlast-1")
	s.unseen("staithe", "readonly")
	s.leave()
}

// bash knows a command by its history: of one that is not in it the line is not told,
// and never another's.
func TestShellHistory(t *testing.T) {
	for name, c := range map[string]struct {
		profile string
		lines   []string // "-" before a line that is not told
	}{
		"none":       {"unset HISTCONTROL HISTIGNORE", []string{"echo a", "echo a", " echo b", "echo a"}},
		"ignoreboth": {"HISTCONTROL=ignoreboth", []string{"- echo first", "echo a", "- echo secret", "-echo a", "echo b", "echo a"}},
		"ignoredups": {"HISTCONTROL=ignoredups", []string{"echo a", "echo a", " echo b", " echo b"}},
		"erasedups":  {"HISTCONTROL=erasedups", []string{"echo a", "echo b", "echo a", "echo b", "echo c", "echo a", "echo a"}},
		"HISTIGNORE": {"HISTCONTROL=ignoredups HISTIGNORE='echo secret*'", []string{"echo a", "-echo secret", "echo b"}},
		"off":        {"unset HISTCONTROL", []string{"echo a", "set +o history", "-echo secret", "-set -o history", "echo b"}},
		"no size":    {"HISTSIZE=0", []string{"-echo a", "-echo a"}},
		"small":      {"HISTSIZE=2", []string{"echo a", "echo b", "echo c", "echo d"}},
		"no times":   {"readonly HISTTIMEFORMAT='%F %T '", []string{"-echo a", "-echo b"}},
		"times":      {"HISTTIMEFORMAT='%F %T '", []string{"echo a", "echo b"}},
		"trap":       {"trap : DEBUG\nHISTCONTROL=ignorespace PROMPT_COMMAND='history -a; history -c; history -r'", []string{"echo a", "- echo secret", "echo b"}},
		"trap only":  {"trap : DEBUG\nHISTCONTROL=ignorespace PROMPT_COMMAND=true", []string{"echo a", "- echo secret", "echo b"}},
		"read anew":  {"HISTCONTROL=ignorespace PROMPT_COMMAND='history -a; history -c; history -r'", []string{"echo a", "- echo secret", "echo b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, "bash", map[string]string{".bash_profile": "PS1='own> '\n" + c.profile + "\n"})
			for _, line := range c.lines {
				line, secret := strings.CutPrefix(line, "-")
				s.enter(line)
				if secret {
					line = ""
				}
				s.heard(strings.TrimLeft(line, " "), 0)
			}
			s.leave()
		})
	}
}

// Also PS0: then it is not told where commands begin.
func TestShellReadonlyPS0(t *testing.T) {
	s := openShell(t, "bash", map[string]string{".bash_profile": "PS1='own> '\nreadonly PS0='(runs)'\n"})
	s.enter("echo one", "echo two")
	s.Next("cwd")
	s.Next("cwd")
	s.seen("own> echo one\n(runs)one", "own> echo two\n(runs)two")
	s.unseen("staithe", "readonly")
	s.leave()
}

// A command of many lines is one; and what a shell puts into a file has no mark in it.
func TestShellLines(t *testing.T) {
	for shell, lines := range map[string][]string{
		"bash": {"for i in 1 2", "do echo $i", "done"},
		"zsh":  {"for i in 1 2", "do echo $i", "done"},
		"fish": {"for i in 1 2", "echo $i", "end"},
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, shell, nil)
			s.run("true", 0)
			s.enter(lines...)
			began, ended := s.Next("command").(*wire.Command), s.Next("command").(*wire.Command)
			if began.Phase != "start" || ended.Phase != "end" || ended.ID != began.ID || !strings.HasPrefix(began.Line, "for i in 1 2") {
				t.Errorf("%+v %+v", began, ended)
			}
			line := `eval "cd /; cd /tmp" >>` + filepath.Join(s.world.home, "out")
			s.run(line, 0)
			if b, err := os.ReadFile(filepath.Join(s.world.home, "out")); err != nil || len(b) > 0 {
				t.Errorf("%q %v", b, err)
			}
			s.leave()
		})
	}
}
