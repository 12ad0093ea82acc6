// Package git tells what git says of a home's repositories, with the host's own
// git in a jail: a repository's configuration can name programs, and the one
// that reads it must find none, and be able to start none (decision 25).
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
	"time"

	"staithe/internal/idmap"
	"staithe/internal/keylock"
	"staithe/internal/station"
	"staithe/internal/volume/jail"
)

const (
	insideGit = "/bin/git"
	// patience is how long git may take, processor is how much of that it may
	// compute.
	patience  = 20 * time.Second
	processor = 20 // seconds
	memory    = 3 << 30
	// outputMax is how much of git's answer is read, in bytes.
	outputMax = 16 << 20
	// atOnce is how many gits run at the same time, of one user one: who has slow
	// repositories keeps nobody else waiting.
	atOnce = 4
)

// Options say where the parts are.
type Options struct {
	Program  string // git, on the host
	Launcher string // staithe-backup
	Root     string // an empty folder of the host, see jail.Spec
}

// Git asks git. Safe for concurrent use.
type Git struct {
	o     Options
	binds []jail.Bind
	turns chan struct{}
	users keylock.Locks[station.ID] // by workstation
}

// Find is the host's git; the error says that there is none.
func Find() (string, error) {
	at, err := exec.LookPath("git")
	if err != nil {
		return "", station.Errorf(station.ErrUnavailable, "no_git", "The server has no git; install the package git there.").Because(err)
	}
	return at, nil
}

// Open returns a Git. It makes the folder Root.
func Open(o Options) (*Git, error) {
	libs, err := jail.ProgramFiles(o.Program)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Root, 0o700); err != nil {
		return nil, fmt.Errorf("make git's folder: %w", err)
	}
	g := &Git{o: o, turns: make(chan struct{}, atOnce)}
	g.binds = append(g.binds, jail.Bind{From: o.Program, To: insideGit, Exec: true, Follow: true})
	for _, lib := range libs {
		g.binds = append(g.binds, jail.Bind{From: lib, To: lib, Exec: true, Follow: true})
	}
	return g, nil
}

// Home is whose repositories are asked about.
type Home struct {
	Workstation station.Workstation
	Path        string // the folder on the host
	Inside      string // what it is called in sessions
}

// fixed is what every run is told, over all that a repository or the person's own
// configuration says: nothing is started, no threads, nothing is written.
var fixed = []string{
	"-c", "safe.directory=*", "-c", "core.fsmonitor=", "-c", "core.preloadIndex=false", "-c", "core.untrackedCache=false",
	"-c", "index.threads=1", "-c", "pack.threads=1", "-c", "core.hooksPath=/nothing",
	"-c", "core.packedGitWindowSize=32m", "-c", "core.packedGitLimit=512m", "-c", "core.deltaBaseCacheLimit=64m", "-c", "core.bigFileThreshold=16m",
	"-c", "filter.lfs.clean=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false",
}

// failed is a git that ended with an error.
type failed struct {
	code int
	said string
}

func (f *failed) Error() string { return fmt.Sprintf("git ended with %d: %.500q", f.code, f.said) }

// run runs git in a folder of the home, given from its top, and returns what it
// prints; cut says that there was more.
func (g *Git) run(ctx context.Context, home Home, folder []byte, args ...string) (out []byte, cut bool, err error) {
	all := append([]string{insideGit, "-C", path.Join(home.Inside, string(folder))}, fixed...)
	return g.runArgs(ctx, home, append(all, args...))
}

func (g *Git) runArgs(ctx context.Context, home Home, args []string) (out []byte, cut bool, err error) {
	done, err := g.turn(ctx, home.Workstation.ID)
	if err != nil {
		return nil, false, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	spec := jail.Spec{
		Root: g.o.Root, Host: "git", Alone: true, Time: processor, Memory: memory, FileSize: 1,
		Args: args,
		Env: []string{"HOME=" + home.Inside, "LC_ALL=C", "PATH=/nothing", "GIT_CONFIG_NOSYSTEM=1", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0",
			"GIT_NO_LAZY_FETCH=1", "GIT_PAGER=", "GIT_CEILING_DIRECTORIES=" + path.Dir(home.Inside)},
	}
	at := jail.Bind{From: home.Path, To: home.Inside}
	if os.Geteuid() == 0 {
		tree, uid, err := idmap.HomeTree(home.Workstation, home.Path)
		if err != nil {
			return nil, false, err
		}
		defer tree.Close()
		spec.UID, spec.Files, at.File = uid, []*os.File{tree}, 1
	}
	spec.Binds = append(append([]jail.Bind{}, g.binds...), at)
	stdout, stderr := &bounded{most: outputMax, full: cancel}, &bounded{most: 64 << 10}
	p, err := jail.Start(ctx, g.o.Launcher, spec, stdout, stderr)
	if err != nil {
		return nil, false, err
	}
	err = p.Wait()
	if stdout.cut {
		return stdout.Bytes(), true, nil
	}
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, false, &failed{exit.ExitCode(), stderr.String()}
	}
	return stdout.Bytes(), false, err
}

// turn waits until a user may have a git run.
func (g *Git) turn(ctx context.Context, ws station.ID) (done func(), err error) {
	unlock, err := g.users.Lock(ctx, ws)
	if err != nil {
		return nil, err
	}
	select {
	case g.turns <- struct{}{}:
		return func() { <-g.turns; unlock() }, nil
	case <-ctx.Done():
		unlock()
		return nil, ctx.Err()
	}
}

// bounded keeps the beginning of what is written.
type bounded struct {
	bytes.Buffer
	most int
	full func() // called when there is more; nil: nothing is
	cut  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.most-b.Len())
	b.Buffer.Write(p[:n])
	if n < len(p) && !b.cut {
		b.cut = true
		if b.full != nil {
			b.full()
		}
	}
	return len(p), nil
}

// inHome is a path of the jail from the home's top.
func inHome(home Home, at string) (string, bool) {
	if at == home.Inside {
		return ".", true
	}
	return strings.CutPrefix(at, home.Inside+"/")
}
