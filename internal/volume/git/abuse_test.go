package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/jail"
)

// traps are settings of a repository, or of a person, that name programs.
var traps = `
[core]
	fsmonitor = COMMAND
	hooksPath = /home/dev/hooks
	pager = COMMAND
	editor = COMMAND
	sshCommand = COMMAND
	gitProxy = COMMAND
	askPass = COMMAND
	alternateRefsCommand = COMMAND
[filter "trap"]
	clean = COMMAND
	smudge = COMMAND
[filter "lfs"]
	process = COMMAND
	clean = COMMAND
	required = true
[diff "trap"]
	textconv = COMMAND
	command = COMMAND
[diff]
	external = COMMAND
[alias]
	status = !COMMAND
	rev-parse = !COMMAND
[credential]
	helper = !COMMAND
[status]
	submoduleSummary = true
[submodule "s"]
	update = !COMMAND
	url = ext::COMMAND
[protocol]
	allow = always
[remote "origin"]
	url = ext::COMMAND
	promisor = true
	partialclonefilter = blob:none
`

// trapped makes a repository that runs command whenever it can.
func trapped(b *bench, command string) {
	b.t.Helper()
	b.write("p/a.trap", "1\n")
	b.write("p/a.lfs", "1\n")
	b.git("p", "init", "-q")
	b.git("p", "add", ".")
	b.git("p", "commit", "-qm", "one")
	b.write("p/.gitattributes", "*.trap filter=trap diff=trap\n*.lfs filter=lfs\n")
	b.write("p/a.trap", "2\n") // as long as before: git has to read it, through the filter
	b.write("p/a.lfs", "2\n")
	config, err := os.ReadFile(filepath.Join(b.home.Path, "p/.git/config"))
	if err != nil {
		b.t.Fatal(err)
	}
	all := strings.ReplaceAll(traps, "COMMAND", command)
	b.write("p/.git/config", string(config)+all)
	b.write(".gitconfig", all)
	for _, hook := range []string{"post-index-change", "fsmonitor-watchman", "post-checkout", "reference-transaction"} {
		for _, dir := range []string{"hooks", "p/.git/hooks"} {
			b.write(dir+"/"+hook, "#!/bin/sh\n"+command+"\n")
			if err := os.Chmod(filepath.Join(b.home.Path, dir, hook), 0o755); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// A repository whose settings name programs has none of them run: neither one of
// the host's, nor one in the home, nor git itself.
func TestAbuse27_GitRunsNothing(t *testing.T) {
	b := newBench(t)
	open := t.TempDir() // where anybody could leave a trace
	if err := errors.Join(os.Chmod(open, 0o777), os.Chmod(filepath.Dir(open), 0o755)); err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(open, "trace")
	trapped(b, "touch "+trace+" /home/dev/trace "+b.home.Path+"/trace")
	if s := b.status("p"); string(s.Repository) != "p" || !strings.Contains(s.codes(), "?? p/.gitattributes") || !strings.Contains(s.codes(), " M p/a.trap") {
		t.Errorf("%+v %q", s, s.codes())
	}
	for _, at := range []string{trace, filepath.Join(b.home.Path, "trace")} {
		if _, err := os.Lstat(at); err == nil {
			t.Errorf("a program was run: %s is there", at)
		}
	}
	if out, err := exec.Command("find", b.home.Path, "-name", "index.lock").Output(); err != nil || len(out) > 0 {
		t.Errorf("%s %v", out, err)
	}
	// The trap is a good one: git outside of the jail walks into it.
	cmd := exec.Command("git", "-c", "safe.directory=*", "status")
	b.as(cmd)
	cmd.Dir, cmd.Env = filepath.Join(b.home.Path, "p"), []string{"HOME=" + b.home.Path, "PATH=" + os.Getenv("PATH")}
	_ = cmd.Run() // it fails or not
	if _, err := os.Lstat(trace); err != nil {
		t.Errorf("plain git runs none of this either: %v", err)
	}
}

// A filter that must work and cannot makes an error, not an answer and not a run.
func TestAbuse27_GitFilterThatIsRequired(t *testing.T) {
	b := newBench(t)
	trapped(b, "false")
	b.git("p", "config", "filter.trap.required", "true")
	if _, err := b.Status(t.Context(), b.home, []byte("p")); err == nil || !strings.Contains(err.Error(), "git status") {
		t.Error(err)
	}
}

// What is alone in its jail has no second process and no socket, whatever it
// tries, and writes nothing into the home.
func TestAbuse27_Alone(t *testing.T) {
	b := newBench(t)
	libs, err := jail.ProgramFiles("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	g := &Git{o: b.o, turns: b.turns, binds: []jail.Bind{{From: "/bin/sh", To: insideGit, Exec: true, Follow: true}}}
	for _, lib := range libs {
		g.binds = append(g.binds, jail.Bind{From: lib, To: lib, Exec: true, Follow: true})
	}
	sh := func(script string) (string, error) {
		t.Helper()
		out, _, err := g.runArgs(t.Context(), b.home, []string{insideGit, "-c", script})
		return string(out), err
	}
	if out, err := sh("echo up"); out != "up\n" || err != nil {
		t.Fatalf("%q %v", out, err)
	}
	for _, script := range []string{"echo up; (echo forked)", "echo up; echo forked | read x", "echo up > /home/dev/written", "/home/dev/program"} {
		b.write("program", "#!/bin/git\n")
		if err := os.Chmod(filepath.Join(b.home.Path, "program"), 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := sh(script)
		if f, ok := errors.AsType[*failed](err); !ok || strings.Contains(out, "forked") {
			t.Errorf("%s: %q %v", script, out, err)
		} else if !strings.Contains(f.said, "fork") && !strings.Contains(f.said, "create") && !strings.Contains(f.said, "denied") {
			t.Errorf("%s: %s", script, f.said)
		}
	}
}

// A user who asks about slow repositories all the time does not use up the turns of
// all.
func TestAbuse37_OneUsersTurns(t *testing.T) {
	g := &Git{turns: make(chan struct{}, atOnce)}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	first, err := g.turn(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * atOnce {
		waiting.Go(func() {
			if done, err := g.turn(ctx, "a"); err == nil {
				defer done()
				<-ctx.Done()
			}
		})
	}
	limited, over := context.WithTimeout(t.Context(), 10*time.Second)
	defer over()
	for i := range atOnce - 1 {
		done, err := g.turn(limited, station.ID(fmt.Sprint("b", i)))
		if err != nil {
			t.Fatalf("another user waits: %v", err)
		}
		defer done()
	}
	cancel()
	waiting.Wait()
	first()
	again, err := g.turn(limited, "a")
	if err != nil {
		t.Fatal(err)
	}
	again()
}
