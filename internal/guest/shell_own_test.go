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
	for _, phase := range []string{"start", "end", "start", "end"} {
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
	s.enter("echo three", `printf '\a'`)
	s.Next("bell")
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
		"saved": timer + "PROMPT_COMMAND='ps=\"$? 0\"; history -a; unset timer'", // which takes nothing from the list
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, "bash", map[string]string{".bash_profile": profile + "\n"})
			if name == "array" {
				s.run("(exit 2) | true", 0)
			} else {
				s.run("(exit 2)", 2)
			}
			s.run(`echo "pipe $ps"`, 0)
			s.seen("\npipe 2 0", "\nnone> echo")
			s.leave()
		})
	}
}

// A DEBUG trap that comes at the first prompt, as bash-preexec's does, takes no command
// of ours for the person's, and stays.
func TestShellPreexec(t *testing.T) {
	const hooks = `PS1='own> '
bash_preexec_imported=defined
own_debug() {
	local line
	[[ -n ${ready-} ]] || return 0
	ready=
	[[ $BASH_COMMAND == own_ready ]] || { read -r _ line < <(history 1); echo "before <$line>"; }
}
own_ready() { ready=1; }
own_string='trap - DEBUG; own_install'
own_install() {
	[[ ${PROMPT_COMMAND[*]} != *own_ready* ]] || return 0
	trap own_debug DEBUG
	PROMPT_COMMAND=${PROMPT_COMMAND//$own_string/:}
	PROMPT_COMMAND+=(own_ready)
	own_ready
}
PROMPT_COMMAND+=$'\n'$own_string
`
	for name, profile := range map[string]string{
		"text":  "PROMPT_COMMAND='LAST=$?'\n" + hooks,
		"array": "PROMPT_COMMAND=('LAST=$?')\n" + hooks,
		"atuin": "own_key() { history -s \"$1\"; }\n" + hooks,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, "bash", map[string]string{".bash_profile": profile, ".bash_history": "echo old\n"})
			s.run("echo one", 0)
			s.run("false", 1)
			s.run(`echo "last-${LAST-1}"`, 0)
			s.seen("before <echo one>\none", "before <false>", "\nlast-1")
			s.unseen("<echo old>")
			s.leave()
		})
	}
}

// An ERR trap sees only the person's commands, also in functions and substitutions.
func TestShellErrTrap(t *testing.T) {
	s := openShell(t, "bash", map[string]string{".bash_profile": "PS1='own> '\nunset PROMPT_COMMAND PS0\nset -E\ntrap 'echo \"failed $BASH_COMMAND\" >&2' ERR\n"})
	s.run("true", 0)
	s.run("false", 1)
	s.into("a b")
	s.seen("own> false\nfailed false")
	if n := strings.Count(s.screen(), "failed "); n != 1 {
		t.Errorf("the trap sees of ours:\n%s", s.screen())
	}
	s.leave()
}

// What zsh's DEBUG trap puts out is in none of the marks, and the trap stays.
func TestShellDebugTrap(t *testing.T) {
	for name, trap := range map[string]string{
		"function": "TRAPDEBUG() { print -r -- \"sees <$ZSH_DEBUG_CMD>\" }",
		"list":     "trap 'print -r -- \"sees <$ZSH_DEBUG_CMD>\"' DEBUG",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, "zsh", map[string]string{".zshrc": "PS1='own> '\nHISTORY_IGNORE='secret*'\n" + trap + "\n"})
			s.run("echo one", 0)
			s.into("a b")
			s.run("echo two", 0)
			s.seen("sees <echo one>\none", "sees <echo two>\ntwo")
			s.leave()
		})
	}
}

// What a DEBUG trap of bash puts out, also in subshells (set -T), is no part of the folder.
func TestShellTracedFolder(t *testing.T) {
	s := openShell(t, "bash", map[string]string{".bash_profile": "PS1='own> '\nset -T\ntrap 'echo \"sees /$BASH_COMMAND\"' DEBUG\n"})
	s.enter("mkdir 'a b'; cd 'a b'")
	for dir := filepath.Join(s.world.home, "a b"); s.Next("cwd").(*wire.Cwd).Cwd != dir; { // each prompt says it
	}
	s.leave()
}

// A locale that is readonly, or not installed, makes no noise, and is as it was after a
// folder of any name.
func TestShellLocale(t *testing.T) {
	for name, c := range map[string]struct {
		profile  string
		warnings int // which bash gives by itself
	}{
		"installed":     {"export LC_ALL=C.UTF-8", 0},
		"not installed": {"export LC_ALL=xx_XX.UTF-8", 1},
		"readonly":      {"readonly LC_ALL=C.UTF-8", 0},
		"neither":       {"readonly LC_ALL=xx_XX.UTF-8", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, "bash", map[string]string{".bash_profile": "PS1='own> '\n" + c.profile + "\n"})
			s.into("plain")
			s.into("a é%")
			s.run(`printf -v x '\303\251'; echo "length ${#x}"`, 0)
			s.seen("\nlength 1")
			s.unseen("readonly variable")
			if n := strings.Count(s.screen(), "warning"); n != c.warnings {
				t.Errorf("%d warnings:\n%s", n, s.screen())
			}
			s.leave()
		})
	}
}

// Of fish's XDG_DATA_DIRS only our entry is taken out: what the person's files add stays.
func TestShellDataDirs(t *testing.T) {
	const usual = "/usr/local/share:/usr/share"
	adds := "set -q XDG_DATA_DIRS; or set XDG_DATA_DIRS " + usual + "\nset -gx XDG_DATA_DIRS $XDG_DATA_DIRS:/nix/share"
	for name, c := range map[string]struct{ env, conf, want string }{
		"none":        {"", "", "none"},
		"some":        {"XDG_DATA_DIRS=/x/share", "", "/x/share"},
		"none, added": {"", adds, usual + ":/nix/share"},
		"some, added": {"XDG_DATA_DIRS=/x/share", adds, "/x/share:/nix/share"},
		"usual":       {"XDG_DATA_DIRS=" + usual, "", usual},
		"empty":       {"XDG_DATA_DIRS=", "", ""},
		"a list":      {"XDG_DATA_DIRS=/x/share", "set -gx --path XDG_DATA_DIRS /y/share $XDG_DATA_DIRS", "/y/share:/x/share"},
		"taken away":  {"XDG_DATA_DIRS=/x/share", "set -e XDG_DATA_DIRS", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var env []string
			if c.env != "" {
				env = []string{c.env}
			}
			s := openShell(t, "fish", map[string]string{".config/fish/conf.d/own.fish": c.conf + "\n"}, env...)
			s.run(`sh -c 'echo "dirs <${XDG_DATA_DIRS-none}>"'`, 0)
			s.seen("\ndirs <" + c.want + ">")
			s.run("env", 0)
			s.unseen("STAITHE_", s.world.guest.shells.dir)
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

// zsh and fish tell no line either that is kept out of the history.
func TestShellHistoryElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		shell, file, text string
		lines             []string // "-" before a line that is not told
	}{
		"zsh":              {"zsh", ".zshrc", "HISTSIZE=9", []string{"echo a", "echo secret"}},
		"zsh's space":      {"zsh", ".zshrc", "setopt hist_ignore_space\nalias quiet=' echo'\nalias q=quiet", []string{"echo a", "- echo secret", "-quiet secret", "-q secret", "-true; quiet secret", "echo b"}},
		"zsh's other":      {"zsh", ".zshrc", "emulate ksh\nsetopt hist_ignore_space no_unset err_exit", []string{"echo a", "- echo secret", "echo b"}},
		"zsh's pattern":    {"zsh", ".zshrc", "setopt extended_glob\nHISTORY_IGNORE='(echo ^[ab]*|date)'", []string{"echo a", "-echo secret", "-date", "echo b"}},
		"zsh's no pattern": {"zsh", ".zshrc", "HISTORY_IGNORE='(echo ['", []string{"echo a", "echo b"}},
		"fish":             {"fish", ".config/fish/config.fish", "", []string{"echo a", "- echo secret", "-  echo secret", "echo b"}},
		"fish in private":  {"fish", ".config/fish/config.fish", "set -g fish_private_mode 1", []string{"-echo secret", "- echo secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShell(t, c.shell, map[string]string{c.file: c.text + "\n"})
			for _, line := range c.lines {
				line, secret := strings.CutPrefix(line, "-")
				s.enter(line)
				if secret {
					line = ""
				}
				s.heard(line, 0)
			}
			s.unseen("bad pattern", "not set")
			s.leave()
		})
	}
}

// Also PS0: then it is not told where commands begin.
func TestShellReadonlyPS0(t *testing.T) {
	s := openShell(t, "bash", map[string]string{".bash_profile": "PS1='own> '\nreadonly PS0='(runs)'\n"})
	s.enter("echo one", "echo two", `printf '\a'`)
	s.Next("bell")
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
