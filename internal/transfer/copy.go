package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"staithe/internal/files"
	"staithe/internal/station"
)

// Workers is how many files are on their way at once.
const Workers = 8

// Job copies between this machine and a home.
type Job struct {
	Client   *Client
	Progress *Progress         // nil: nothing is said
	Warn     func(line string) // hears what was left out, and why
	Cache    string            // a folder for what a later run goes on from; "": none

	mu     sync.Mutex
	failed int
}

// bad notes something that could not be copied; the rest goes on.
func (j *Job) bad(rel string, err error) {
	j.mu.Lock()
	j.failed++
	j.mu.Unlock()
	j.warn(fmt.Sprintf("%s: %s", Quote(rel), said(err)))
}

// incomplete says whether something could not be read or copied.
func (j *Job) incomplete() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed > 0
}

func (j *Job) warn(line string) {
	if j.Warn != nil {
		j.Warn(line)
	}
}

// said is an error for a person, on one line.
func said(err error) string {
	if p, ok := errors.AsType[*station.Problem](err); ok {
		return p.Sentence
	}
	return Inert(err.Error())
}

// end is a job's error: err, or that some things could not be copied.
func (j *Job) end(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil && j.failed > 0 {
		return station.Errorf(station.ErrInvalid, "not_all", "%d could not be copied; the lines above say why.", j.failed)
	}
	return err
}

// ends says whether an error ends the whole job, and not one file.
func ends(ctx context.Context, err error) bool {
	return ctx.Err() != nil || passes(err) || errors.Is(err, station.ErrUnauthenticated) || errors.Is(err, station.ErrNoSpace)
}

// UploadFile sends one file.
func (j *Job) UploadFile(ctx context.Context, src string, dst files.Path) error {
	f, err := os.Open(src)
	if err != nil {
		return local(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.IsDir() {
		j.Progress.Expect(1, info.Size())
	}
	return j.send(ctx, f, dst)
}

// send sends an open file, and looks whether it stayed as it was meanwhile.
func (j *Job) send(ctx context.Context, f *os.File, dst files.Path) error {
	for range 3 {
		before, err := f.Stat()
		if err != nil {
			return local(err)
		}
		if !before.Mode().IsRegular() {
			return station.Errorf(station.ErrInvalid, "not_a_file", "%s is no regular file; give -r for folders.", Quote(f.Name()))
		}
		at, done := j.Progress.One(string(dst), before.Size())
		up := Upload{Path: dst, Mode: uint32(before.Mode().Perm()), MTime: before.ModTime(), Sent: at, Begun: j.begun(f, before, dst)}
		if _, err := j.Client.Upload(ctx, f, before.Size(), up); err != nil {
			return err
		}
		after, err := f.Stat()
		if err != nil {
			return local(err)
		}
		if after.Size() == before.Size() && after.ModTime().Equal(before.ModTime()) {
			done()
			return nil
		}
	}
	return station.Errorf(station.ErrConflict, "file_changed", "%s changes all the time; copy it when it rests.", Quote(f.Name()))
}

// begun is where it is kept how far a large file came.
func (j *Job) begun(f *os.File, info os.FileInfo, dst files.Path) *Begun {
	if j.Cache == "" || info.Size() <= piece/4 {
		return nil
	}
	abs, err := filepath.Abs(f.Name())
	if err != nil {
		return nil
	}
	key := fmt.Sprintf("%s\x00%s\x00%s\x00%d\x00%d\x00%o", j.Client.Base, abs, dst, info.Size(), info.ModTime().UnixNano(), info.Mode().Perm())
	sum := sha256.Sum256([]byte(key))
	if err := os.MkdirAll(j.Cache, 0o700); err != nil {
		return nil
	}
	return &Begun{Path: filepath.Join(j.Cache, hex.EncodeToString(sum[:16]))}
}

// DownloadFile fetches one file to dst, a path here.
func (j *Job) DownloadFile(ctx context.Context, src files.Path, dst string) error {
	e, err := j.Client.Stat(ctx, src)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(dst))
	if err != nil {
		return local(err)
	}
	defer root.Close()
	if info, err := root.Lstat(filepath.Base(dst)); err == nil && !info.Mode().IsRegular() && info.Mode().Type() != os.ModeSymlink {
		return station.Errorf(station.ErrConflict, "not_a_file", "%s is there and is no file; choose another name.", Quote(dst))
	}
	j.Progress.Expect(1, e.Size)
	return j.get(ctx, src, e, root, filepath.Base(dst))
}

func (j *Job) get(ctx context.Context, src files.Path, e files.Entry, root *os.Root, name string) error {
	at, done := j.Progress.One(string(src), e.Size)
	err := j.Client.Download(ctx, src, e, Download{Root: root, Name: name, Got: at})
	if err == nil {
		done()
	}
	return err
}

// UploadTree copies a folder with all in it to dst, which is made.
func (j *Job) UploadTree(ctx context.Context, src string, dst files.Path) error {
	return j.trees(ctx, src, dst, true, nil)
}

// DownloadTree copies a folder of a home with all in it to dst, which is made.
func (j *Job) DownloadTree(ctx context.Context, src files.Path, dst string) error {
	return j.trees(ctx, dst, src, false, nil)
}

// trees opens both sides and copies from one to the other; sync is nil for a plain
// copy.
func (j *Job) trees(ctx context.Context, dir string, p files.Path, up bool, sync *SyncOptions) error {
	if !up {
		if _, err := os.Stat(dir); sync != nil && sync.DryRun && errors.Is(err, os.ErrNotExist) {
			if dir, err = os.MkdirTemp("", "staithe-"); err != nil {
				return local(err)
			}
			defer os.Remove(dir)
		} else if err := os.MkdirAll(dir, 0o755); err != nil {
			return local(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return local(err)
	}
	defer root.Close()
	c := &copying{Job: j, here: here{root}, there: there{j.Client, p}, up: up, sync: sync}
	return j.end(c.run(ctx))
}

// copying is one tree on its way.
type copying struct {
	*Job
	here  here
	there there
	up    bool
	sync  *SyncOptions
	have  map[string]item // with sync: what the target had
}

func (c *copying) sides() (from, to tree) {
	if c.up {
		return c.here, c.there
	}
	return c.there, c.here
}

func (c *copying) run(ctx context.Context) error {
	from, to := c.sides()
	items, err := scan(ctx, from, c.bad)
	if err != nil {
		return err
	}
	if c.sync != nil {
		if items, err = c.differences(ctx, items); err != nil || c.sync.DryRun {
			return err
		}
	}
	var count, bytes int64
	for _, it := range items {
		if it.kind == files.KindFile {
			count, bytes = count+1, bytes+it.size
		}
	}
	c.Progress.Expect(count, bytes)
	if err := c.folders(ctx, to, items); err != nil {
		return err
	}
	if err := c.contents(ctx, to, items); err != nil {
		return err
	}
	// Last, the deepest first: a folder may be closed to its owner, and what is made
	// in it changes its time.
	for i := len(items) - 1; i >= 0; i-- {
		if it := items[i]; it.kind == files.KindFolder && c.undressed(it) {
			if err := to.dress(ctx, it); err != nil {
				if ends(ctx, err) {
					return err
				}
				c.bad(it.rel, err)
			}
		}
	}
	return nil
}

// undressed says whether a folder that was made has not its mode yet, or its time.
func (c *copying) undressed(it item) bool {
	if !c.up {
		return true
	}
	old, there := c.have[it.rel]
	return !c.there.at(it.rel).Home() && (it.mode|0o700 != it.mode || there && old.mode != it.mode)
}

// folders makes all folders, those on the way first.
func (c *copying) folders(ctx context.Context, to tree, items []item) error {
	for _, it := range items {
		if it.kind != files.KindFolder || it.rel == "." && c.there.top.Home() && c.up {
			continue
		}
		err := to.mkdir(ctx, it.rel, it.mode)
		if c.sync != nil && (code(err) == "file_exists" || errors.Is(err, os.ErrExist)) {
			if err = to.remove(ctx, it.rel); err == nil {
				err = to.mkdir(ctx, it.rel, it.mode)
			}
		}
		if old, there := c.have[it.rel]; err == nil && (it.mode|0o700 != it.mode || there && old.mode|0o700 != old.mode) {
			open := it // closed to its owner, if it was there before: for now it is not
			open.mode |= 0o700
			err = to.dress(ctx, open)
		}
		if err != nil {
			if ends(ctx, err) || it.rel == "." {
				return err
			}
			c.bad(it.rel, err)
		}
	}
	return nil
}

// contents brings files and links over, several at once.
func (c *copying) contents(ctx context.Context, to tree, items []item) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan item)
	var all sync.WaitGroup
	for range Workers {
		all.Go(func() {
			for it := range next {
				if err := c.one(ctx, to, it); err != nil {
					if ends(ctx, err) {
						cancel(err)
						return
					}
					c.bad(it.rel, err)
				}
			}
		})
	}
feeding:
	for _, it := range items {
		if it.kind == files.KindFolder {
			continue
		}
		select {
		case next <- it:
		case <-ctx.Done():
			break feeding
		}
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}

func (c *copying) one(ctx context.Context, to tree, it item) error {
	switch it.kind {
	case files.KindFile:
		if err := c.way(ctx, to, it); err != nil {
			return err
		}
		if !c.up {
			e := files.Entry{Kind: files.KindFile, Size: it.size, Mode: it.mode, MTime: it.mtime}
			return c.get(ctx, c.there.at(it.rel), e, c.here.root, it.rel)
		}
		f, err := c.here.root.Open(it.rel)
		if err != nil {
			return local(err)
		}
		defer f.Close()
		return c.send(ctx, f, c.there.at(it.rel))
	case files.KindSymlink:
		return c.relink(ctx, to, it)
	}
	c.warn(fmt.Sprintf("%s: left out, it is neither file, folder nor link", Quote(it.rel)))
	return nil
}

// way takes away what is no file and stands where one goes, when both sides are
// to be the same: a link would be followed.
func (c *copying) way(ctx context.Context, to tree, it item) error {
	if old, ok := c.have[it.rel]; ok && old.kind != files.KindFile {
		return to.remove(ctx, it.rel)
	}
	return nil
}

// relink makes a link, in the place of another link or, where both sides are to be
// the same, of anything.
func (c *copying) relink(ctx context.Context, to tree, it item) error {
	err := to.link(ctx, it.target, it.rel)
	if code(err) != "file_exists" && !errors.Is(err, os.ErrExist) {
		return err
	}
	if c.sync == nil {
		kind, target := c.atTarget(ctx, it.rel)
		if kind != files.KindSymlink {
			return station.Errorf(station.ErrConflict, "file_exists", "There is something in the link's place; move that away first.")
		}
		if target == it.target {
			return nil
		}
	}
	if err := to.remove(ctx, it.rel); err != nil {
		return err
	}
	return to.link(ctx, it.target, it.rel)
}

// atTarget is what is at a place of the side that is written.
func (c *copying) atTarget(ctx context.Context, rel string) (kind files.Kind, target string) {
	if c.up {
		e, err := c.there.c.Stat(ctx, c.there.at(rel))
		if err != nil {
			return "", ""
		}
		return e.Kind, string(e.Target)
	}
	it, err := c.here.item(rel)
	if err != nil {
		return "", ""
	}
	return it.kind, it.target
}

// Into is where something of a name goes when dst is given as its place: below dst
// when that is a folder, else dst itself.
func Into(dst string, isFolder bool, name string) string {
	if isFolder && name != "." && name != "/" {
		return path.Join(dst, name)
	}
	return strings.TrimSuffix(dst, "/")
}
