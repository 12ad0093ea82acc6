package files

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

func (x *extractor) unpack(r io.Reader, stage *os.File, spool string) error {
	switch x.o.Format {
	case Tar:
		return x.tar(r)
	case TarGz:
		z, err := gzip.NewReader(r)
		if err != nil {
			return broken(err)
		}
		return x.tar(z)
	case TarZst:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return broken(err)
		}
		defer z.Close()
		return x.tar(z)
	case Zip:
		return x.zip(r, stage, spool)
	}
	return station.Errorf(station.ErrInvalid, "bad_format", "An archive is unpacked from zip, tar, tar.gz or tar.zst.")
}

func (x *extractor) tar(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		i := member{name: h.Name, mode: uint32(h.Mode) & 0o777, at: h.ModTime, link: h.Linkname, open: func() (io.ReadCloser, error) { return io.NopCloser(t), nil }}
		switch h.Typeflag {
		case tar.TypeReg, '\x00', tar.TypeGNUSparse:
			i.kind = KindFile
		case tar.TypeLink:
			i.kind, i.hard = KindFile, true
		case tar.TypeDir:
			i.kind = KindFolder
		case tar.TypeSymlink:
			i.kind = KindSymlink
		case tar.TypeFifo:
			i.kind = KindFIFO
		case tar.TypeXGlobalHeader: // git archive's, which names the commit
			continue
		default:
			return refuse("is a device, or of a kind that is not known", h.Name)
		}
		for k, v := range h.PAXRecords {
			if attr, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok && strings.HasPrefix(attr, "user.") {
				if i.attrs == nil {
					i.attrs = map[string]string{}
				}
				i.attrs[attr] = v
			}
		}
		if err := x.add(i); err != nil {
			return err
		}
	}
}

// zip spools the archive to a file first: its list of names is at its end.
func (x *extractor) zip(r io.Reader, stage *os.File, spool string) error {
	f, err := open(stage, spool, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Unlinkat(int(stage.Fd()), spool, 0); err != nil {
		return err
	}
	size, err := io.Copy(f, io.LimitReader(r, x.o.Bytes+1))
	if err != nil {
		return err
	}
	if size > x.o.Bytes {
		return tooLarge()
	}
	counted := &budget{r: f, left: zipDirectory}
	z, err := zip.NewReader(counted, size)
	if err != nil {
		return broken(err)
	}
	counted.left = -1
	for _, e := range z.File {
		mode := e.Mode()
		i := member{name: e.Name, mode: uint32(mode.Perm()), at: e.Modified, open: e.Open}
		switch {
		case strings.HasSuffix(e.Name, "/") || mode.IsDir():
			i.kind = KindFolder
		case mode.Type() == fs.ModeSymlink:
			i.kind = KindSymlink
			if i.link, err = zipLink(e); err != nil {
				return err
			}
		case mode.Type() == fs.ModeNamedPipe:
			i.kind = KindFIFO
		case mode.Type() == 0:
			i.kind = KindFile
		default:
			return refuse("is a device, or of a kind that is not known", e.Name)
		}
		if err := x.add(i); err != nil {
			return err
		}
	}
	return nil
}

// budget bounds what is read while left is not negative.
type budget struct {
	r    io.ReaderAt
	left int64
}

func (b *budget) ReadAt(p []byte, at int64) (int, error) {
	if b.left >= 0 {
		if b.left -= int64(len(p)); b.left < 0 {
			return 0, tooLarge()
		}
	}
	return b.r.ReadAt(p, at)
}

func zipLink(e *zip.File) (string, error) {
	r, err := e.Open()
	if err != nil {
		return "", broken(err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, unix.PathMax))
	if err != nil {
		return "", broken(err)
	}
	if len(b) == unix.PathMax {
		return "", refuse("is a link with too long a text", e.Name)
	}
	return string(b), nil
}
