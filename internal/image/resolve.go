package image

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// maxLinks is how many symbolic links one name may go through, as in Linux.
const maxLinks = 40

// cleanName makes an entry's name a path relative to the root, "." for the root
// itself. It refuses .., and what no file system can hold.
func cleanName(name string) (string, error) {
	if len(name) > maxPath {
		return "", hostile(name, "has a name of %d bytes", len(name))
	}
	if name == "" || strings.IndexByte(name, 0) >= 0 {
		return "", hostile(name, "has no usable name")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", hostile(name, "leads out of the image with ..")
		}
		if len(part) > maxComponent {
			return "", hostile(name, "has a part of %d bytes in its name", len(part))
		}
	}
	return path.Clean(strings.TrimLeft(path.Clean("/"+name), "/")), nil
}

// short shows a hostile name inert and of bearable length.
func short(name string) string {
	if len(name) > 100 {
		name = name[:100] + "…"
	}
	return fmt.Sprintf("%+q", name)
}

// resolve finds the folder that a path means inside the root, through links as
// a chroot would take them: an absolute one begins at the root, .. ends there.
// What is missing is made when make is set. The result has no link in it.
func (u *unpacker) resolve(dir string, create bool) (string, error) {
	if dir == "." || dir == "/" {
		return ".", nil
	}
	if at, ok := u.real[dir]; ok {
		return at, nil
	}
	at, links := ".", 0
	for todo := strings.Split(dir, "/"); len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		info, err := u.root.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist) && create:
			if err := u.makeParent(next); err != nil {
				return "", err
			}
			at = next
		case errors.Is(err, fs.ErrNotExist):
			return "", hostile(dir, "is needed and is not in the image").Because(fs.ErrNotExist)
		case err != nil:
			return "", err
		case info.IsDir():
			at = next
		case info.Mode().Type() == fs.ModeSymlink:
			if links++; links > maxLinks {
				return "", hostile(dir, "goes round in a circle of links")
			}
			target, err := u.root.Readlink(next)
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(target, "/") {
				at = "."
			}
			todo = append(strings.Split(target, "/"), todo...)
		default:
			return "", hostile(dir, "is used as a folder and is none")
		}
	}
	u.real[dir] = at
	return at, nil
}

// makeParent makes a folder that no entry has announced.
func (u *unpacker) makeParent(at string) error {
	if len(at) > maxPath {
		return hostile(at, "is too long a path")
	}
	if err := u.budget.file(); err != nil {
		return err
	}
	if err := u.root.Mkdir(at, 0o755); err != nil {
		return err
	}
	if err := u.root.Lchown(at, 0, 0); err != nil {
		return chownError(err)
	}
	return u.root.Chmod(at, 0o755) // whatever the umask
}

// remove takes away what is at a resolved path. What was known of the way to
// things may be wrong then.
func (u *unpacker) remove(at string, info fs.FileInfo) error {
	if info.IsDir() {
		clear(u.real)
		return u.root.RemoveAll(at)
	}
	if info.Mode().Type() == fs.ModeSymlink {
		clear(u.real)
	}
	return u.root.Remove(at)
}

// touch notes that the layer under way has put something here.
func (u *unpacker) touch(at string) {
	for ; at != "." && !u.fresh[at]; at = path.Dir(at) {
		u.fresh[at] = true
	}
}

// whiteout removes what lower layers have: one name, or with .wh..opq all that
// is in the folder. What this layer has put itself stays (OCI image-spec).
func (u *unpacker) whiteout(dir, rest string) error {
	switch {
	case rest == ".wh..opq":
	case strings.HasPrefix(rest, ".wh."):
		return nil // bookkeeping of aufs
	case rest == "" || rest == "." || rest == "..":
		return hostile(path.Join(dir, ".wh.")+rest, "removes what no layer has")
	}
	at, ok, err := u.find(dir)
	if err != nil || !ok {
		return err // nothing there to remove
	}
	if rest == ".wh..opq" {
		return u.opaque(at)
	}
	at = path.Join(at, rest)
	info, err := u.root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) || err == nil && u.fresh[at] {
		return nil
	}
	if err != nil {
		return err
	}
	return u.remove(at, info)
}

// find is resolve for a folder that may be missing.
func (u *unpacker) find(dir string) (at string, ok bool, err error) {
	if at, err = u.resolve(dir, false); err == nil {
		return at, true, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return "", false, err
}

func (u *unpacker) opaque(at string) error {
	d, err := u.root.Open(at)
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	d.Close()
	if err != nil {
		return err
	}
	for _, name := range names {
		child := path.Join(at, name)
		info, err := u.root.Lstat(child)
		if err != nil {
			return err
		}
		switch {
		case !u.fresh[child]:
			err = u.remove(child, info)
		case info.IsDir():
			err = u.opaque(child)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
