package restic

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

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
	out      io.Writer          // what it prints; or
	line     func([]byte)       // each line of that
	said     func(retry string) // with why, when it tries something again
	usage    *time.Duration
	most     int64  // bytes of a file that it writes; 0: any
	into     string // where else than to the repository it writes, in words
}

// run runs restic to its end.
func (r *Repo) run(ctx context.Context, j job) error {
	lock, err := r.hold(j.alone)
	if err != nil {
		return err
	}
	defer lock.Close()
	args := append([]string{insideProgram}, j.args...)
	if r.o.Bucket.Name != "" {
		lookup := "dns"
		if r.o.Bucket.PathStyle {
			lookup = "path"
		}
		args = append(args, "-o", "s3.bucket-lookup="+lookup)
	}
	spec := jail.Spec{
		Root: r.o.Cache, Host: r.o.Host, Binds: append(append([]jail.Bind{}, r.binds...), j.binds...), Overlays: j.overlays,
		Args: args, Env: r.env(r.location()), Caps: j.caps, HighPID: !j.low, Memory: 8 << 30, FileSize: uint64(j.most), Net: r.o.Bucket.Name != "",
		Held: []*os.File{lock},
	}
	out := j.out
	var lines *lineWriter
	if out == nil {
		lines = &lineWriter{each: j.line}
		out = lines
	}
	errs := &complaints{said: j.said}
	p, err := jail.Start(ctx, r.o.Launcher, spec, out, errs)
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
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
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

// complaints keeps the end of what restic says of what goes wrong.
type complaints struct {
	said func(string)
	mu   sync.Mutex
	kept []byte
}

const complaintsMax = 16 << 10

func (c *complaints) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, b...)
	if over := len(c.kept) - complaintsMax; over > 0 {
		c.kept = append([]byte{}, c.kept[over:]...)
	}
	if c.said == nil {
		return len(b), nil
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if why, ok := retrying(s.Text()); ok {
			c.said(why)
		}
	}
	return len(b), nil
}

func (c *complaints) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.kept)
}
