package volume

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSkelFile bounds one default dotfile.
const maxSkelFile = 1 << 20

// copySkel copies the plain files of the host's skeleton into a home and calls
// done for each path it made. Links, devices and what others may not read are
// left out; a host without a skeleton is fine.
func copySkel(ctx context.Context, home *os.Root, skel string, done func(name string) error) error {
	return filepath.WalkDir(skel, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(skel, path)
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		switch {
		case d.IsDir():
			err = home.Mkdir(name, 0o700|info.Mode().Perm())
		case info.Mode().IsRegular() && info.Mode()&0o004 != 0 && info.Size() <= maxSkelFile:
			err = copyIn(home, name, path, info.Mode().Perm())
		default:
			return nil
		}
		if err != nil {
			return err
		}
		return done(name)
	})
}

func copyIn(home *os.Root, name, from string, mode fs.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := home.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, io.LimitReader(in, maxSkelFile))
	return err
}
