package files

import (
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// visited is one name that a walk comes to.
type visited struct {
	dir  *os.File // the folder it is in, open
	name string
	rel  Path // from where the walk began
	st   unix.Stat_t
}

// errSkip as a visit's answer leaves a folder's inside out.
var errSkip = errors.New("skip")

// walk comes to everything below an open folder, a folder before what is in it,
// in the order of names. It follows no link, and passes what goes or changes
// meanwhile. denied is called for folders that may not be read, and those too
// deep.
func walk(ctx context.Context, dir *os.File, rel Path, depth int, visit func(visited) error, denied func(Path)) error {
	names, err := dir.Readdirnames(folderMax)
	if len(names) == 0 && err != nil {
		return nil // empty, or removed meanwhile
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		st, err := lstat(dir, name)
		if err != nil {
			continue
		}
		v := visited{dir, name, rel.Join(name), st}
		err = visit(v)
		if errors.Is(err, errSkip) {
			continue
		}
		if err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		sub, err := openFolder(dir, name)
		if err != nil || depth == maxDepth {
			if err == nil {
				sub.Close()
			}
			if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
				denied(v.rel)
			}
			continue
		}
		err = walk(ctx, sub, v.rel, depth+1, visit, denied)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
