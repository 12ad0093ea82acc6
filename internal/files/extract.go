package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// More formats, that are only unpacked.
const (
	Tar   Format = "tar"
	TarGz Format = "tar.gz"
)

// ExtractOptions say how an archive is unpacked.
type ExtractOptions struct {
	Format  Format
	Replace bool  // what is there and differs in kind or time goes to the trash; else it stays
	Strip   bool  // the one folder at the archive's top is left out
	Bytes   int64 // at most, unpacked
	Files   int64 // names at most
}

// Extracted says what came of it.
type Extracted struct {
	Files   int    `json:"files"` // new, all that is no folder
	Folders int    `json:"folders"`
	Bytes   int64  `json:"bytes"`
	Kept    int    `json:"kept"` // names that were there already, and stayed
	Told    []Path `json:"kept_paths,omitempty"`
	Skipped int    `json:"skipped"` // what nobody needs: FIFOs, and staithe's own folder
}

// ownDir is staithe's; no archive writes there.
const ownDir Path = ".local/share/staithe"

// zipDirectory bounds a zip's list of names, in bytes: all of it is in memory.
const zipDirectory = 32 << 20

// Extract unpacks an archive into a folder, which is made where it is not there.
// All is unpacked beside it first: an archive that is broken, too large or
// hostile (a way out, a name through a link, a device) is refused whole, and
// leaves nothing. Then what is new is moved to its place, piece by piece; what is
// there is never overwritten. Of modes the permissions count; owners do not.
func (h *Home) Extract(ctx context.Context, p Path, r io.Reader, o ExtractOptions) (Extracted, error) {
	p, err := p.Clean()
	if err != nil {
		return Extracted{}, err
	}
	stage, tmp, err := h.stage()
	if err != nil {
		return Extracted{}, err
	}
	defer stage.Close()
	if err := unix.Mkdirat(int(stage.Fd()), tmp, 0o700); err != nil {
		return Extracted{}, explain(p, err)
	}
	defer func() { _ = remove(context.WithoutCancel(ctx), stage, tmp, 0) }() // what stays, Sweep removes
	root, err := h.root.OpenRoot(dot(stagingDir.Join(tmp)))
	if err != nil {
		return Extracted{}, explain(p, err)
	}
	defer root.Close()
	x := &extractor{ctx: ctx, o: o, root: root, folders: map[Path]tarDir{".": {}}}
	if err := x.unpack(contextReader{ctx, r}, stage, tmp+".zip"); err != nil {
		return Extracted{}, explain(p, err)
	}
	tree, err := openFolder(stage, tmp)
	if err != nil {
		return Extracted{}, explain(p, err)
	}
	defer tree.Close()
	if err := unix.Syncfs(int(tree.Fd())); err != nil {
		return Extracted{}, explain(p, err)
	}
	if !p.Home() {
		if err := h.parents(p); err != nil {
			return Extracted{}, err
		}
	}
	to, err := h.folder(p)
	if err != nil {
		return Extracted{}, explain(p, err)
	}
	defer to.Close()
	m := merger{h: h, x: x, at: p}
	if err := m.folder(tree, to, "."); err != nil {
		return x.done, explain(p, err)
	}
	m.finish()
	return x.done, nil
}

// tarDir is what a folder gets in the end.
type tarDir struct {
	mode uint32 // 0: as it is made
	at   time.Time
	old  bool // it was there before
	// listed: the archive has it by itself, not only in the names of others.
	listed bool
}

// member is one name of an archive.
type member struct {
	name  string
	kind  Kind
	mode  uint32
	at    time.Time
	link  string // a symlink's text, or the name of a hard link's first
	hard  bool
	attrs map[string]string // user.… of a file
	open  func() (io.ReadCloser, error)
}

// extractor is one archive under way, into a folder that nobody else uses.
type extractor struct {
	ctx     context.Context
	o       ExtractOptions
	root    *os.Root
	folders map[Path]tarDir
	names   int64
	made    int    // of done.Files, before it is known what stays
	top     string // the folder that is stripped
	done    Extracted
}

func refuse(what string, name string) error {
	return station.Errorf(station.ErrInvalid, "bad_archive",
		"The archive was refused, and nothing of it unpacked: %q %s. Make it anew without that.", shorten(Path(name)), what)
}

func tooLarge() error {
	return station.Errorf(station.ErrNoSpace, "archive_too_large",
		"The archive was refused, and nothing of it unpacked: it holds more than there is room for. Allow for more, or unpack a part of it.")
}

func broken(err error) error {
	if _, ok := errors.AsType[*station.Problem](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return station.Errorf(station.ErrInvalid, "bad_archive",
		"The archive cannot be read, and nothing of it was unpacked; look whether it is whole and of the format that was named.").Because(err)
}

// path is where a name of the archive goes; "" is nowhere.
func (x *extractor) path(name string) (Path, error) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if name == "" || name == "." {
		return "", nil
	}
	p, err := Path(name).Clean()
	if err != nil {
		return "", refuse("is no name in a folder", name)
	}
	if x.o.Strip {
		top, rest, below := strings.Cut(string(p), "/")
		if x.top == "" {
			x.top = top
		}
		if top != x.top {
			return "", refuse("is not in the one folder at the top", name)
		}
		if !below {
			return "", nil
		}
		p = Path(rest)
	}
	if strings.Count(string(p), "/") >= maxDepth {
		return "", tooDeep(p)
	}
	return p, nil
}

// add makes one name.
func (x *extractor) add(i member) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	p, err := x.path(i.name)
	if err != nil || p == "" {
		return err
	}
	if i.kind != KindFolder || x.folders[p].listed { // a folder is counted when it is made
		if x.names++; x.names > x.o.Files {
			return tooLarge()
		}
	}
	if i.kind == KindFIFO || p.within(ownDir) {
		x.done.Skipped++
		return nil
	}
	if i.kind == KindFolder {
		return x.folder(p, i)
	}
	if dir, _ := p.split(); !dir.Home() {
		if err := x.folder(dir, member{}); err != nil {
			return err
		}
	}
	if _, is := x.folders[p]; is {
		return refuse("is a file and a folder", i.name)
	}
	// The later of two counts, as tar has it.
	if err := x.root.Remove(string(p)); errors.Is(err, fs.ErrNotExist) {
		x.made++
	} else if err != nil {
		return err
	}
	switch {
	case i.hard:
		return x.link(p, i)
	case i.kind == KindSymlink:
		if i.link == "" || strings.ContainsRune(i.link, 0) {
			return refuse("is a link without a text", i.name)
		}
		return x.root.Symlink(i.link, string(p))
	}
	return x.file(p, i)
}

// folder makes a folder and those on the way. None of them is anything else: a
// name that leads through a link is refused.
func (x *extractor) folder(p Path, i member) error {
	d, known := x.folders[p]
	if !known {
		if dir, _ := p.split(); !dir.Home() {
			if err := x.folder(dir, member{}); err != nil {
				return err
			}
		}
		if x.names++; x.names > x.o.Files {
			return tooLarge()
		}
		err := x.root.Mkdir(string(p), 0o700)
		if errors.Is(err, fs.ErrExist) {
			return refuse("is below a link or a file", string(p))
		}
		if err != nil {
			return err
		}
	}
	if i.kind == KindFolder {
		d.mode, d.at, d.listed = i.mode|0o700, i.at, true
	}
	x.folders[p] = d
	return nil
}

// link makes another name of a file that the archive had before.
func (x *extractor) link(p Path, i member) error {
	first, err := x.path(i.link)
	if err != nil || first == "" {
		return refuse("is a hard link out of the archive", i.name)
	}
	dir, _ := first.split()
	_, known := x.folders[dir]
	st, err := x.root.Lstat(string(first))
	if !known || err != nil || !st.Mode().IsRegular() {
		return refuse("is a hard link to no file of the archive", i.name)
	}
	return x.root.Link(string(first), string(p))
}

func (x *extractor) file(p Path, i member) (err error) {
	from, err := i.open()
	if err != nil {
		return broken(err)
	}
	defer from.Close()
	f, err := x.root.OpenFile(string(p), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	left := x.o.Bytes - x.done.Bytes
	n, err := io.Copy(fileWriter{f}, io.LimitReader(from, left+1))
	x.done.Bytes += n
	switch wrote := (*writeError)(nil); {
	case errors.As(err, &wrote):
		return wrote.err
	case err != nil:
		return broken(err)
	case n > left:
		return tooLarge()
	}
	for attr, value := range i.attrs {
		if err := unix.Fsetxattr(int(f.Fd()), attr, []byte(value), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("set an attribute: %w", err)
		}
	}
	if err := f.Chmod(fs.FileMode(i.mode)); err != nil {
		return err
	}
	if i.at.Unix() <= 0 {
		return nil
	}
	return setTime(f, i.at)
}

// writeError tells the disk's errors from the archive's.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

type fileWriter struct{ f *os.File }

func (w fileWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		return n, &writeError{err}
	}
	return n, nil
}
