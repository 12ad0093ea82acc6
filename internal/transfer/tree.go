package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"staithe/internal/files"
	"staithe/internal/files/filesapi"
	"staithe/internal/station"
)

// item is one thing of a tree.
type item struct {
	rel    string // from the tree's top, "." is the top
	kind   files.Kind
	size   int64
	mode   uint32
	mtime  time.Time
	target string // of a link
}

// tree is a folder with all below it, here or in a home.
type tree interface {
	// walk calls each with the top and all below it, a folder before what is in it.
	// What cannot be read is told to bad, and left out.
	walk(ctx context.Context, each func(item) error, bad func(rel string, err error)) error
	// mkdir makes a folder that is writable for now; that it is there is no error.
	mkdir(ctx context.Context, rel string, mode uint32) error
	link(ctx context.Context, target, rel string) error
	// dress gives a folder or file its mode and, where that can be, its time.
	dress(ctx context.Context, it item) error
	// remove takes something away, with all below it.
	remove(ctx context.Context, rel string) error
	// hashes are the SHA-256 of files; "" where one cannot be had.
	hashes(ctx context.Context, rels []string) ([]string, error)
}

// here is a tree on this machine. Nothing is done outside of its top, whatever
// names and links there are.
type here struct{ root *os.Root }

func (h here) walk(ctx context.Context, each func(item) error, bad func(string, error)) error {
	return fs.WalkDir(h.root.FS(), ".", func(rel string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if isPart(path.Base(rel)) {
			return nil // of a download that goes on another time
		}
		if err == nil {
			var it item
			if it, err = h.item(rel); err == nil {
				return each(it)
			}
		}
		bad(rel, local(err))
		if d != nil && d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}

func (h here) item(rel string) (it item, err error) {
	info, err := h.root.Lstat(rel)
	if err != nil {
		return it, err
	}
	it = item{rel: rel, size: info.Size(), mode: uint32(info.Mode().Perm()), mtime: info.ModTime()}
	switch info.Mode().Type() {
	case 0:
		it.kind = files.KindFile
	case fs.ModeDir:
		it.kind = files.KindFolder
	case fs.ModeSymlink:
		it.kind = files.KindSymlink
		it.target, err = h.root.Readlink(rel)
	default:
		it.kind = files.KindDevice // or FIFO or socket: none is copied
	}
	return it, err
}

func (h here) mkdir(_ context.Context, rel string, mode uint32) error {
	err := h.root.Mkdir(rel, fs.FileMode(mode|0o700))
	if errors.Is(err, fs.ErrExist) {
		if info, serr := h.root.Lstat(rel); serr == nil && info.IsDir() {
			return nil
		}
	}
	return local(err)
}

func (h here) link(_ context.Context, target, rel string) error {
	return local(h.root.Symlink(target, rel))
}

func (h here) dress(_ context.Context, it item) error {
	return local(errors.Join(h.root.Chmod(it.rel, fs.FileMode(it.mode&0o777)), h.root.Chtimes(it.rel, it.mtime, it.mtime)))
}

func (h here) remove(_ context.Context, rel string) error { return local(h.root.RemoveAll(rel)) }

func (h here) hashes(ctx context.Context, rels []string) ([]string, error) {
	out := make([]string, len(rels))
	for i, rel := range rels {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		f, err := h.root.Open(rel)
		if err != nil {
			continue // then it is copied, and that says why it cannot be
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err == nil {
			out[i] = hex.EncodeToString(sum.Sum(nil))
		}
		f.Close()
	}
	return out, nil
}

// there is a tree in a home.
type there struct {
	c   *Client
	top files.Path
}

// staging is where what is being made lies in a home. It is no one's file.
const staging files.Path = ".local/share/staithe/staging"

// at is a path of the tree from the home's top.
func (t there) at(rel string) files.Path {
	switch {
	case rel == ".":
		return t.top
	case t.top.Home():
		return files.Path(rel)
	}
	return t.top + "/" + files.Path(rel)
}

func (t there) walk(ctx context.Context, each func(item) error, bad func(string, error)) error {
	e, err := t.c.Follow(ctx, t.top)
	if err != nil {
		return err
	}
	e.Kind = files.KindFolder // or listing it says what it is
	return t.below(ctx, ".", e, each, bad)
}

func (t there) below(ctx context.Context, rel string, e files.Entry, each func(item) error, bad func(string, error)) error {
	it := item{rel, e.Kind, e.Size, e.Mode, e.MTime, string(e.Target)}
	if err := each(it); err != nil || e.Kind != files.KindFolder {
		return err
	}
	var entries []files.Entry
	err := t.c.List(ctx, t.at(rel), true, func(e files.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		if rel == "." || passes(err) || ctx.Err() != nil || errors.Is(err, station.ErrUnauthenticated) {
			return err
		}
		bad(rel, err)
		return nil
	}
	for _, e := range entries {
		if t.at(path.Join(rel, string(e.Name))) == staging {
			continue
		}
		if err := t.below(ctx, path.Join(rel, string(e.Name)), e, each, bad); err != nil {
			return err
		}
	}
	return nil
}

func (t there) mkdir(ctx context.Context, rel string, mode uint32) error {
	return t.c.Mkdir(ctx, t.at(rel), mode|0o700)
}

func (t there) link(ctx context.Context, target, rel string) error {
	return t.c.Link(ctx, target, t.at(rel))
}

// dress sets the mode alone: the time came with a file, and folders' is the
// server's.
func (t there) dress(ctx context.Context, it item) error {
	return t.c.Mode(ctx, t.at(it.rel), it.mode&0o777)
}

// remove moves it to the trash, from where it can be had back.
func (t there) remove(ctx context.Context, rel string) error {
	err := t.c.Trash(ctx, t.at(rel))
	if errors.Is(err, station.ErrNotFound) {
		return nil
	}
	return err
}

// hashBytes is how much of paths one request asks for: a request's JSON is bounded.
const hashBytes = 10 << 10

func (t there) hashes(ctx context.Context, rels []string) (out []string, err error) {
	for len(rels) > 0 {
		n, bytes := 0, 0
		for n < len(rels) && n < filesapi.HashMax && (n == 0 || bytes+len(rels[n])+len(t.top) < hashBytes) {
			bytes += len(rels[n]) + len(t.top)
			n++
		}
		paths := make([]files.Path, n)
		for i, rel := range rels[:n] {
			paths[i] = t.at(rel)
		}
		got, err := t.c.Hashes(ctx, paths)
		if err != nil {
			return nil, err
		}
		for _, h := range got {
			out = append(out, h.SHA256)
		}
		rels = rels[n:]
	}
	return out, nil
}

// scan reads a tree whole.
func scan(ctx context.Context, t tree, bad func(string, error)) ([]item, error) {
	var items []item
	err := t.walk(ctx, func(it item) error {
		items = append(items, it)
		return nil
	}, bad)
	return items, err
}
