package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"staithe/internal/station"
)

// refusals says what the kernel's errors mean to a person. %s is the path.
var refusals = []struct {
	errno    syscall.Errno
	kind     error
	code     string
	sentence string
}{
	{unix.ENOENT, station.ErrNotFound, "no_file", "There is no %s; it may have been moved or deleted. List its folder again."},
	{unix.EEXIST, station.ErrConflict, "file_exists", "There is something at %s already; choose another name, or move that away first."},
	{unix.ENOTEMPTY, station.ErrConflict, "file_exists", "There is something at %s already; choose another name, or move that away first."},
	{unix.ENOTDIR, station.ErrConflict, "not_a_folder", "On the way to %s is something that is not a folder; choose another place."},
	{unix.EISDIR, station.ErrConflict, "is_a_folder", "%s is a folder; name a file in it."},
	{unix.EACCES, station.ErrForbidden, "not_permitted", "Its permissions do not allow this for %s; change them first, in a terminal if it belongs to another account."},
	{unix.EPERM, station.ErrForbidden, "not_permitted", "Its permissions do not allow this for %s; change them first, in a terminal if it belongs to another account."},
	{unix.EROFS, station.ErrForbidden, "read_only", "%s is on a file system that can only be read; choose another place."},
	{unix.ELOOP, station.ErrConflict, "link_loop", "Too many links lead to %s; use the path of the file itself."},
	{unix.ENAMETOOLONG, station.ErrInvalid, "bad_path", "The name of %s is too long; shorten it."},
	{unix.ENOSPC, station.ErrNoSpace, "disk_full", "There is no room left for %s; delete something or empty the trash, and try again."},
	{unix.EDQUOT, station.ErrNoSpace, "quota_full", "The home has reached its limit at %s; delete something or empty the trash, and try again."},
	{unix.EFBIG, station.ErrNoSpace, "file_too_large", "The file system takes no file as large as %s."},
	{unix.EXDEV, station.ErrConflict, "other_disk", "%s is on another file system; copy it and delete it here."},
	{unix.EBUSY, station.ErrConflict, "busy", "%s is in use by the system; try again later."},
	{unix.EMFILE, station.ErrUnavailable, "busy", "Too much is going on at once to open %s; try again in a moment."},
}

// escapes says whether os.Root refused a path because it leads outside. The error
// is not exported; a test holds its text.
func escapes(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return err != nil && err.Error() == "path escapes from parent"
}

// inert is err without the names that the os package puts into its errors as
// they are: they would reach logs.
func inert(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return fmt.Errorf("%s: %w", path.Op, path.Err)
	case errors.As(err, &link):
		return fmt.Errorf("%s: %w", link.Op, link.Err)
	}
	return err
}

// explain makes a Problem of what happened at p. nil stays nil, and what is a
// Problem already or the end of a context stays as it is.
func explain(p Path, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[*station.Problem](err); ok {
		return err
	}
	out := escapes(err)
	err = inert(err)
	if out {
		return station.Errorf(station.ErrForbidden, "outside_home",
			"A link on the way to %q leads out of the home; use a path without it.", shorten(p)).Because(err)
	}
	for _, r := range refusals {
		if errors.Is(err, r.errno) {
			return station.Errorf(r.kind, r.code, r.sentence, fmt.Sprintf("%q", shorten(p))).Because(err)
		}
	}
	return fmt.Errorf("%q: %w", shorten(p), err)
}

func notRegular(p Path) error {
	return station.Errorf(station.ErrConflict, "not_a_file",
		"%q is not a regular file; only those can be opened here.", shorten(p))
}

func changed(p Path) error {
	return station.Errorf(station.ErrConflict, "file_changed",
		"%q was changed meanwhile; look at it again before you replace it, or save under another name.", shorten(p))
}

func isHome() error {
	return station.Errorf(station.ErrInvalid, "is_home", "This cannot be done with the home itself; name something in it.")
}
