package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

// tarOf writes a folder as a tar stream, so that a folder is unpacked by the
// same code as anything else. No link is followed, and what is mounted below
// is left out but for the empty folder.
func tarOf(ctx context.Context, root *os.Root) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		t := &folderTar{w: tar.NewWriter(w), root: root, links: map[[2]uint64]string{}}
		err := t.walk(ctx, ".")
		if err == nil {
			err = t.w.Close()
		}
		w.CloseWithError(err) // nil is EOF
	}()
	return r
}

type folderTar struct {
	w     *tar.Writer
	root  *os.Root
	dev   uint64
	links map[[2]uint64]string // files with several names, by device and inode
}

func (t *folderTar) walk(ctx context.Context, at string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := t.root.Open(at)
	if err != nil {
		return err
	}
	info, err := d.Stat()
	if err != nil {
		d.Close()
		return err
	}
	dev := info.Sys().(*syscall.Stat_t).Dev
	if at == "." {
		t.dev = dev
	}
	var entries []fs.DirEntry
	if dev == t.dev {
		entries, err = d.ReadDir(-1)
	}
	d.Close()
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(at, e.Name())
		info, err := t.root.Lstat(name)
		if err != nil {
			return changed(err)
		}
		if err := t.put(name, info); err != nil {
			return err
		}
		if info.IsDir() {
			if err := t.walk(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func changed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the folder changed while it was read: %w", err)
	}
	return err
}

func (t *folderTar) put(name string, info fs.FileInfo) error {
	st := info.Sys().(*syscall.Stat_t)
	if info.Mode().Type() == fs.ModeSocket {
		return nil // it means something to a running program alone
	}
	var target string
	if info.Mode().Type() == fs.ModeSymlink {
		var err error
		if target, err = t.root.Readlink(name); err != nil {
			return changed(err)
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname, h.Format = name, "", "", tar.FormatPAX
	h.AccessTime, h.ChangeTime = h.ModTime, h.ModTime
	if !info.Mode().IsRegular() {
		return t.w.WriteHeader(h)
	}
	if key := [2]uint64{st.Dev, st.Ino}; st.Nlink > 1 {
		if first, ok := t.links[key]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return t.w.WriteHeader(h)
		}
		t.links[key] = name
	}
	return t.file(name, h)
}

func (t *folderTar) file(name string, h *tar.Header) error {
	f, err := t.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return changed(err)
	}
	defer f.Close()
	value := make([]byte, 64)
	if n, err := unix.Fgetxattr(int(f.Fd()), capabilityName, value); err == nil {
		h.PAXRecords = map[string]string{xattrPrefix + capabilityName: string(value[:n])}
	}
	if err := t.w.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(t.w, io.LimitReader(f, h.Size))
	if err == nil && n != h.Size {
		err = fmt.Errorf("%s changed while it was read", name)
	}
	return err
}
