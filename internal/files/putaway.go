package files

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// putAway gives what the tree holds to the trash, as one thing. The id is kept
// before: cut off in between, the same one is used again.
func (p *placement) putAway(ctx context.Context, tree *os.File) error {
	from, base, whole, err := p.what(tree)
	if err != nil {
		return explain(stagingDir, err)
	}
	if from == nil {
		return nil
	}
	defer from.Close()
	t, err := p.home.openTrash()
	if err != nil {
		return err
	}
	defer t.close()
	if err := p.reserve(ctx, t, from, base, whole); err != nil {
		return err
	}
	err = unlocked(from, nil, func() error { return moveName(from, base, t.files, string(p.now.Trashed)) })
	if err != nil {
		return explain(trashFiles, err)
	}
	return explain(trashFiles, errors.Join(syncFolder(t.files), syncFolder(t.info)))
}

// what is what goes to the trash: what the tree has at the path that was asked
// for, or the whole tree when it holds anything else, such as what SQLite kept
// beside a file. from is nil when it holds nothing.
func (p *placement) what(tree *os.File) (from *os.File, base string, whole bool, err error) {
	if _, err := lstat(p.dir, treeName); errors.Is(err, unix.ENOENT) {
		return nil, "", false, nil // it was pruned
	}
	if !p.plan.Path.Home() {
		names, err := tree.Readdirnames(1)
		if len(names) == 0 {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return nil, "", false, err
		}
		if _, err := tree.Seek(0, io.SeekStart); err != nil {
			return nil, "", false, err
		}
		alone, err := p.alone(tree)
		if err != nil {
			return nil, "", false, err
		}
		if alone {
			from, base, err = openBelow(tree, p.plan.Path)
			return from, base, false, err
		}
	}
	from, err = openFolder(p.dir, ".")
	return from, treeName, !p.plan.Path.Home(), err
}

// alone says whether the tree has what was asked for, and nothing beside it on
// the way there.
func (p *placement) alone(tree *os.File) (bool, error) {
	path := p.plan.Path
	for i := range len(path) + 1 {
		if i < len(path) && path[i] != '/' {
			continue
		}
		dir, base, err := openBelow(tree, path[:i])
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		names, err := dir.Readdirnames(2)
		dir.Close()
		if len(names) != 1 || names[0] != base {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, inert(err)
		}
	}
	return true, nil
}

// reserve takes an id of the trash and keeps it, unless one was taken before.
func (p *placement) reserve(ctx context.Context, t trash, from *os.File, base string, whole bool) error {
	st, err := lstat(from, base)
	if err != nil {
		return explain(stagingDir, err)
	}
	if p.now.TrashedIno == st.Ino && p.reserved(t) {
		return nil
	}
	origin := p.plan.Path
	switch {
	case p.plan.Beside:
		origin = p.now.Into
	case origin.Home():
		origin = Path(besideName("home", p.plan.Label, 1))
	case whole:
		parent, name := origin.split()
		origin = parent.Join(besideName(name, p.plan.Label, 1))
	}
	id, err := t.reserve(ctx, origin.Base(), p.home.writeInfo(origin, time.Now()))
	if err != nil {
		return explain(trashFiles, err)
	}
	p.now.Trashed, p.now.TrashedIno, p.now.Whole = Path(id), st.Ino, whole
	return p.keep()
}

// reserved says whether the id that was taken is still free.
func (p *placement) reserved(t trash) bool {
	if oneName(p.now.Trashed) != nil {
		return false
	}
	if _, err := lstat(t.info, string(p.now.Trashed)+infoSuffix); err != nil {
		return false
	}
	_, err := lstat(t.files, string(p.now.Trashed))
	return errors.Is(err, unix.ENOENT)
}

// wasPutAway says whether the tree is in the trash already: who was cut off then
// does no step again, and takes nothing away that came since.
func (p *placement) wasPutAway() bool {
	if oneName(p.now.Trashed) != nil {
		return false
	}
	t, err := p.home.openTrash()
	if err != nil {
		return false
	}
	defer t.close()
	st, err := lstat(t.files, string(p.now.Trashed))
	return err == nil && st.Ino == p.now.TrashedIno
}

// prune removes what of the tree's folders only holds up what was replaced, and
// no longer does. What a step put there stays, also an empty folder.
func (p *placement) prune(steps string) error {
	kept := map[Path]bool{}
	if err := lines(p, steps, func(s step) error { kept[s.From] = true; return nil }); err != nil {
		return err
	}
	if kept["."] {
		return nil
	}
	return explain(stagingDir, pruneEmpty(p.dir, treeName, "", kept, 0))
}

func pruneEmpty(dir *os.File, base string, rel Path, kept map[Path]bool, depth int) error {
	sub, err := openFolder(dir, base)
	if err != nil || depth == maxDepth {
		return nil // it stays, and goes to the trash
	}
	defer sub.Close()
	names, err := sub.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if kept[rel.Join(name)] {
			continue
		}
		if st, err := lstat(sub, name); err == nil && kindOf(st.Mode) == KindFolder {
			if err := pruneEmpty(sub, name, rel.Join(name), kept, depth+1); err != nil {
				return err
			}
		}
	}
	_ = unlocked(dir, nil, func() error { // one that is not empty stays
		return unix.Unlinkat(int(dir.Fd()), base, unix.AT_REMOVEDIR)
	})
	return nil
}
