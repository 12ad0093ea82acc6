package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// unpacker puts layers into one root file system. What it reads may be hostile:
//
//   - Everything goes through an os.Root, which the kernel and Go keep from
//     leaving the folder, whatever a name or a link says. Links that a layer
//     planted are followed inside the root only, as a chroot would (resolve.go).
//   - Names with .. are refused; an absolute name is one inside the root.
//   - Devices and FIFOs are left out and counted: a sandbox has its own /dev.
//   - Of extended attributes only security.capability is kept. Others mean
//     something to overlayfs (trusted.overlay.*, user.overlay.*) or widen rights
//     (POSIX ACLs), and an image needs none.
//   - Setuid and setgid bits are kept, for sudo inside; the images' folder is
//     closed to everyone on the host.
//   - Bytes, files, lengths and the disk are bounded before they are used.
//
// It needs to be root, of the host or of a user namespace. It is not safe for
// concurrent use.
type unpacker struct {
	root    *os.Root
	budget  *budget
	report  func(files, bytes int64) // called after each entry
	leftOut map[string]int64
	dirs    map[string]time.Time // by resolved path: set at the end, when nothing is put in any more

	real  map[string]string // folders whose resolved path is known
	fresh map[string]bool   // what the layer under way has put, and the folders above
	layer bool              // the tar is a layer: .wh. names remove what lower layers have
}

func newUnpacker(root *os.Root, b *budget) *unpacker {
	return &unpacker{root: root, budget: b, report: func(int64, int64) {}, leftOut: map[string]int64{},
		dirs: map[string]time.Time{}, real: map[string]string{}}
}

// tar unpacks one tar stream over what is there. With layer, names that begin
// with .wh. are whiteouts (OCI image-spec, layer.md).
func (u *unpacker) tar(ctx context.Context, r io.Reader, layer bool) error {
	u.layer, u.fresh = layer, map[string]bool{}
	tr := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return brokenArchive(err)
		}
		if err := u.entry(ctx, h, tr); err != nil {
			return err
		}
		u.report(u.budget.files, u.budget.bytes)
	}
}

// brokenArchive words what a reader of archives says.
func brokenArchive(err error) error {
	var p *station.Problem
	if errors.As(err, &p) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return station.Errorf(station.ErrInvalid, "archive_cut_off", "The archive is cut off; get it again.").Because(err)
	}
	return station.Errorf(station.ErrInvalid, "bad_archive", "The archive is damaged, or is no tar; get it again.").Because(err)
}

// hostile refuses an entry that no honest image has.
func hostile(name, format string, args ...any) *station.Problem {
	return station.Errorf(station.ErrInvalid, "hostile_archive", "The archive was refused: its entry %s "+format+".", append([]any{short(name)}, args...)...)
}

func (u *unpacker) entry(ctx context.Context, h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return u.budget.file()
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if err := u.budget.file(); err != nil {
		return err
	}
	if err := u.budget.name(name); err != nil {
		return err
	}
	if name == "." {
		return nil // the root is ours: 0755, whatever the archive's folder was
	}
	dir, base := path.Split(name)
	if rest, ok := strings.CutPrefix(base, ".wh."); ok && u.layer {
		return u.whiteout(path.Clean(dir), rest)
	}
	if h.Uid < 0 || h.Uid > maxID || h.Gid < 0 || h.Gid > maxID {
		return station.Errorf(station.ErrInvalid, "image_ids", "%s belongs to %d:%d, and a session has the ids 0 to %d; change its owner in the image and import it again.", short(h.Name), h.Uid, h.Gid, maxID)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeGNUSparse, tar.TypeCont:
	case tar.TypeChar, tar.TypeBlock:
		u.leftOut["devices"]++
		return nil
	case tar.TypeFifo:
		u.leftOut["fifos"]++
		return nil
	default:
		return hostile(h.Name, "is of an unknown kind (%q)", h.Typeflag)
	}
	parent, err := u.resolve(path.Clean(dir), true)
	if err != nil {
		return err
	}
	return u.put(ctx, path.Join(parent, base), h, r)
}

// put makes one entry at a resolved path, in the place of what is there.
func (u *unpacker) put(ctx context.Context, at string, h *tar.Header, r io.Reader) error {
	if err := u.budget.name(at); err != nil {
		return err
	}
	old, err := u.root.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case old.IsDir() && h.Typeflag == tar.TypeDir:
	default:
		if err := u.remove(at, old); err != nil {
			return err
		}
		old = nil
	}
	u.touch(at)
	switch h.Typeflag {
	case tar.TypeDir:
		return u.putDir(at, h, old != nil)
	case tar.TypeSymlink:
		return u.putSymlink(at, h)
	case tar.TypeLink:
		return u.putLink(at, h)
	default:
		return u.putFile(ctx, at, h, r)
	}
}

func (u *unpacker) putDir(at string, h *tar.Header, there bool) error {
	if !there {
		if err := u.root.Mkdir(at, 0o700); err != nil {
			return err
		}
	}
	if err := u.root.Lchown(at, h.Uid, h.Gid); err != nil {
		return chownError(err)
	}
	u.dirs[at] = h.ModTime
	return u.root.Chmod(at, mode(h))
}

func (u *unpacker) putSymlink(at string, h *tar.Header) error {
	if h.Linkname == "" || len(h.Linkname) > maxPath || strings.IndexByte(h.Linkname, 0) >= 0 {
		return hostile(h.Name, "is a link to nothing a file system can hold")
	}
	// Where it points to is of no concern here: it is resolved inside the root,
	// by us and by the sandbox.
	if err := u.root.Symlink(h.Linkname, at); err != nil {
		return err
	}
	if err := u.root.Lchown(at, h.Uid, h.Gid); err != nil {
		return chownError(err)
	}
	return nil
}

func (u *unpacker) putLink(at string, h *tar.Header) error {
	target, err := cleanName(h.Linkname)
	if err != nil {
		return err
	}
	dir, base := path.Split(target)
	parent, err := u.resolve(path.Clean(dir), false)
	if err != nil {
		return err
	}
	from := path.Join(parent, base)
	info, err := u.root.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return hostile(h.Name, "is a hard link to %s, which is no file of the image", short(h.Linkname))
	}
	if err != nil {
		return err
	}
	return u.root.Link(from, at)
}

func (u *unpacker) putFile(ctx context.Context, at string, h *tar.Header, r io.Reader) (err error) {
	if err := u.budget.take(h.Size); err != nil {
		return err
	}
	f, err := u.root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if err := u.budget.copy(ctx, f, r); err != nil {
		return err
	}
	// In this order: a change of owner takes away setuid bits and capabilities.
	if err := f.Chown(h.Uid, h.Gid); err != nil {
		return chownError(err)
	}
	if err := f.Chmod(mode(h)); err != nil {
		return err
	}
	if err := u.attributes(f, h); err != nil {
		return err
	}
	return u.root.Chtimes(at, time.Time{}, sane(h.ModTime))
}

const (
	xattrPrefix    = "SCHILY.xattr."
	capabilityName = "security.capability"
)

// attributes sets the file's capabilities, and counts what is left out.
func (u *unpacker) attributes(f *os.File, h *tar.Header) error {
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrPrefix)
		if !ok {
			continue
		}
		if name != capabilityName {
			u.leftOut["extended attributes"]++
			continue
		}
		err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL):
			u.leftOut["file capabilities"]++ // the disk holds none, or the value is no capability
		default:
			return &fs.PathError{Op: "setxattr", Path: h.Name, Err: err}
		}
	}
	return nil
}

// finish sets the folders' times, which putting things in has changed.
func (u *unpacker) finish() error {
	for at, t := range u.dirs {
		info, err := u.root.Lstat(at)
		if err != nil || !info.IsDir() {
			continue // a later layer has removed it
		}
		if err := u.root.Chtimes(at, time.Time{}, sane(t)); err != nil {
			return err
		}
	}
	return u.budget.look()
}

// mode is an entry's permission with setuid, setgid and sticky bits.
func mode(h *tar.Header) fs.FileMode {
	return h.FileInfo().Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// sane keeps a time within what every file system holds.
func sane(t time.Time) time.Time {
	lo, hi := time.Unix(0, 0), time.Unix(1<<32, 0)
	switch {
	case t.Before(lo):
		return lo
	case t.After(hi):
		return hi
	}
	return t
}

func chownError(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EINVAL) {
		return station.Errorf(station.ErrUnavailable, "image_owner", "Files cannot be given the owners they have in the image; the disk of the data directory must allow that (no NFS with root_squash, no FAT).").Because(err)
	}
	return err
}
