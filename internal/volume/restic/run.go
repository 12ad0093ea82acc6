package restic

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"staithe/internal/station"
	"staithe/internal/volume/jail"
)

// lineMax is the longest line of restic's that is read; longer ones are cut. A
// path of 4,096 bytes that are all escaped fits.
const lineMax = 256 << 10

// job is one run of restic.
type job struct {
	args     []string
	binds    []jail.Bind
	overlays []jail.Overlay
	caps     []uintptr
	low      bool               // a low process number (see Repo.Unlock)
	alone    bool               // while nothing else of ours works on the repository
	noLock   bool               // it locks nothing of the repository
	fresh    bool               // what it reads comes from the store (see Options.Fresh)
	strict   bool               // what it only warns of is an error: see warned
	out      io.Writer          // what it prints; or
	line     func([]byte)       // each line of that
	event    func([]byte)       // each line of JSON among its complaints
	said     func(retry string) // with why, when it tries something again
	usage    *time.Duration
	most     int64  // bytes of a file that it writes; 0: any
	into     string // where else than to the repository it writes, in words
}

// run runs restic to its end.
func (r *Repo) run(ctx context.Context, j job) error {
	err := r.runOnce(ctx, j)
	if j.fresh && r.o.Fresh != "" && CodeOf(err) == CodeDamaged {
		// It may be the cache's copy: the next reads all from the store.
		err = errors.Join(err, empty(r.o.Fresh))
	}
	return err
}

// empty removes what is in a folder.
func empty(folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	list, err := fs.ReadDir(root.FS(), ".")
	for _, e := range list {
		err = errors.Join(err, root.RemoveAll(e.Name()))
	}
	return err
}

func (r *Repo) runOnce(ctx context.Context, j job) error {
	var held []*os.File
	if !j.noLock {
		lock, err := r.hold(j.alone)
		if err != nil {
			return err
		}
		defer lock.Close()
		held = append(held, lock)
	}
	out := j.out
	var lines *lineWriter
	if out == nil {
		lines = &lineWriter{each: j.line}
		out = lines
	}
	errs := newComplaints(j.event, j.said)
	p, err := jail.Start(ctx, r.o.Launcher, r.spec(j, held), out, errs)
	if err != nil {
		return err
	}
	err = p.Wait()
	if j.usage != nil {
		*j.usage = p.Usage()
	}
	if lines != nil {
		lines.end()
	}
	errs.lines.end()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil && j.strict:
		return r.warned(errs.text())
	case err == nil:
		return nil
	}
	code := -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	return r.explain(code, errs.text(), j.into, err)
}

// spec is the jail of a run, which keeps the lock's file open.
func (r *Repo) spec(j job, held []*os.File) jail.Spec {
	args := append([]string{insideProgram}, j.args...)
	if j.noLock {
		args = append(args, "--no-lock")
	}
	binds := slices.Clone(r.binds)
	switch cache := slices.IndexFunc(binds, func(b jail.Bind) bool { return b.To == insideCache }); {
	case j.fresh && r.o.Fresh != "":
		binds[cache].From = r.o.Fresh
	case j.fresh:
		args = append(args, "--no-cache")
	}
	if r.o.Bucket.Name != "" {
		lookup := "dns"
		if r.o.Bucket.PathStyle {
			lookup = "path"
		}
		args = append(args, "-o", "s3.bucket-lookup="+lookup)
	}
	return jail.Spec{
		Root: r.o.Cache, Host: r.o.Host, Binds: append(binds, j.binds...), Overlays: j.overlays,
		Args: args, Env: append(r.env(r.location()), j.threads()...), Caps: j.caps, HighPID: !j.low, Memory: 8 << 30, FileSize: uint64(j.most), Net: r.o.Bucket.Name != "",
		Held: held,
	}
}

// threads has restic leave half of the processors to those whose home it reads.
// Who waits for a restore waits for nothing else.
func (j job) threads() []string {
	if j.args[0] == "restore" {
		return nil
	}
	return []string{"GOMAXPROCS=" + strconv.Itoa(max(1, runtime.NumCPU()/2))}
}

// lineWriter cuts what is written into lines.
type lineWriter struct {
	each func([]byte)
	part bytes.Buffer
	long bool
}

func (w *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if w.part.Len()+len(line) <= lineMax {
			w.part.Write(line)
		} else {
			w.long = true
		}
		if b = rest; whole {
			w.end()
		}
	}
	return n, nil
}

// end ends the last line.
func (w *lineWriter) end() {
	if w.each != nil && w.part.Len() > 0 && !w.long {
		w.each(w.part.Bytes())
	}
	w.part.Reset()
	w.long = false
}

// complaints keeps the end of what restic says of what goes wrong. Lines of JSON,
// which may have what users wrote, are not kept. One process writes it at a time;
// text is for after its end.
type complaints struct {
	lines lineWriter
	event func([]byte)
	said  func(string)
	kept  []byte
}

const complaintsMax = 16 << 10

func newComplaints(event func([]byte), said func(string)) *complaints {
	c := &complaints{event: event, said: said}
	c.lines.each = c.line
	return c
}

func (c *complaints) Write(b []byte) (int, error) { return c.lines.Write(b) }

func (c *complaints) line(b []byte) {
	if c.event != nil && b[0] == '{' {
		c.event(b)
		return
	}
	c.kept = append(append(c.kept, b...), '\n')
	if over := len(c.kept) - complaintsMax; over > 0 {
		c.kept = append([]byte{}, c.kept[over:]...)
	}
	if why, ok := retrying(string(b)); ok && c.said != nil {
		c.said(why)
	}
}

func (c *complaints) text() string { return string(c.kept) }

// warned is the error of what restic's diff only warns of, and then ends well: a
// folder's listing that cannot be read, or content that no index has.
func (r *Repo) warned(said string) error {
	var bad []string
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "error: ") || strings.HasPrefix(line, "unable to find blob size ") {
			bad = append(bad, strings.TrimRight(line, "\n"))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	cause := errors.New(strings.Join(bad[:min(len(bad), 5)], "\n"))
	switch err := problem(r.Place(), cause.Error(), cause); CodeOf(err) {
	case CodeUnreachable, CodeCredentials, CodeNoBucket:
		return err
	default:
		return station.Errorf(station.ErrUnavailable, CodeDamaged, damaged, r.Place()).Because(cause)
	}
}
