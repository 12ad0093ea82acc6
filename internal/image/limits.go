package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// Limits bound what one image may take, whatever it claims.
type Limits struct {
	Bytes    int64 // of all files, unpacked
	Files    int64 // files, folders and links
	Names    int64 // of memory for their paths, which are remembered
	KeepFree int64 // bytes of the disk that are left free
}

// DefaultLimits leave room for every image that people work in, and none to a
// bomb.
var DefaultLimits = Limits{Bytes: 32 << 30, Files: 3_000_000, Names: 1 << 30, KeepFree: 1 << 30}

const (
	maxPath      = 4095 // PATH_MAX without its NUL
	maxComponent = 255  // NAME_MAX
	maxID        = station.UIDRangeSize - 1
	maxLayers    = 512
	maxJSON      = 8 << 20 // of a manifest or configuration
	// streamExtra is what headers and padding may take in a layer besides files.
	streamExtra = 2 << 30
)

func (l Limits) orDefault() Limits {
	if l.Bytes == 0 {
		l.Bytes = DefaultLimits.Bytes
	}
	if l.Files == 0 {
		l.Files = DefaultLimits.Files
	}
	if l.Names == 0 {
		l.Names = DefaultLimits.Names
	}
	if l.KeepFree == 0 {
		l.KeepFree = DefaultLimits.KeepFree
	}
	return l
}

// budget is what is left of the limits while one image is unpacked. It is not
// safe for concurrent use.
type budget struct {
	limits  Limits
	disk    *os.File // any file on the disk that fills
	bytes   int64
	files   int64
	names   int64
	unasked int64 // bytes since the disk was last looked at
	buf     []byte
}

// diskEvery is how often the disk is looked at.
const diskEvery = 64 << 20

func (b *budget) file() error {
	b.files++
	if b.files > b.limits.Files {
		return station.Errorf(station.ErrInvalid, "image_too_big", "The image has more than %d files and folders; the limit protects the disk.", b.limits.Files)
	}
	return b.spend(4096) // what an inode and its name take, roughly
}

// name accounts for paths that are remembered while an image is unpacked.
func (b *budget) name(paths ...string) error {
	for _, p := range paths {
		b.names += int64(len(p))
	}
	if b.names > b.limits.Names {
		return station.Errorf(station.ErrInvalid, "image_too_big", "The paths of the image's files are longer than %s in all; the limit protects the memory.", Bytes(b.limits.Names))
	}
	return nil
}

// take accounts for a file's bytes before they are written.
func (b *budget) take(n int64) error {
	if n < 0 || n > b.limits.Bytes-b.bytes {
		return station.Errorf(station.ErrInvalid, "image_too_big", "The image unpacks to more than %s; the limit protects the disk.", Bytes(b.limits.Bytes))
	}
	b.bytes += n
	return nil
}

// spend looks at the disk now and then.
func (b *budget) spend(n int64) error {
	b.unasked += n
	if b.unasked < diskEvery {
		return nil
	}
	b.unasked = 0
	return b.look()
}

// copy copies, looking at the disk and at ctx on the way.
func (b *budget) copy(ctx context.Context, w io.Writer, r io.Reader) error {
	if b.buf == nil {
		b.buf = make([]byte, 128<<10)
	}
	for {
		n, err := r.Read(b.buf)
		if n > 0 {
			if err := b.spend(int64(n)); err != nil {
				return err
			}
			if _, err := w.Write(b.buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return brokenArchive(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (b *budget) look() error {
	if b.disk == nil {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(b.disk.Fd()), &st); err != nil {
		return fmt.Errorf("look at the disk: %w", err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < b.limits.KeepFree {
		return station.Errorf(station.ErrNoSpace, "disk_full", "The disk that holds the images has only %s free, and %s are kept free; make room and try again.", Bytes(free), Bytes(b.limits.KeepFree))
	}
	return nil
}

// Bytes writes a number of bytes as people read it: 57.3 MB.
func Bytes(n int64) string {
	v, unit := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB"}
	for v >= 1000 && unit < len(units)-1 {
		v /= 1000
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[unit])
}
