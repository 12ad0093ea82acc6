package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"staithe/internal/sandbox/hostbase"
)

// baseImage imports the base into the service once for each state of the host's
// /etc, and returns the image's name.
func (r *Runtime) baseImage(ctx context.Context) (string, hostbase.Base, error) {
	r.imageMu.Lock()
	defer r.imageMu.Unlock()
	base, err := hostbase.Ensure(filepath.Join(r.dir, "base"), func(string) bool { return false })
	if err != nil {
		return "", base, err
	}
	image := "localhost/staithe-base:" + base.Name
	if r.image == image {
		return image, base, nil
	}
	_, err = r.api.ImageInspect(ctx, image)
	if errdefs.IsNotFound(err) {
		err = r.importFolder(ctx, base.Rootfs, image)
	}
	if err != nil {
		return "", base, r.down(fmt.Errorf("the base image: %w", err))
	}
	r.image = image
	return image, base, nil
}

// importFolder makes an image of a folder.
func (r *Runtime) importFolder(ctx context.Context, dir, image string) error {
	read, write := io.Pipe()
	go func() { write.CloseWithError(archive(write, dir)) }()
	defer read.Close()
	res, err := r.api.ImageImport(ctx, client.ImageImportSource{Source: read, SourceName: "-"}, image, client.ImageImportOptions{})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res) // the image is there when the answer ends
	return errors.Join(err, res.Close())
}

// archive writes a folder of folders, files and links as a tar stream whose
// entries all belong to root.
func archive(to io.Writer, dir string) error {
	w := tar.NewWriter(to)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := ""
		if info.Mode().Type() == fs.ModeSymlink {
			if target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		if h.Name, err = filepath.Rel(dir, path); err != nil {
			return err
		}
		h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
		if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyN(w, f, h.Size)
		return err
	})
	return errors.Join(err, w.Close())
}
