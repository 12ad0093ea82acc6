package files

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// Format is how a folder is packed.
type Format string

// The formats there are.
const (
	Zip    Format = "zip"     // for every system; without attributes, hard links and FIFOs
	TarZst Format = "tar.zst" // all that the home has
)

// Packed says what an archive has.
type Packed struct {
	Files   int    `json:"files"` // all that is no folder
	Folders int    `json:"folders"`
	Bytes   int64  `json:"bytes"`             // before packing
	Skipped []Path `json:"skipped,omitempty"` // what could not be packed or read; at most 100
	Changed []Path `json:"changed,omitempty"` // files that changed while they were read; at most 100
}

// Archive writes a folder, or a file, to w as a stream, with the folder's name as
// the one name at its top (the home's is "home"). It follows no link below p. An
// error leaves w without a proper end, so that whoever reads it sees that it is
// not whole.
func (h *Home) Archive(ctx context.Context, p Path, format Format, w io.Writer) (Packed, error) {
	p, err := p.Clean()
	if err != nil {
		return Packed{}, err
	}
	a := archiver{ctx: ctx, top: "home", seen: map[inode]string{}}
	if !p.Home() {
		a.top = p.Base()
	}
	finish, err := a.open(format, w)
	if err != nil {
		return Packed{}, err
	}
	dir, err := h.folder(p)
	switch {
	case err == nil:
		defer dir.Close()
		var st unix.Stat_t
		if err = unix.Fstat(int(dir.Fd()), &st); err == nil {
			err = a.add(visited{name: a.top, st: st}, dir)
		}
		if err == nil {
			err = walk(ctx, dir, "", 0, func(v visited) error { return a.visit(v, p) }, a.skip)
		}
	case errors.Is(err, unix.ENOTDIR):
		err = h.archiveFile(&a, p)
	}
	if err == nil {
		err = finish()
	}
	return a.done, explain(p, err)
}

// archiveFile packs what is no folder.
func (h *Home) archiveFile(a *archiver, p Path) error {
	dir, base, err := h.place(p)
	if err != nil {
		return err
	}
	defer dir.Close()
	st, err := lstat(dir, base)
	if err != nil {
		return err
	}
	return a.add(visited{dir: dir, name: base, st: st}, nil)
}

// archiver is one archive under way.
type archiver struct {
	ctx  context.Context
	top  string
	tar  *tar.Writer // one of the two
	zip  *zip.Writer
	seen map[inode]string // what has several names, by the first in the archive
	done Packed
}

func (a *archiver) open(format Format, w io.Writer) (finish func() error, err error) {
	switch format {
	case Zip:
		a.zip = zip.NewWriter(w)
		a.zip.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
		return a.zip.Close, nil
	case TarZst:
		z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(4<<20))
		if err != nil {
			return nil, fmt.Errorf("make the packer: %w", err)
		}
		buf := bufio.NewWriterSize(z, 64<<10)
		a.tar = tar.NewWriter(buf)
		return func() error {
			if err := errors.Join(a.tar.Close(), buf.Flush()); err != nil {
				return err
			}
			return z.Close()
		}, nil
	}
	return nil, station.Errorf(station.ErrInvalid, "bad_format", "A folder is packed as zip or tar.zst.")
}

func (a *archiver) skip(rel Path) {
	if len(a.done.Skipped) < maxTold {
		a.done.Skipped = append(a.done.Skipped, rel)
	}
}

// visit packs what a walk comes to, but what staithe itself has half made.
func (a *archiver) visit(v visited, from Path) error {
	if from.Join(string(v.rel)) == stagingDir {
		return errSkip
	}
	err := a.add(v, nil)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES) || errors.Is(err, station.ErrConflict) {
		a.skip(v.rel) // gone, closed to us, or replaced by something else
		return nil
	}
	return err
}

// add packs one name; self is the folder itself when v is where the walk began.
func (a *archiver) add(v visited, self *os.File) error {
	name := a.top
	if v.rel != "" {
		name += "/" + string(v.rel)
	}
	switch kindOf(v.st.Mode) {
	case KindFolder:
		f := self
		if f == nil && a.tar != nil {
			var err error
			if f, err = openFolder(v.dir, v.name); err == nil {
				defer f.Close()
			} // else without attributes; the walk says that it may not be read
		}
		a.done.Folders++
		return a.header(v, name+"/", "", f)
	case KindFile:
		return a.file(v, name)
	case KindSymlink:
		a.done.Files++
		return a.header(v, name, string(readlink(v.dir, v.name)), nil)
	case KindFIFO:
		if a.tar != nil {
			a.done.Files++
			return a.header(v, name, "", nil)
		}
	}
	a.skip(v.rel)
	return nil
}

func (a *archiver) file(v visited, name string) error {
	if first, ok := a.seen[inodeOf(v.st)]; ok && v.st.Nlink > 1 && a.tar != nil {
		a.done.Files++
		h := a.tarHeader(v, name, first, nil)
		h.Typeflag, h.Size = tar.TypeLink, 0
		return a.tar.WriteHeader(h)
	}
	f, st, err := openRegular(v.dir, v.name)
	if err != nil {
		return err
	}
	defer f.Close()
	v.st = st
	if st.Nlink > 1 {
		a.seen[inodeOf(st)] = name
	}
	a.done.Files++
	a.done.Bytes += st.Size
	var to io.Writer = a.tar
	if a.tar != nil {
		err = a.tar.WriteHeader(a.tarHeader(v, name, "", f))
	} else {
		to, err = a.zip.CreateHeader(zipHeader(v, name))
	}
	if err != nil {
		return err
	}
	return a.content(to, f, v)
}

// content writes exactly as many bytes as the header promised: a file that has
// become shorter is filled up with zeros, and named.
func (a *archiver) content(to io.Writer, f *os.File, v visited) error {
	n, err := io.Copy(to, io.LimitReader(contextReader{a.ctx, f}, v.st.Size))
	if err == nil && n < v.st.Size && a.tar != nil {
		_, err = io.CopyN(to, zeros{}, v.st.Size-n)
	}
	if err != nil {
		return err
	}
	var now unix.Stat_t
	if unix.Fstat(int(f.Fd()), &now) != nil || now.Size != v.st.Size || now.Mtim != v.st.Mtim {
		if len(a.done.Changed) < maxTold {
			a.done.Changed = append(a.done.Changed, v.rel)
		}
	}
	return nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// header writes an entry that has no content but, in a zip, a link's text.
func (a *archiver) header(v visited, name, link string, f *os.File) error {
	if a.tar != nil {
		return a.tar.WriteHeader(a.tarHeader(v, name, link, f))
	}
	h := zipHeader(v, name)
	h.Method = zip.Store
	w, err := a.zip.CreateHeader(h)
	if err == nil && link != "" {
		_, err = io.WriteString(w, link)
	}
	return err
}

var tarTypes = map[Kind]byte{KindFile: tar.TypeReg, KindFolder: tar.TypeDir, KindSymlink: tar.TypeSymlink, KindFIFO: tar.TypeFifo}

func (a *archiver) tarHeader(v visited, name, link string, f *os.File) *tar.Header {
	h := &tar.Header{
		Typeflag: tarTypes[kindOf(v.st.Mode)], Name: name, Linkname: link, Mode: int64(v.st.Mode & 0o7777),
		// On disk the ids are the user's range's: in an archive they are the person's.
		Uid: station.SandboxUID, Gid: station.SandboxUID,
		ModTime: time.Unix(v.st.Mtim.Unix()), Format: tar.FormatPAX,
	}
	if h.Typeflag == tar.TypeReg {
		h.Size = v.st.Size
	}
	if f == nil {
		return h
	}
	for _, attr := range xattrNames(f) {
		// PAX records hold no zero byte in their names, nor an equals sign.
		if value, err := xattr(f, attr); err == nil && strings.HasPrefix(attr, "user.") && !strings.Contains(attr, "=") {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+attr] = string(value)
		}
	}
	return h
}

func zipHeader(v visited, name string) *zip.FileHeader {
	h := &zip.FileHeader{
		// A backslash is a way into other folders for those who unpack on Windows.
		Name: strings.ReplaceAll(name, `\`, "_"), Method: zip.Deflate, NonUTF8: !utf8.ValidString(name),
		Modified: time.Unix(v.st.Mtim.Unix()),
	}
	mode := fs.FileMode(v.st.Mode & 0o777)
	switch kindOf(v.st.Mode) {
	case KindFolder:
		mode |= fs.ModeDir
	case KindSymlink:
		mode |= fs.ModeSymlink
	}
	h.SetMode(mode)
	return h
}
